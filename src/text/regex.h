// Regular expressions as tokenizer.json writes them (Oniguruma), matched by PCRE2 within limits.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "text/work_budget.h"

namespace altlas::text {

inline constexpr size_t kExpressionBytesMax = 16 << 10;

// `pattern`, in Oniguruma's syntax, as PCRE2 (UTF, UCP) means the same.
// Errors: kInvalid naming the first construct that has no counterpart.
Result<std::string> translate_expression(std::string_view pattern);

// Immutable; any thread.
class Regex {
 public:
  // Errors: kInvalid if the pattern is too long, has a construct without counterpart, or PCRE2
  // refuses it.
  static Result<std::unique_ptr<const Regex>> create(std::string_view pattern);
  // Matches exactly `text`.
  static Result<std::unique_ptr<const Regex>> literal(std::string_view text);
  ~Regex();

  // The first match that is not empty, at or after `at`. `text` is valid UTF-8. What a match looks
  // at beyond the next few hundred bytes is spent, and so are its steps back.
  // Errors: kTooLarge if the budget or a limit on depth or memory is hit.
  Result<std::optional<std::pair<size_t, size_t>>> find(std::string_view text, size_t at,
                                                        WorkBudget& budget) const;

 private:
  struct Code;
  Regex();
  // pcre2_match of text[0, end) from `at`. PCRE2_ERROR_PARTIAL: what lies behind `end` may matter.
  Result<int> match(std::string_view text, size_t at, size_t end, WorkBudget& budget) const;
  // A match that begins at `at`.
  Result<int> match_here(std::string_view text, size_t at, WorkBudget& budget) const;
  std::unique_ptr<const Code> code_;
  std::string literal_;
};

}  // namespace altlas::text
