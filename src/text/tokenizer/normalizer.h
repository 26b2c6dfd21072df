// The steps that a text goes through before it is cut into words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/regex.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/steps.h"
#include "text/work_budget.h"

namespace altlas::text {

// Immutable; any thread.
class Normalizer {
 public:
  // Errors: kInvalid for an expression or a character map that can't be used.
  static Result<std::unique_ptr<const Normalizer>> create(const std::vector<NormalizerStep>& steps);

  // `text`: valid UTF-8. Errors: kTooLarge if the budget is spent.
  Result<std::string> apply(std::string text, WorkBudget& budget) const;
  // Whether apply leaves out the first character of `text`: what follows is no text's begin then.
  bool drops_first(std::string_view text, WorkBudget& budget) const;

 private:
  struct Step {
    NormalizerStep step;
    std::unique_ptr<const Regex> regex;
    std::unique_ptr<const Charsmap> charsmap;
  };
  static Result<std::string> apply_step(const Step& step, std::string text, WorkBudget& budget);
  Normalizer() = default;
  std::vector<Step> steps_;
};

}  // namespace altlas::text
