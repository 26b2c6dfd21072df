#include "text/grammar/schema/negations.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/limits.h"
#include "text/grammar/schema/decimal.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

namespace {

// Keywords that can't be negated.
constexpr std::string_view kNotNegated[] = {"$dynamicRef",
                                            "$recursiveRef",
                                            "additionalItems",
                                            "additionalProperties",
                                            "dependencies",
                                            "dependentSchemas",
                                            "oneOf",
                                            "patternProperties",
                                            "prefixItems",
                                            "propertyNames",
                                            "unevaluatedItems",
                                            "unevaluatedProperties"};

bool is_in(std::string_view keyword, const auto& list) {
  return std::ranges::find(list, keyword) != std::end(list);
}

json::object typed(std::string_view type) { return {{"type", type}}; }

bool is_flag(const json::object& schema, std::string_view keyword) {
  const json::value* value = schema.if_contains(keyword);
  return value != nullptr && value->is_bool() && value->get_bool();
}

// Returns {"type": "object", "required": [name], "properties": {name: value}}.
json::object object_with(std::string_view name, json::value value, bool required) {
  json::object out = typed("object");
  if (required) out["required"] = json::array{name};
  out["properties"] = json::object{{name, std::move(value)}};
  return out;
}

}  // namespace

Result<bool> Negations::can_negate_keyword(const json::object& schema, std::string_view keyword,
                                           const std::string& path, size_t depth) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  const auto all_of = [&](const json::array& list) -> Result<bool> {
    for (size_t i = 0; i < list.size(); ++i) {
      ALTLAS_TRY(const bool can, can_negate(list[i], fmt::format("{}/{}", place, i), depth + 1));
      if (!can) return false;
    }
    return true;
  };
  if (keyword == "properties") {
    if (!value.is_object()) return false;
    for (const auto& [name, one] : value.get_object()) {
      ALTLAS_TRY(const bool can, can_negate(one, place + pointer_step(name), depth + 1));
      if (!can) return false;
    }
    return true;
  }
  if (keyword == "allOf" || keyword == "anyOf")
    return value.is_array() ? all_of(value.get_array()) : Result<bool>(false);
  if (keyword == "contains" && (schema.contains("minContains") || schema.contains("maxContains")))
    return false;
  if (keyword == "items" && (value.is_array() || schema.contains("prefixItems"))) return false;
  if (keyword == "items" || keyword == "contains") return can_negate(value, place, depth + 1);
  if (keyword == "if") {
    for (const std::string_view part : {"if", "then", "else"}) {
      const json::value* one = schema.if_contains(part);
      if (one == nullptr) continue;
      ALTLAS_TRY(const bool can, can_negate(*one, path + pointer_step(part), depth + 1));
      if (!can) return false;
    }
    return true;
  }
  if (keyword == "$ref") {
    std::string pointer;
    const json::value* target =
        value.is_string() ? context_.resolve("$ref", value, place, pointer) : nullptr;
    return target == nullptr ? Result<bool>(false) : can_negate(*target, pointer, depth + 1);
  }
  if (keyword == "pattern") return value.is_string() && context_.pattern(value.get_string(), place);
  if (keyword == "const" || keyword == "enum") {
    // A list or an object can't be told from another while it is being written.
    const auto plain = [](const json::value& one) { return !one.is_array() && !one.is_object(); };
    if (keyword == "const") return plain(value);
    return value.is_array() && std::ranges::all_of(value.get_array(), plain);
  }
  if (keyword == "type") return type_fault(value).empty();
  if (keyword == "uniqueItems") return value.is_bool() && !value.get_bool();
  if (keyword == "multipleOf") return value.is_number() && multiples(decimal_of(value), false);
  return true;
}

Result<bool> Negations::can_negate(const json::value& value, const std::string& path,
                                   size_t depth) {
  ALTLAS_TRY_VOID(context_.budget.spend(16 + static_cast<int64_t>(path.size() / 16)));
  if (value.is_bool()) return true;
  if (!value.is_object() || depth > kGrammarNestingMax) return false;
  // A schema that leads to itself counts as negatable while it is looked at: a violation lies at a
  // finite depth.
  const auto [at, fresh] = negatable_.try_emplace(&value, true);
  if (!fresh) return at->second;
  const size_t mark = negatable_trail_.size();
  negatable_trail_.push_back(&value);
  bool can = true;
  for (const auto& [keyword, one] : value.get_object()) {
    if (!can) break;
    // additionalProperties: true allows everything.
    const bool open = one.is_bool() && one.get_bool();
    can = open || !is_in(keyword, kNotNegated);
    if (!can) break;
    ALTLAS_TRY(can, can_negate_keyword(value.get_object(), keyword, path, depth));
  }
  if (can) return true;
  // What was found meanwhile relied on the assumption.
  for (size_t i = mark; i < negatable_trail_.size(); ++i) negatable_.erase(negatable_trail_[i]);
  negatable_trail_.resize(mark);
  return negatable_[&value] = false;
}

void Negations::negate_number(const json::object& schema, std::string_view keyword,
                              json::array& out) {
  const bool low = keyword.ends_with("inimum");
  const bool exclusive = keyword.starts_with("exclusive") ||
                         is_flag(schema, low ? "exclusiveMinimum" : "exclusiveMaximum");
  json::object beyond = typed("number");
  if (low)
    beyond[exclusive ? "maximum" : "exclusiveMaximum"] = schema.at(keyword);
  else
    beyond[exclusive ? "minimum" : "exclusiveMinimum"] = schema.at(keyword);
  out.push_back(std::move(beyond));
}

