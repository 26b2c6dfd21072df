// SentencePiece's precompiled map of characters: a double-array trie over replacements.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::text {

// Immutable; any thread.
class Charsmap {
 public:
  // `bytes`: size of the trie in bytes (little-endian uint32), the trie, zero-ended replacements.
  // Errors: kInvalid for sizes that do not fit.
  static Result<std::unique_ptr<const Charsmap>> create(std::string_view bytes);

  // `text` (valid UTF-8) with each grapheme cluster under 6 bytes, else each character, replaced
  // where the map has an entry that it begins with; as transformers does.
  std::string apply(std::string_view text) const;

 private:
  Charsmap() = default;
  // The replacement of the shortest entry that `chunk` begins with.
  std::optional<std::string_view> find(std::string_view chunk) const;
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace altlas::text
