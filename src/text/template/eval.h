// One rendering of a chat template: variables, limits, output. Made, used and dropped by
// ChatTemplate.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/chat_template.h"
#include "text/template/value.h"

namespace altlas::text {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at `position`, or of that name; null if neither was given.
  const Value* get(size_t position, std::string_view name) const;
  // The same for a string that may be missing: empty pointer if missing or not a string.
  const TaggedText* text(size_t position, std::string_view name) const;
  int64_t integer(size_t position, std::string_view name, int64_t fallback) const;
  bool truth(size_t position, std::string_view name, bool fallback) const;
};

class Evaluator {
 public:
  using Variables = std::vector<std::pair<std::string, Value>>;

  Evaluator(const TemplateLimits& limits, int64_t now_us)
      : limits_(limits), now_us_(now_us), budget_(limits.steps, limits.bytes) {}
  Result<TaggedText> run(const Body& body, Variables globals);

  // For operators, functions and filters, which stand in files of their own:
  Budget& budget() { return budget_; }
  int64_t now_us() const { return now_us_; }
  Error fail(std::string_view what) const;  // kInvalid with the line.
  Result<void> check_budget() const;
  // Errors: kTooLarge if a string of `bytes` would be too long; reserve_text also spends for it.
  Result<void> check_size(size_t bytes) const;
  Result<void> reserve_text(size_t bytes);
  // Spends for a list of `count` items.  Errors: kTooLarge if they are too many.
  Result<void> reserve_items(size_t count);
  Result<Value> text_value(TaggedText text);
  // The items a loop over `value` visits. Errors: kInvalid if it can't be iterated.
  Result<std::vector<Value>> iterate(const Value& value);
  Result<Value> attribute(const Value& value, const std::string& name);
  Result<Value> item(const Value& value, const Value& key);
  Result<Value> slice(const Value& value, const Value& begin, const Value& end, const Value& step);
  Result<Value> binary(std::string_view op, const Value& left, const Value& right);
  Result<bool> compare(std::string_view op, const Value& left, const Value& right);
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> call_global(std::string_view name, const Arguments& arguments);
  Result<Value> call_method(const Value& receiver, std::string_view name,
                            const Arguments& arguments);
  Result<Value> call_string_method(const TaggedText& text, std::string_view name,
                                   const Arguments& arguments);
  Result<Value> filter(std::string_view name, const Value& input, const Arguments& arguments);
  Result<Value> list_filter(std::string_view name, const Value& input, const Arguments& arguments);
  Result<bool> test(std::string_view name, const Value& value, const Arguments& arguments);
  Result<std::string> to_str(const Value& value);
  Result<TaggedText> to_text(const Value& value);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  struct Scope {
    Variables variables;
    void set(const std::string& name, Value value);
    const Value* find(std::string_view name) const;
  };
  struct Loop {
    std::vector<Value> items;
    size_t index = 0;
    int depth = 1;
    const Stmt* stmt = nullptr;  // For recursive loops.
    std::optional<Value> changed;
  };
  struct Macro {
    const Stmt* stmt;
    Scope captured;  // Variables of the scopes around it, but for the globals.
  };
  struct Enter;  // Counts depth.

  Result<Value> eval(const Expr& expr);
  Result<Value> eval_node(const Expr& expr);
  Result<Value> eval_sequence(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<Value> eval_slice(const Expr& expr);
  Result<Value> eval_filter(const Expr& expr, const Value* input);
  Result<Value> eval_call(const Expr& expr, const Value* caller);
  Result<Arguments> eval_arguments(const Expr& expr, size_t first);
  Result<Value> lookup(const std::string& name);

  Result<Flow> exec_body(const Body& body);
  Result<Flow> exec(const Stmt& stmt);
  Result<Flow> exec_if(const Stmt& stmt);
  Result<Flow> exec_for(const Stmt& stmt, const Value& over, int depth);
  Result<bool> passes_filter(const Stmt& stmt, const Value& item);
  Result<void> exec_set(const Stmt& stmt);
  Result<void> exec_with(const Stmt& stmt);
  Result<void> exec_call(const Stmt& stmt);
  Result<TaggedText> capture(const Body& body);  // What `body` would print.
  Result<void> bind(const std::vector<std::string>& targets, const Value& value);
  Result<void> print(const TaggedText& text);
  Result<Value> make_macro(const Stmt& stmt);
  Result<Value> call_macro(size_t index, const Arguments& arguments);
  Result<Value> call_loop(size_t index, const Arguments& arguments);
  Result<Value> loop_attribute(const Loop& loop, const std::string& name, const Value& self) const;

  const TemplateLimits& limits_;
  int64_t now_us_;
  Budget budget_;
  int depth_ = 0;
  int line_ = 1;
  std::deque<Scope> scopes_;  // [0]: globals.
  size_t frame_ =
      0;  // First scope of the macro that runs; scopes between it and the globals are unseen.
  std::deque<Scope> namespaces_;
  std::deque<Loop> loops_;
  std::deque<Macro> macros_;
  TaggedText* out_ = nullptr;
};

}  // namespace altlas::text
