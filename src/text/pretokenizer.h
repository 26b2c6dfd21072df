// Cuts a text into the words that byte-level BPE never merges over, by the model's regular
// expressions.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::text {

// Which expressions and quirks a `tokenizer.ggml.pre` stands for.
struct PretokenizerKind {
  std::string_view name;
  std::vector<std::string_view>
      expressions;             // Applied in turn, each to the pieces that the one before left.
  bool nfc = false;            // The model's tokenizer composes its input first.
  bool ignore_merges = false;  // A word that is a token is taken whole.
};

// Errors: kInvalid naming `pre` and what is supported.
Result<PretokenizerKind> find_pretokenizer(std::string_view pre);

// Immutable; any thread.
class Pretokenizer {
 public:
  // Errors: kInternal if an expression can't be compiled.
  static Result<std::unique_ptr<const Pretokenizer>> create(const PretokenizerKind& kind);
  ~Pretokenizer();

  // Lengths of the words of `text` (valid UTF-8); they add up to its size. Errors: kTooLarge if
  // PCRE2's limits on matching steps or memory are hit, which texts of these expressions don't.
  Result<std::vector<size_t>> split(std::string_view text) const;

 private:
  struct Expression;
  Pretokenizer();
  std::vector<std::unique_ptr<const Expression>> expressions_;
};

}  // namespace altlas::text
