// Evaluates expressions of chat templates.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/template/eval.h"
#include "text/template/string_methods.h"

namespace altlas::text {

using EKind = Expr::Kind;
using VKind = Value::Kind;

Result<Value> Evaluator::lookup(const std::string& name) {
  for (size_t i = scopes_.size(); i-- > frame_;) {
    budget_.spend(scopes_[i].variables.size() / 8);
    if (const Value* found = scopes_[i].find(name)) return *found;
  }
  if (frame_ > 0) {
    budget_.spend(scopes_[0].variables.size() / 8);
    if (const Value* found = scopes_[0].find(name)) return *found;
  }
  for (const std::string_view global :
       {"range", "namespace", "raise_exception", "strftime_now", "dict"})
    if (name == global) return Value::function({name, Value::undefined()});
  return Value::undefined(name);
}

Result<Value> Evaluator::eval(const Expr& expr) {
  ++depth_;
  budget_.spend(1);
  auto result = [&]() -> Result<Value> {
    ALTLAS_TRY_VOID(check_budget());
    ALTLAS_TRY(Value value, eval_node(expr));
    if (value.depth() > kValueDepthMax)
      return fail(fmt::format("a value nested deeper than {}", kValueDepthMax));
    ALTLAS_TRY_VOID(check_budget());
    return value;
  }();
  --depth_;
  return result;
}

Result<Value> Evaluator::eval_node(const Expr& expr) {
  switch (expr.kind) {
    case EKind::kLiteral:
      return expr.literal;
    case EKind::kName:
      return lookup(expr.name);
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
  line_ = expr.line;
  switch (expr.kind) {
    case EKind::kAttribute:
      return attribute(first, expr.name);
    case EKind::kItem: {
      ALTLAS_TRY(const Value key, eval(*expr.children[1]));
      return item(first, key);
    }
    case EKind::kTest: {
      ALTLAS_TRY(const Arguments arguments, eval_arguments(expr, 1));
      ALTLAS_TRY(const bool result, test(expr.name, first, arguments));
      return Value(result);
    }
    case EKind::kNot:
      return Value(!first.truthy());
    case EKind::kNegate:
    case EKind::kPlus:
      if (!first.is_number()) return fail(fmt::format("a {} has no sign", first.kind_name()));
      if (expr.kind == EKind::kPlus) return first;
      return first.is_integral() ? binary("-", Value(0), first)
                                 : Result<Value>(Value(-first.as_double()));
    case EKind::kAnd:
      return first.truthy() ? eval(*expr.children[1]) : Result<Value>(first);
    case EKind::kOr:
      return first.truthy() ? Result<Value>(first) : eval(*expr.children[1]);
    case EKind::kBinary: {
      ALTLAS_TRY(const Value second, eval(*expr.children[1]));
      return binary(expr.name, first, second);
    }
    case EKind::kCondition:
      if (first.truthy()) return eval(*expr.children[0]);
      return expr.children[2] != nullptr ? eval(*expr.children[2])
                                         : Result<Value>(Value::undefined());
    default:
      return fail("an expression of unknown kind");
  }
}

Result<Value> Evaluator::eval_sequence(const Expr& expr) {
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
      ALTLAS_TRY(TaggedText key, to_text(values[i]));
      values[i] = Value(std::move(key));
    }
    entries.emplace_back(std::move(values[i]), std::move(values[i + 1]));
  }
  return Value::object(std::move(entries));
}

