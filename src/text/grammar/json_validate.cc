// Validation of values that a schema lists (enum, const) by the rest of the schema.
#include <cmath>

#include "text/grammar/json_schema.h"
#include "text/utf8.h"

namespace altlas::text::grammar {

bool same_value(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return compare(decimal_of(a), decimal_of(b)) == 0;
  if (a.kind() != b.kind()) return false;
  if (a.is_array()) {
    const json::array &x = a.get_array(), &y = b.get_array();
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same_value);
  }
  if (!a.is_object()) return a == b;
  const json::object &x = a.get_object(), &y = b.get_object();
  if (x.size() != y.size()) return false;
  for (const auto& [key, one] : x) {
    const json::value* other = y.if_contains(key);
    if (other == nullptr || !same_value(one, *other)) return false;
  }
  return true;
}

namespace {

bool has_type(const json::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return type == "integer" && value.is_number() && decimal_of(value).fraction.empty();
}

bool number_is_valid(const json::value& value, const json::object& schema) {
  const Decimal number = decimal_of(value);
  const auto against = [&](std::string_view keyword) -> std::optional<std::strong_ordering> {
    const json::value* bound = schema.if_contains(keyword);
    if (bound == nullptr || !bound->is_number()) return std::nullopt;
    return compare(number, decimal_of(*bound));
  };
  const auto is_true = [&](std::string_view keyword) {
    const json::value* flag = schema.if_contains(keyword);
    return flag != nullptr && flag->is_bool() && flag->get_bool();
  };
  const auto low = against("minimum"), high = against("maximum");
  if (low && (*low < 0 || (*low == 0 && is_true("exclusiveMinimum")))) return false;
  if (high && (*high > 0 || (*high == 0 && is_true("exclusiveMaximum")))) return false;
  const auto above = against("exclusiveMinimum"), below = against("exclusiveMaximum");
  if ((above && *above <= 0) || (below && *below >= 0)) return false;
  const json::value* divisor = schema.if_contains("multipleOf");
  if (divisor == nullptr || !divisor->is_number()) return true;
  return std::fmod(value.to_number<double>(), divisor->to_number<double>()) == 0;
}

bool within(size_t count, const json::object& schema, std::string_view min, std::string_view max) {
  const json::value *low = schema.if_contains(min), *high = schema.if_contains(max);
  const auto size = static_cast<double>(count);
  return !(low != nullptr && low->is_number() && size < low->to_number<double>()) &&
         !(high != nullptr && high->is_number() && size > high->to_number<double>());
}

}  // namespace

Result<bool> SchemaCompiler::string_is_valid(std::string_view value, const json::object& schema) {
  if (!within(count_code_points(value), schema, "minLength", "maxLength")) return false;
  const json::value* text = schema.if_contains("pattern");
  if (text == nullptr || !text->is_string()) return true;
  ALTLAS_TRY(const Automaton* automaton, pattern(text->get_string(), "pattern"));
  return automaton->matches(value);
}

Result<bool> SchemaCompiler::list_is_valid(const json::array& list, const json::object& schema,
                                           size_t depth) {
  if (!within(list.size(), schema, "minItems", "maxItems")) return false;
  const json::value* items = schema.if_contains("items");
  const json::value* prefix = schema.if_contains("prefixItems");
  const json::value* rest = items;
  if (prefix == nullptr && items != nullptr && items->is_array()) {
    prefix = items;
    rest = schema.if_contains("additionalItems");
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const bool first = prefix != nullptr && prefix->is_array() && i < prefix->get_array().size();
    const json::value* one = first ? &prefix->get_array()[i] : rest;
    if (one == nullptr) continue;
    ALTLAS_TRY(const bool fits, is_valid(list[i], *one, depth + 1));
    if (!fits) return false;
  }
  return true;
}

