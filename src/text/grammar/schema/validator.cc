#include "text/grammar/schema/validator.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/grammar/limits.h"
#include "text/grammar/regex.h"
#include "text/grammar/schema/decimal.h"
#include "text/grammar/schema/formats.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

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
  for (const std::string_view keyword : {std::string_view("multipleOf"), kNotMultipleOf}) {
    const json::value* divisor = schema.if_contains(keyword);
    if (divisor == nullptr || !divisor->is_number() || divisor->to_number<double>() <= 0) continue;
    if (is_multiple(number, decimal_of(*divisor)) != (keyword == "multipleOf")) return false;
  }
  return true;
}

bool within(size_t count, const json::object& schema, std::string_view min, std::string_view max) {
  const json::value *low = schema.if_contains(min), *high = schema.if_contains(max);
  const auto size = static_cast<double>(count);
  return !(low != nullptr && low->is_number() && size < low->to_number<double>()) &&
         !(high != nullptr && high->is_number() && size > high->to_number<double>());
}

}  // namespace

Result<bool> Validator::string_is_valid(std::string_view value, const json::object& schema,
                                        const std::string& path) {
  if (!within(count_code_points(value), schema, "minLength", "maxLength")) return false;
  for (const std::string_view keyword : {std::string_view("pattern"), kNotPattern}) {
    const json::value* text = schema.if_contains(keyword);
    if (text == nullptr || !text->is_string()) continue;
    const Automaton* automaton = context_.pattern(text->get_string(), path + pointer_step(keyword));
    if (automaton != nullptr && automaton->matches(value) != (keyword == "pattern")) return false;
  }
  const json::value* format = schema.if_contains("format");
  if (format == nullptr || !format->is_string()) return true;
  const auto written = format_pattern(format->get_string());
  if (!written) return true;
  ALTLAS_TRY(const Automaton automaton, whole_match(*written, context_.budget));
  return automaton.matches(value);
}

Result<bool> Validator::list_is_valid(const json::array& list, const json::object& schema,
                                      const std::string& path, size_t depth) {
  if (!within(list.size(), schema, "minItems", "maxItems")) return false;
  const json::value* items = schema.if_contains("items");
  const json::value* prefix = schema.if_contains("prefixItems");
  const json::value* rest = items;
  std::string prefix_path = path + "/prefixItems", rest_path = path + "/items";
  if (prefix == nullptr && items != nullptr && items->is_array()) {
    prefix = items;
    prefix_path = rest_path;
    rest = schema.if_contains("additionalItems");
    rest_path = path + "/additionalItems";
  }
  const json::value* contains = schema.if_contains("contains");
  size_t found = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const bool first = prefix != nullptr && prefix->is_array() && i < prefix->get_array().size();
    const json::value* one = first ? &prefix->get_array()[i] : rest;
    if (one != nullptr) {
      ALTLAS_TRY(const bool fits,
                 is_valid(list[i], *one, first ? fmt::format("{}/{}", prefix_path, i) : rest_path,
                          depth + 1));
      if (!fits) return false;
    }
    if (contains == nullptr) continue;
    ALTLAS_TRY(const bool fits, is_valid(list[i], *contains, path + "/contains", depth + 1));
    found += fits;
  }
  if (contains != nullptr && !within(found, schema, "minContains", "maxContains")) return false;
  if (contains != nullptr && found == 0 && !schema.contains("minContains")) return false;
  const json::value* unique = schema.if_contains("uniqueItems");
  if (unique == nullptr || !unique->is_bool() || !unique->get_bool()) return true;
  for (size_t i = 0; i < list.size(); ++i) {
    ALTLAS_TRY_VOID(context_.budget.spend(static_cast<int64_t>(i)));
    for (size_t j = 0; j < i; ++j)
      if (same_value(list[i], list[j])) return false;
  }
  return true;
}

// Checks dependentRequired, dependentSchemas and dependencies.
Result<bool> Validator::dependents_are_valid(const json::object& value, const json::object& schema,
                                             const std::string& path, size_t depth) {
  for (const std::string_view keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    const json::value* all = schema.if_contains(keyword);
    if (all == nullptr || !all->is_object()) continue;
    for (const auto& [name, asked] : all->get_object()) {
      if (!value.contains(name)) continue;
      if (!asked.is_array()) {
        const std::string place = path + pointer_step(keyword) + pointer_step(name);
        ALTLAS_TRY(const bool fits, is_valid(json::value(value), asked, place, depth + 1));
        if (!fits) return false;
        continue;
      }
      for (const json::value& other : asked.get_array())
        if (other.is_string() && !value.contains(other.get_string())) return false;
    }
  }
  return true;
}

