// What differs between tokenizer families: ids of a text that has no special token in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/vocabulary.h"

namespace altlas::text {

// Immutable; any thread.
class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;
  // Appends the ids of `text` (valid UTF-8, not empty). `at_start`: nothing stands before it in the
  // prompt.
  virtual Result<void> encode(std::string_view text, bool at_start,
                              std::vector<int32_t>& out) const = 0;
  // The bytes that a normal token's spelling stands for.
  virtual std::string bytes_of(std::string_view spelling) const = 0;
};

// "gpt2": byte-level BPE. `vocabulary` may go away afterwards. Errors: kInvalid for an unknown
// `pre` or bad merges.
Result<std::unique_ptr<const PieceEncoder>> make_byte_bpe(const Vocabulary& vocabulary);

}  // namespace altlas::text