Result<Value> Evaluator::eval_compare(const Expr& expr) {
  ALTLAS_TRY(Value left, eval(*expr.children[0]));
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    ALTLAS_TRY(Value right, eval(*expr.children[i + 1]));
    line_ = expr.line;
    ALTLAS_TRY(const bool holds, compare(expr.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Evaluator::eval_slice(const Expr& expr) {
  Value parts[4];
  for (size_t i = 0; i < 4; ++i) {
    if (expr.children[i] == nullptr) continue;
    ALTLAS_TRY(parts[i], eval(*expr.children[i]));
  }
  line_ = expr.line;
  return slice(parts[0], parts[1], parts[2], parts[3]);
}

Result<Arguments> Evaluator::eval_arguments(const Expr& expr, size_t first) {
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

// `input` stands for the innermost operand that is null ({% filter %} and {% set x | f %}).
Result<Value> Evaluator::eval_filter(const Expr& expr, const Value* input) {
  Value operand;
  if (expr.children[0] == nullptr) {
    operand = *input;
  } else if (expr.children[0]->kind == EKind::kFilter) {
    ++depth_;
    auto inner = check_budget().ok() ? eval_filter(*expr.children[0], input)
                                     : Result<Value>(check_budget().error());
    --depth_;
    if (!inner.ok()) return inner.error();
    operand = *std::move(inner);
  } else {
    ALTLAS_TRY(operand, eval(*expr.children[0]));
  }
  ALTLAS_TRY(const Arguments arguments, eval_arguments(expr, 1));
  line_ = expr.line;
  budget_.spend(1);
  return filter(expr.name, operand, arguments);
}

Result<Value> Evaluator::eval_call(const Expr& expr, const Value* caller) {
  ALTLAS_TRY(const Value callee, eval(*expr.children[0]));
  ALTLAS_TRY(Arguments arguments, eval_arguments(expr, 1));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = expr.line;
  return call(callee, arguments);
}

// ---- Operators ----

Result<std::vector<Value>> Evaluator::iterate(const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case VKind::kUndefined:
      break;
    case VKind::kList:
      ALTLAS_TRY_VOID(reserve_items(value.items().size()));
      items = value.items();
      break;
    case VKind::kObject:
      ALTLAS_TRY_VOID(reserve_items(value.entries().size()));
      for (const auto& [key, item] : value.entries()) items.push_back(key);
      break;
    case VKind::kString: {
      ALTLAS_TRY_VOID(reserve_items(value.view().size()));
      budget_.take(value.view().size() * sizeof(TaggedText));
      ALTLAS_TRY_VOID(check_budget());
      for (size_t i = 0; i < value.view().size();) {
        const size_t length = decode_utf8(value.view().substr(i)).length;
        items.emplace_back(value.text().slice(i, i + length));
        i += length;
      }
      break;
    }
    default:
      return fail(fmt::format("a {} can't be looped over", value.kind_name()));
  }
  ALTLAS_TRY_VOID(check_budget());
  return items;
}

Result<Value> Evaluator::item(const Value& value, const Value& key) {
  if (value.is_undefined())
    return fail(fmt::format("'{}' is undefined, it has no items", value.undefined_name()));
  if (value.is_object()) {
    if (const Value* found = value.find_key(key)) return *found;
    if (!key.is_string()) return Value::undefined("item");
    return attribute(value, std::string(key.view()));
  }
  if (key.is_string()) return attribute(value, std::string(key.view()));
  if ((!value.is_list() && !value.is_string()) || !key.is_integral())
    return Value::undefined("item");
  const bool is_list = value.is_list();
  if (!is_list) budget_.spend(value.view().size() / 16);
  const auto size =
      static_cast<int64_t>(is_list ? value.items().size() : count_code_points(value.view()));
  int64_t at = key.as_int();
  if (at < 0) at += size;
  if (at < 0 || at >= size) return Value::undefined("item");
  if (is_list) return value.items()[static_cast<size_t>(at)];
  return slice(value, Value(at), Value(at + 1), Value());
}

Result<Value> Evaluator::slice(const Value& value, const Value& begin, const Value& end,
                               const Value& step) {
  if (!value.is_list() && !value.is_string())
    return fail(fmt::format("a {} has no slices", value.kind_name()));
  for (const Value* bound : {&begin, &end, &step})
    if (!bound->is_none() && !bound->is_integral())
      return fail("a slice's bounds must be integers");
  const int64_t stride = step.is_none() ? 1 : step.as_int();
  if (stride == 0) return fail("a slice's step must not be 0");
  std::vector<size_t> starts;  // Byte offsets of characters, and the end.
  if (value.is_string()) {
    budget_.spend(value.view().size() / 4);
    ALTLAS_TRY_VOID(check_budget());
    for (size_t i = 0; i < value.view().size(); i += decode_utf8(value.view().substr(i)).length)
      starts.push_back(i);
    starts.push_back(value.view().size());
  }
  const auto size =
      static_cast<int64_t>(value.is_list() ? value.items().size() : starts.size() - 1);
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
  const auto bound = [&](const Value& v, int64_t fallback) {
    if (v.is_none()) return fallback;
    const int64_t at = v.as_int();
    return std::clamp(at < 0 ? std::max(at, -size - 1) + size : std::min(at, size), low, high);
  };
  const int64_t from = bound(begin, stride > 0 ? 0 : size - 1),
                to = bound(end, stride > 0 ? size : -1);
  TaggedText text;
  std::vector<Value> items;
  if (value.is_string() && stride == 1)
    return text_value(value.text().slice(starts[static_cast<size_t>(from)],
                                         starts[static_cast<size_t>(std::max(from, to))]));
  for (int64_t i = from; stride > 0 ? i < to : i > to;) {
    const auto at = static_cast<size_t>(i);
    ALTLAS_TRY_VOID(reserve_items(1));
    if (value.is_list()) {
      items.push_back(value.items()[at]);
    } else {
      text.append(value.text(), starts[at], starts[at + 1]);
    }
    if (__builtin_add_overflow(i, stride, &i)) break;
  }
  return value.is_list() ? Result<Value>(Value::list(std::move(items), value.is_tuple()))
                         : text_value(std::move(text));
}

Result<bool> Evaluator::compare(std::string_view op, const Value& left, const Value& right) {
  if (op == "==") return equal(left, right, budget_);
  if (op == "!=") return !equal(left, right, budget_);
  if (op == "in" || op == "not in") {
    bool found = false;
    if (right.is_string()) {
      if (!left.is_string())
        return fail(fmt::format("'in <str>' needs a str on its left, not {}", left.kind_name()));
      budget_.spend(right.view().size() / 16 + left.view().size() / 16);
      ALTLAS_TRY_VOID(check_budget());
      found = find_text(right.view(), left.view()) != std::string_view::npos;
    } else if (right.is_object()) {
      found = right.find_key(left) != nullptr;
    } else if (right.is_list()) {
      const auto same = [&](const Value& other) { return equal(left, other, budget_); };
      found = std::ranges::any_of(right.items(), same);
    } else if (!right.is_undefined()) {
      return fail(fmt::format("'in' can't look into a {}", right.kind_name()));
    }
    return found == (op == "in");
  }
  bool comparable = true;
  const bool is_less = op == "<" || op == ">=" ? less(left, right, budget_, comparable)
                                               : less(right, left, budget_, comparable);
  if (!comparable)
    return fail(
        fmt::format("'{}' can't compare {} with {}", op, left.kind_name(), right.kind_name()));
  return op == "<" || op == ">" ? is_less : !is_less;
}

}  // namespace altlas::text
