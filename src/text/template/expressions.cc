#include "text/template/expressions.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "text/template/access.h"
#include "text/template/filters.h"
#include "text/template/operators.h"

namespace altlas::text {

using EKind = Expr::Kind;

Result<Value> Expressions::eval(const Expr& expr) {
  const Rendering::Nested nested(rendering_);
  rendering_.budget().spend(1);
  ALTLAS_TRY_VOID(rendering_.check_budget());
  ALTLAS_TRY(Value value, eval_node(expr));
  if (value.depth() > kValueDepthMax)
    return rendering_.fail(fmt::format("a value nested deeper than {}", kValueDepthMax));
  ALTLAS_TRY_VOID(rendering_.check_budget());
  return value;
}

Result<Value> Expressions::eval_node(const Expr& expr) {
  switch (expr.kind) {
    case EKind::kLiteral:
      return expr.literal;
    case EKind::kName:
      return scopes_.lookup(expr.name, rendering_.budget());
    case EKind::kList:
    case EKind::kTuple:
    case EKind::kObject:
      return eval_sequence(expr);
    case EKind::kCall:
      return eval_call(expr, nullptr);
    case EKind::kFilter:
      return eval_filter(expr, nullptr);
    case EKind::kCompare:
      return eval_compare(expr);
    case EKind::kSlice:
      return eval_slice(expr);
    default:
      break;
  }
  ALTLAS_TRY(const Value first, eval(*expr.children[expr.kind == EKind::kCondition ? 1 : 0]));
  rendering_.at_line(expr.line);
  switch (expr.kind) {
    case EKind::kAttribute:
      return attribute_of(rendering_, first, expr.name);
    case EKind::kItem: {
      ALTLAS_TRY(const Value key, eval(*expr.children[1]));
      return item_at(rendering_, first, key);
    }
    case EKind::kTest: {
      ALTLAS_TRY(const Arguments arguments, eval_arguments(expr, 1));
      ALTLAS_TRY(const bool result, holds_test(rendering_, expr.name, first, arguments));
      return Value(result);
    }
    case EKind::kNot:
      return Value(!first.truthy());
    case EKind::kNegate:
    case EKind::kPlus:
      if (!first.is_number())
        return rendering_.fail(fmt::format("a {} has no sign", first.kind_name()));
      if (expr.kind == EKind::kPlus) return first;
      return first.is_integral() ? apply_operator(rendering_, "-", Value(0), first)
                                 : Result<Value>(Value(-first.as_double()));
    case EKind::kAnd:
      return first.truthy() ? eval(*expr.children[1]) : Result<Value>(first);
    case EKind::kOr:
      return first.truthy() ? Result<Value>(first) : eval(*expr.children[1]);
    case EKind::kBinary: {
      ALTLAS_TRY(const Value second, eval(*expr.children[1]));
      return apply_operator(rendering_, expr.name, first, second);
    }
    case EKind::kCondition:
      if (first.truthy()) return eval(*expr.children[0]);
      return expr.children[2] != nullptr ? eval(*expr.children[2])
                                         : Result<Value>(Value::undefined());
    default:
      return rendering_.fail("an expression of unknown kind");
  }
}

Result<Value> Expressions::eval_sequence(const Expr& expr) {
  std::vector<Value> values;
  values.reserve(expr.children.size());
  for (const auto& child : expr.children) {
    ALTLAS_TRY(Value value, eval(*child));
    values.push_back(std::move(value));
  }
  if (expr.kind != EKind::kObject)
    return Value::list(std::move(values), expr.kind == EKind::kTuple);
  std::vector<Value::Entry> entries;
  for (size_t i = 0; i < values.size(); i += 2) {
    if (!values[i].is_string() && !values[i].is_integral()) {
      ALTLAS_TRY(TaggedText key, rendering_.to_text(values[i]));
      values[i] = Value(std::move(key));
    }
    entries.emplace_back(std::move(values[i]), std::move(values[i + 1]));
  }
  return Value::object(std::move(entries));
}

Result<Value> Expressions::eval_compare(const Expr& expr) {
  ALTLAS_TRY(Value left, eval(*expr.children[0]));
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    ALTLAS_TRY(Value right, eval(*expr.children[i + 1]));
    rendering_.at_line(expr.line);
    ALTLAS_TRY(const bool holds, holds_comparison(rendering_, expr.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Expressions::eval_slice(const Expr& expr) {
  Value parts[4];
  for (size_t i = 0; i < 4; ++i) {
    if (expr.children[i] == nullptr) continue;
    ALTLAS_TRY(parts[i], eval(*expr.children[i]));
  }
  rendering_.at_line(expr.line);
  return slice_of(rendering_, parts[0], parts[1], parts[2], parts[3]);
}

Result<Arguments> Expressions::eval_arguments(const Expr& expr, size_t first) {
  Arguments arguments;
  for (size_t i = first; i < expr.children.size(); ++i) {
    ALTLAS_TRY(Value value, eval(*expr.children[i]));
    arguments.positional.push_back(std::move(value));
  }
  for (const NamedExpr& named : expr.named) {
    ALTLAS_TRY(Value value, eval(*named.value));
    arguments.named.emplace_back(named.name, std::move(value));
  }
  return arguments;
}

Result<Value> Expressions::eval_filter(const Expr& expr, const Value* input) {
  Value operand;
  if (expr.children[0] == nullptr) {
    operand = *input;
  } else if (expr.children[0]->kind == EKind::kFilter) {
    const Rendering::Nested nested(rendering_);
    ALTLAS_TRY_VOID(rendering_.check_budget());
    ALTLAS_TRY(operand, eval_filter(*expr.children[0], input));
  } else {
    ALTLAS_TRY(operand, eval(*expr.children[0]));
  }
  ALTLAS_TRY(const Arguments arguments, eval_arguments(expr, 1));
  rendering_.at_line(expr.line);
  rendering_.budget().spend(1);
  return apply_filter(rendering_, expr.name, operand, arguments);
}

Result<Value> Expressions::eval_call(const Expr& expr, const Value* caller) {
  ALTLAS_TRY(const Value callee, eval(*expr.children[0]));
  ALTLAS_TRY(Arguments arguments, eval_arguments(expr, 1));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  rendering_.at_line(expr.line);
  return caller_.call(callee, arguments);
}

}  // namespace altlas::text
