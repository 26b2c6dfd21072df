// Rendering: what every part of one rendering of a chat template shares: limits, the work that is
// left, the line that runs, and the namespaces and loops that values name by index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/chat_template.h"
#include "text/template/scopes.h"
#include "text/template/value.h"

namespace altlas::text {

// A loop that runs or ran.
struct Loop {
  std::vector<Value> items;
  size_t index = 0;
  int depth = 1;
  const Stmt* stmt = nullptr;  // For recursive loops.
  std::optional<Value> changed;
};

// Lives as long as one rendering. One thread.
class Rendering {
 public:
  Rendering(const TemplateLimits& limits, int64_t now_us)
      : limits_(limits), now_us_(now_us), budget_(limits.steps, limits.bytes) {}

  const TemplateLimits& limits() const { return limits_; }
  int64_t now_us() const { return now_us_; }
  RenderBudget& budget() { return budget_; }
  // The line that errors name.
  void at_line(int line) { line_ = line; }

  // Counts one level of nesting for as long as it lives.
  class Nested {
   public:
    explicit Nested(Rendering& rendering) : rendering_(rendering) { ++rendering.depth_; }
    ~Nested() { --rendering_.depth_; }
    Nested(const Nested&) = delete;

   private:
    Rendering& rendering_;
  };

  // An error kInvalid with the line.
  Error fail(std::string_view what) const;
  // Errors: kTooLarge if steps, bytes or nesting are over their limits.
  Result<void> check_budget() const;
  // Errors: kTooLarge if a string of `bytes` would be too long; reserve_text also spends for it.
  Result<void> check_size(size_t bytes) const;
  Result<void> reserve_text(size_t bytes);
  // Spends for a list of `count` items. Errors: kTooLarge if they are too many.
  Result<void> reserve_items(size_t count);
  Result<Value> text_value(TaggedText text);
  Result<std::string> to_str(const Value& value);
  Result<TaggedText> to_text(const Value& value);

  // Elements stay where they are.
  std::deque<Scope> namespaces;
  std::deque<Loop> loops;

 private:
  const TemplateLimits& limits_;
  int64_t now_us_;
  RenderBudget budget_;
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace altlas::text
