// Cuts a normalized text into the words that the model never looks beyond.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/regex.h"
#include "text/tokenizer/steps.h"
#include "text/work_budget.h"

namespace altlas::text {

// A text and its words; bytes between words are dropped.
struct SplitText {
  std::string text;
  std::vector<std::pair<size_t, size_t>> words;  // Sorted, disjoint byte ranges, none empty.
};

// Immutable; any thread.
class Pretokenizer {
 public:
  // Errors: kInvalid for an expression that can't be used.
  static Result<std::unique_ptr<const Pretokenizer>> create(const std::vector<SplitStep>& steps);
  ~Pretokenizer();

  // `text`: valid UTF-8. `at_start`: nothing stands before it in the prompt.
  // Errors: kTooLarge if the budget is spent.
  Result<void> split(bool at_start, SplitText& text, WorkBudget& budget) const;

 private:
  struct Step {
    SplitStep step;
    std::unique_ptr<const Regex> regex;
  };
  Pretokenizer();
  std::vector<Step> steps_;
};

}  // namespace altlas::text