bool Negations::negate_count(std::string_view keyword, const json::value& value, json::array& out) {
  struct Row {
    std::string_view name, opposite, type;
  };
  constexpr Row kRows[] = {{"minLength", "maxLength", "string"},
                           {"maxLength", "minLength", "string"},
                           {"minItems", "maxItems", "array"},
                           {"maxItems", "minItems", "array"},
                           {"minProperties", "maxProperties", "object"},
                           {"maxProperties", "minProperties", "object"}};
  const auto* row = std::ranges::find(kRows, keyword, &Row::name);
  if (row == std::end(kRows)) return false;
  const double count = value.is_number() ? value.to_number<double>() : 0;
  const bool least = keyword.starts_with("min");
  if (least && count < 1) return true;  // Nothing violates it.
  json::object beyond = typed(row->type);
  beyond[row->opposite] = static_cast<int64_t>(std::clamp(count, 0.0, 1e9)) + (least ? -1 : 1);
  out.push_back(std::move(beyond));
  return true;
}

void Negations::negate_object(std::string_view keyword, const json::value& value,
                              const std::string& path, json::array& out) {
  if (keyword == "properties") {
    for (const auto& [name, one] : value.get_object())
      out.push_back(object_with(name, made_.literal(one, path + pointer_step(name), true), true));
  } else if (keyword == "required") {
    if (!value.is_array()) return;
    for (const json::value& name : value.get_array())
      if (name.is_string()) out.push_back(object_with(name.get_string(), false, false));
  } else if (value.is_object()) {  // This is dependentRequired.
    for (const auto& [name, asked] : value.get_object()) {
      if (!asked.is_array()) continue;
      for (const json::value& other : asked.get_array()) {
        if (!other.is_string() || other.get_string() == name) continue;
        json::object broken = object_with(other.get_string(), false, false);
        broken["required"] = json::array{std::string_view(name)};
        out.push_back(std::move(broken));
      }
    }
  }
}

void Negations::negate_choice(const json::object& schema, std::string_view keyword,
                              const std::string& path, json::array& out) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  if (keyword == "if") {
    for (const std::string_view part : {"then", "else"}) {
      const json::value* then = schema.if_contains(part);
      if (then == nullptr) continue;
      json::array both{made_.literal(value, place, part == "else"),
                       made_.literal(*then, path + pointer_step(part), true)};
      out.push_back(json::object{{"allOf", std::move(both)}});
    }
    return;
  }
  json::array each;
  for (size_t i = 0; i < value.get_array().size(); ++i)
    each.push_back(made_.literal(value.get_array()[i], fmt::format("{}/{}", place, i), true));
  if (keyword == "anyOf") {
    out.push_back(json::object{{"allOf", std::move(each)}});
  } else {
    for (json::value& one : each) out.push_back(std::move(one));
  }
}

Result<void> Negations::negate_keyword(const json::object& schema, std::string_view keyword,
                                       const std::string& path, json::array& out) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  if (keyword == "type") {
    out.push_back(json::object{{"not", typed("")}});
    out.back().as_object()["not"].as_object()["type"] = value;
  } else if (keyword == "const" || keyword == "enum") {
    out.push_back(json::object{{kNotEnum, value.is_array() ? value : json::array{value}}});
  } else if (keyword == "minimum" || keyword == "maximum") {
    negate_number(schema, keyword, out);
  } else if (keyword == "exclusiveMinimum" || keyword == "exclusiveMaximum") {
    if (value.is_number()) negate_number(schema, keyword, out);
  } else if (keyword == "multipleOf" || keyword == "pattern") {
    json::object broken = typed(keyword == "pattern" ? "string" : "number");
    broken[keyword == "pattern" ? kNotPattern : kNotMultipleOf] = value;
    out.push_back(std::move(broken));
  } else if (keyword == "properties" || keyword == "required" || keyword == "dependentRequired") {
    negate_object(keyword, value, place, out);
  } else if (keyword == "items" || keyword == "contains") {
    json::object broken = typed("array");
    broken[keyword == "items" ? "contains" : "items"] = made_.literal(value, place, true);
    out.push_back(std::move(broken));
  } else if (keyword == "allOf" || keyword == "anyOf" || keyword == "if") {
    negate_choice(schema, keyword, path, out);
  } else if (keyword == "not") {
    out.push_back(made_.literal(value, place, false));
  } else if (keyword == "$ref") {
    std::string pointer;
    const json::value* target = context_.resolve("$ref", value, place, pointer);
    if (target != nullptr) out.push_back(made_.literal(*target, pointer, true));
  } else {
    negate_count(keyword, value, out);
  }
  return {};
}

Result<const json::value*> Negations::negation_of(const json::value& value,
                                                  const std::string& path) {
  ALTLAS_TRY_VOID(context_.budget.spend(16));
  const auto [at, fresh] = negations_.try_emplace(&value, nullptr);
  if (!fresh) return at->second;
  json::array cases;
  if (value.is_object()) {
    for (const auto& [keyword, one] : value.get_object())
      ALTLAS_TRY_VOID(negate_keyword(value.get_object(), keyword, path, cases));
  }
  for (json::value& one : cases)
    if (one.is_object() && !one.get_object().contains(kAt)) one.get_object()[kMade] = true;
  json::object made;
  if (value.is_bool() ? value.get_bool() : cases.empty())
    made["not"] = json::object();  // No value fits.
  else if (!cases.empty())
    made["anyOf"] = std::move(cases);
  return at->second = &made_.make(std::move(made));
}

}  // namespace altlas::text::grammar::schema