Result<bool> Validator::object_is_valid(const json::object& value, const json::object& schema,
                                        const std::string& path, size_t depth) {
  if (!within(value.size(), schema, "minProperties", "maxProperties")) return false;
  if (const json::value* required = schema.if_contains("required");
      required != nullptr && required->is_array())
    for (const json::value& name : required->get_array())
      if (name.is_string() && !value.contains(name.get_string())) return false;
  const json::value* properties = schema.if_contains("properties");
  const json::value* patterns = schema.if_contains("patternProperties");
  for (const auto& [key, one] : value) {
    std::vector<std::pair<const json::value*, std::string>> held;
    if (properties != nullptr && properties->is_object())
      if (const json::value* known = properties->get_object().if_contains(key))
        held.emplace_back(known, path + "/properties" + pointer_step(key));
    if (patterns != nullptr && patterns->is_object())
      for (const auto& [text, known] : patterns->get_object()) {
        const Automaton* automaton = context_.pattern(text, path + "/patternProperties");
        if (automaton != nullptr && automaton->matches(key))
          held.emplace_back(&known, path + "/patternProperties" + pointer_step(text));
      }
    if (held.empty())
      if (const json::value* others = schema.if_contains("additionalProperties"))
        held.emplace_back(others, path + "/additionalProperties");
    if (const json::value* names = schema.if_contains("propertyNames"))
      held.emplace_back(names, path + "/propertyNames");
    for (const auto& [part, place] : held) {
      const bool named = part == schema.if_contains("propertyNames");
      ALTLAS_TRY(const bool fits,
                 is_valid(named ? json::value(key) : one, *part, place, depth + 1));
      if (!fits) return false;
    }
  }
  return dependents_are_valid(value, schema, path, depth);
}

Result<bool> Validator::parts_are_valid(const json::value& value, const json::object& schema,
                                        const std::string& path, size_t depth) {
  for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
    const json::value* list = schema.if_contains(keyword);
    if (list == nullptr || !list->is_array()) continue;
    size_t fitting = 0;
    for (size_t i = 0; i < list->get_array().size(); ++i) {
      ALTLAS_TRY(const bool fits, is_valid(value, list->get_array()[i],
                                           fmt::format("{}/{}/{}", path, keyword, i), depth + 1));
      fitting += fits;
    }
    const bool fine = keyword == "allOf"   ? fitting == list->get_array().size()
                      : keyword == "anyOf" ? fitting > 0
                                           : fitting == 1;
    if (!fine) return false;
  }
  const auto part_is_valid = [&](std::string_view keyword) -> Result<bool> {
    const json::value* part = schema.if_contains(keyword);
    if (part == nullptr) return true;
    return is_valid(value, *part, path + pointer_step(keyword), depth + 1);
  };
  if (schema.contains("not")) {
    ALTLAS_TRY(const bool fits, part_is_valid("not"));
    if (fits) return false;
  }
  if (schema.contains("if")) {
    ALTLAS_TRY(const bool holds, part_is_valid("if"));
    ALTLAS_TRY(const bool fits, part_is_valid(holds ? "then" : "else"));
    if (!fits) return false;
  }
  for (const std::string_view keyword : {"$ref", "$dynamicRef", "$recursiveRef"}) {
    const json::value* reference = schema.if_contains(keyword);
    if (reference == nullptr || !reference->is_string()) continue;
    std::string pointer;
    const json::value* target =
        context_.resolve(keyword, *reference, path + pointer_step(keyword), pointer);
    if (target == nullptr) continue;
    ALTLAS_TRY(const bool fits, is_valid(value, *target, pointer, depth + 1));
    if (!fits) return false;
  }
  return true;
}

Result<bool> Validator::is_valid(const json::value& value, const json::value& schema,
                                 const std::string& path, size_t depth) {
  ALTLAS_TRY_VOID(context_.budget.spend(8 + static_cast<int64_t>(path.size() / 16)));
  if (schema.is_bool()) return schema.get_bool();
  // References that lead to themselves add nothing.
  if (depth > kGrammarNestingMax || !schema.is_object()) return true;
  const json::object& rules = schema.get_object();
  if (const json::value* at = rules.if_contains(kAt)) {
    const Literal literal = made_.literal_at(at->to_number<size_t>());
    ALTLAS_TRY(const bool fits, is_valid(value, *literal.value, literal.path, depth + 1));
    return fits != literal.negated;
  }
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
  for (const std::string_view keyword : {std::string_view("enum"), kNotEnum}) {
    const json::value* list = rules.if_contains(keyword);
    if (list == nullptr || !list->is_array()) continue;
    const auto same = [&](const json::value& one) { return same_value(one, value); };
    ALTLAS_TRY_VOID(context_.budget.spend(static_cast<int64_t>(list->get_array().size())));
    if (std::ranges::any_of(list->get_array(), same) != (keyword == "enum")) return false;
  }
  bool fine = true;
  if (value.is_number()) {
    fine = number_is_valid(value, rules);
  } else if (value.is_string()) {
    ALTLAS_TRY(fine, string_is_valid(value.get_string(), rules, path));
  } else if (value.is_array()) {
    ALTLAS_TRY(fine, list_is_valid(value.get_array(), rules, path, depth));
  } else if (value.is_object()) {
    ALTLAS_TRY(fine, object_is_valid(value.get_object(), rules, path, depth));
  }
  if (!fine) return false;
  return parts_are_valid(value, rules, path, depth);
}

}  // namespace altlas::text::grammar::schema
