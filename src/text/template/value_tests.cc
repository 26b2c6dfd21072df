// Tests of chat templates on single values.
#include "text/template/filters.h"

#include <fmt/format.h>

#include "text/template/operators.h"
#include "text/template/string_methods.h"

namespace altlas::text {

Result<bool> holds_test(Rendering& rendering, std::string_view name, const Value& value,
                        const Arguments& arguments) {
  using Kind = Value::Kind;
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return value.is_none();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_object() || value.is(Kind::kNamespace);
  if (name == "iterable")
    return value.is_string() || value.is_list() || value.is_object() || value.is_undefined();
  if (name == "sequence")
    return value.is_string() || value.is_list() || value.is_object() || value.is_undefined();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is(Kind::kInt);
  if (name == "float") return value.is(Kind::kDouble);
  if (name == "boolean") return value.is(Kind::kBool);
  if (name == "true") return value.is(Kind::kBool) && value.as_bool();
  if (name == "false") return value.is(Kind::kBool) && !value.as_bool();
  if (name == "callable") return value.is(Kind::kFunction) || value.is(Kind::kLoop);
  if (name == "lower") return value.is_string() && is_lower_text(value.view());
  if (name == "upper") return value.is_string() && is_upper_text(value.view());
  if (name == "escaped") return false;
  const Value* other = arguments.get(0, "other");
  if (name == "odd" || name == "even" || name == "divisibleby") {
    if (!value.is_integral())
      return rendering.fail(fmt::format("'{}' tests integers, not {}", name, value.kind_name()));
    const int64_t divisor = name == "divisibleby" ? arguments.integer(0, "num", 0) : 2;
    if (divisor == 0) return rendering.fail("divisibleby takes an integer that is not 0");
    const bool divides = divisor == -1 || value.as_int() % divisor == 0;
    return name == "odd" ? !divides : divides;
  }
  struct Comparison {
    std::string_view name, op;
  };
  constexpr Comparison kComparisons[] = {{"eq", "=="}, {"equalto", "=="}, {"sameas", "=="},
                                         {"ne", "!="}, {"lt", "<"},       {"lessthan", "<"},
                                         {"le", "<="}, {"gt", ">"},       {"greaterthan", ">"},
                                         {"ge", ">="}, {"in", "in"}};
  for (const auto& [test_name, op] : kComparisons) {
    if (name != test_name) continue;
    if (other == nullptr)
      return rendering.fail(fmt::format("the test '{}' needs a value to compare with", name));
    if (name == "sameas" && value.kind() != other->kind()) return false;
    return holds_comparison(rendering, op, value, *other);
  }
  return rendering.fail(fmt::format("unknown test '{}'", name));
}

}  // namespace altlas::text
