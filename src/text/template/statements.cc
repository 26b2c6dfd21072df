#include "text/template/statements.h"

#include <fmt/format.h>

#include <utility>

#include "text/template/access.h"

namespace altlas::text {

using SKind = Stmt::Kind;
using VKind = Value::Kind;

Result<TaggedText> Statements::capture(const Body& body) {
  TaggedText captured;
  TaggedText* const outer = std::exchange(out_, &captured);
  auto flow = exec_body(body);
  out_ = outer;
  if (!flow.ok()) return flow.error();
  return captured;
}

Result<TaggedText> Statements::capture_loop(const Stmt& stmt, const Value& over, int depth) {
  TaggedText captured;
  TaggedText* const outer = std::exchange(out_, &captured);
  const auto flow = exec_for(stmt, over, depth);
  out_ = outer;
  if (!flow.ok()) return flow.error();
  return captured;
}

Result<Statements::Flow> Statements::exec_body(const Body& body) {
  const Rendering::Nested nested(rendering_);
  ALTLAS_TRY_VOID(rendering_.check_budget());
  for (const auto& stmt : body) {
    rendering_.at_line(stmt->line);
    rendering_.budget().spend(1);
    ALTLAS_TRY_VOID(rendering_.check_budget());
    ALTLAS_TRY(const Flow flow, exec(*stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Statements::Flow> Statements::exec(const Stmt& stmt) {
  switch (stmt.kind) {
    case SKind::kText:
      ALTLAS_TRY_VOID(print(TaggedText::of(stmt.text, false)));
      break;
    case SKind::kPrint: {
      ALTLAS_TRY(const Value value, expressions_.eval(*stmt.expr));
      ALTLAS_TRY(const TaggedText text, rendering_.to_text(value));
      ALTLAS_TRY_VOID(print(text));
      break;
    }
    case SKind::kIf:
      return exec_if(stmt);
    case SKind::kFor: {
      ALTLAS_TRY(const Value over, expressions_.eval(*stmt.expr));
      return exec_for(stmt, over, 1);
    }
    case SKind::kSet:
    case SKind::kSetBlock:
      ALTLAS_TRY_VOID(exec_set(stmt));
      break;
    case SKind::kMacro: {
      ALTLAS_TRY(Value macro, macros_.make(stmt));
      scopes_.innermost().set(stmt.text, std::move(macro));
      break;
    }
    case SKind::kCall:
      ALTLAS_TRY_VOID(exec_call(stmt));
      break;
    case SKind::kFilterBlock: {
      ALTLAS_TRY(TaggedText text, capture(stmt.bodies[0]));
      const Value input(std::move(text));
      ALTLAS_TRY(const Value value, expressions_.eval_filter(*stmt.expr, &input));
      ALTLAS_TRY(const TaggedText result, rendering_.to_text(value));
      ALTLAS_TRY_VOID(print(result));
      break;
    }
    case SKind::kWith:
      ALTLAS_TRY_VOID(exec_with(stmt));
      break;
    case SKind::kGeneration: {
      scopes_.push();
      const auto flow = exec_body(stmt.bodies[0]);
      scopes_.pop();
      return flow;
    }
    case SKind::kBreak:
      return Flow::kBreak;
    case SKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Result<Statements::Flow> Statements::exec_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.conditions.size(); ++i) {
    ALTLAS_TRY(const Value condition, expressions_.eval(*stmt.conditions[i]));
    if (condition.truthy()) return exec_body(stmt.bodies[i]);
  }
  if (stmt.bodies.size() > stmt.conditions.size()) return exec_body(stmt.bodies.back());
  return Flow::kNext;
}

Result<bool> Statements::passes_filter(const Stmt& stmt, const Value& item) {
  scopes_.push();
  auto bound = bind(stmt.targets, item);
  auto condition = bound.ok() ? expressions_.eval(*stmt.filter) : Result<Value>(bound.error());
  scopes_.pop();
  if (!condition.ok()) return condition.error();
  return condition->truthy();
}

Result<Statements::Flow> Statements::exec_for(const Stmt& stmt, const Value& over, int depth) {
  const Rendering::Nested nested(rendering_);
  ALTLAS_TRY(std::vector<Value> items, items_of(rendering_, over));
  if (stmt.filter != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      ALTLAS_TRY(const bool passes, passes_filter(stmt, item));
      if (passes) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty())
    return stmt.bodies.size() > 1 ? exec_body(stmt.bodies[1]) : Result<Flow>(Flow::kNext);
  const size_t id = rendering_.loops.size();
  rendering_.loops.push_back({std::move(items), 0, depth, &stmt, {}});
  Loop& loop = rendering_.loops[id];  // A deque's elements keep their places.
  for (; loop.index < loop.items.size(); ++loop.index) {
    rendering_.budget().spend(1);
    ALTLAS_TRY_VOID(rendering_.check_budget());
    scopes_.push();
    scopes_.innermost().set("loop", Value::loop(id));
    auto flow = [&]() -> Result<Flow> {
      ALTLAS_TRY_VOID(bind(stmt.targets, loop.items[loop.index]));
      return exec_body(stmt.bodies[0]);
    }();
    scopes_.pop();
    if (!flow.ok()) return flow.error();
    if (*flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Result<void> Statements::bind(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    scopes_.innermost().set(targets[0], value);
    return {};
  }
  ALTLAS_TRY(const std::vector<Value> items, items_of(rendering_, value));
  if (items.size() != targets.size())
    return rendering_.fail(fmt::format("{} values for {} variables", items.size(), targets.size()));
  for (size_t i = 0; i < targets.size(); ++i) scopes_.innermost().set(targets[i], items[i]);
  return {};
}

Result<void> Statements::exec_set(const Stmt& stmt) {
  Value value;
  if (stmt.kind == SKind::kSet) {
    ALTLAS_TRY(value, expressions_.eval(*stmt.expr));
  } else {
    scopes_.push();
    auto text = capture(stmt.bodies[0]);
    scopes_.pop();
    if (!text.ok()) return text.error();
    value = Value(*std::move(text));
    if (stmt.expr != nullptr) {
      ALTLAS_TRY(value, expressions_.eval_filter(*stmt.expr, &value));
    }
  }
  rendering_.budget().spend(scopes_.innermost().variables.size() / 8);
  if (stmt.attribute.empty()) return bind(stmt.targets, value);
  const Value target = scopes_.lookup(stmt.targets[0], rendering_.budget());
  if (!target.is(VKind::kNamespace))
    return rendering_.fail(fmt::format("only a namespace's attributes can be set, '{}' is {}",
                                       stmt.targets[0], target.kind_name()));
  Scope& space = rendering_.namespaces[target.index()];
  rendering_.budget().spend(space.variables.size() / 8);
  space.set(stmt.attribute, std::move(value));
  return {};
}

Result<void> Statements::exec_with(const Stmt& stmt) {
  std::vector<Value> values;
  for (const auto& expr : stmt.conditions) {
    ALTLAS_TRY(Value value, expressions_.eval(*expr));
    values.push_back(std::move(value));
  }
  scopes_.push();
  for (size_t i = 0; i < values.size(); ++i)
    scopes_.innermost().set(stmt.targets[i], std::move(values[i]));
  const auto flow = exec_body(stmt.bodies[0]);
  scopes_.pop();
  if (!flow.ok()) return flow.error();
  return {};
}

Result<void> Statements::exec_call(const Stmt& stmt) {
  ALTLAS_TRY(const Value caller, macros_.make(stmt));
  ALTLAS_TRY(const Value value, expressions_.eval_call(*stmt.expr, &caller));
  ALTLAS_TRY(const TaggedText text, rendering_.to_text(value));
  return print(text);
}

Result<void> Statements::print(const TaggedText& text) {
  rendering_.budget().take(text.bytes.size());
  ALTLAS_TRY_VOID(rendering_.check_size(out_->bytes.size() + text.bytes.size()));
  out_->append(text);
  return {};
}

}  // namespace altlas::text