Result<bool> SchemaCompiler::object_is_valid(const json::object& value, const json::object& schema,
                                             size_t depth) {
  if (!within(value.size(), schema, "minProperties", "maxProperties")) return false;
  if (const json::value* required = schema.if_contains("required");
      required != nullptr && required->is_array())
    for (const json::value& name : required->get_array())
      if (name.is_string() && !value.contains(name.get_string())) return false;
  const json::value* properties = schema.if_contains("properties");
  const json::value* patterns = schema.if_contains("patternProperties");
  for (const auto& [key, one] : value) {
    std::vector<const json::value*> held;
    if (properties != nullptr && properties->is_object())
      if (const json::value* known = properties->get_object().if_contains(key))
        held.push_back(known);
    if (patterns != nullptr && patterns->is_object())
      for (const auto& [text, known] : patterns->get_object()) {
        ALTLAS_TRY(const Automaton* automaton, pattern(text, "patternProperties"));
        if (automaton->matches(key)) held.push_back(&known);
      }
    if (held.empty())
      if (const json::value* others = schema.if_contains("additionalProperties"))
        held.push_back(others);
    if (const json::value* names = schema.if_contains("propertyNames")) {
      ALTLAS_TRY(const bool fits, is_valid(json::value(key), *names, depth + 1));
      if (!fits) return false;
    }
    for (const json::value* part : held) {
      ALTLAS_TRY(const bool fits, is_valid(one, *part, depth + 1));
      if (!fits) return false;
    }
  }
  return true;
}

// allOf, anyOf, oneOf, not and $ref.
Result<bool> SchemaCompiler::parts_are_valid(const json::value& value, const json::object& schema,
                                             size_t depth) {
  for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
    const json::value* list = schema.if_contains(keyword);
    if (list == nullptr || !list->is_array()) continue;
    size_t fitting = 0;
    for (const json::value& one : list->get_array()) {
      ALTLAS_TRY(const bool fits, is_valid(value, one, depth + 1));
      fitting += fits;
    }
    const bool fine = keyword == "allOf"   ? fitting == list->get_array().size()
                      : keyword == "anyOf" ? fitting > 0
                                           : fitting == 1;
    if (!fine) return false;
  }
  if (const json::value* negated = schema.if_contains("not")) {
    ALTLAS_TRY(const bool fits, is_valid(value, *negated, depth + 1));
    if (fits) return false;
  }
  const json::value* reference = schema.if_contains("$ref");
  if (reference == nullptr || !reference->is_string()) return true;
  ALTLAS_TRY(const json::value* target, resolve(reference->get_string(), "$ref"));
  return is_valid(value, *target, depth + 1);
}

Result<bool> SchemaCompiler::is_valid(const json::value& value, const json::value& schema,
                                      size_t depth) {
  ALTLAS_TRY_VOID(budget_.spend(8));
  if (depth > kGrammarNestingMax) return wrong("", "references lead to themselves");
  if (schema.is_bool()) return schema.get_bool();
  if (!schema.is_object()) return wrong("", "a schema should be an object, true or false");
  const json::object& rules = schema.get_object();
  if (const json::value* type = rules.if_contains("type")) {
    const auto fits = [&](const json::value& name) {
      return name.is_string() && has_type(value, name.get_string());
    };
    const bool fine = type->is_array() ? std::ranges::any_of(type->get_array(), fits) : fits(*type);
    if (!fine) return false;
  }
  if (const json::value* one = rules.if_contains("const");
      one != nullptr && !same_value(*one, value))
    return false;
  if (const json::value* list = rules.if_contains("enum"); list != nullptr && list->is_array()) {
    const auto same = [&](const json::value& one) { return same_value(one, value); };
    if (std::ranges::none_of(list->get_array(), same)) return false;
  }
  bool fine = true;
  if (value.is_number()) {
    fine = number_is_valid(value, rules);
  } else if (value.is_string()) {
    ALTLAS_TRY(fine, string_is_valid(value.get_string(), rules));
  } else if (value.is_array()) {
    ALTLAS_TRY(fine, list_is_valid(value.get_array(), rules, depth));
  } else if (value.is_object()) {
    ALTLAS_TRY(fine, object_is_valid(value.get_object(), rules, depth));
  }
  if (!fine) return false;
  return parts_are_valid(value, rules, depth);
}

}  // namespace altlas::text::grammar
