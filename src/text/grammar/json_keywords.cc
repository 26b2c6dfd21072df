// Keywords of JSON Schema: which kind of value each has, and how they are read.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kListMax = 4096;  // Of one anyOf, oneOf or enum.
constexpr std::string_view kTypeNames[] = {"null",   "boolean", "integer", "number",
                                           "string", "array",   "object"};

bool is_type_name(const json::value& value) {
  return value.is_string() && std::ranges::find(kTypeNames, std::string_view(value.get_string())) !=
                                  std::end(kTypeNames);
}

// What is wrong with a keyword's value; empty: nothing.
using Check = std::string_view (*)(const json::value&);

std::string_view is_text(const json::value& v) { return v.is_string() ? "" : "should be a string"; }
std::string_view is_flag(const json::value& v) {
  return v.is_bool() ? "" : "should be true or false";
}
std::string_view is_members(const json::value& v) {
  return v.is_object() ? "" : "should be an object";
}
std::string_view is_list(const json::value& v) {
  return v.is_array() ? "" : "should be a list of schemas";
}
std::string_view is_choice(const json::value& v) {
  return v.is_array() && !v.get_array().empty() ? "" : "should be a list of 1 or more schemas";
}
std::string_view is_values(const json::value& v) {
  return v.is_array() ? "" : "should be a list of values";
}
std::string_view is_count(const json::value& v) {
  const double number = v.is_number() ? v.to_number<double>() : -1;
  return number >= 0 && number == std::floor(number) ? "" : "should be a whole number from 0";
}
std::string_view is_number(const json::value& v) {
  return v.is_number() ? "" : "should be a number";
}
std::string_view is_bound(const json::value& v) {
  return v.is_number() || v.is_bool() ? "" : "should be a number";  // Draft 4 had flags.
}
std::string_view is_divisor(const json::value& v) {
  return v.is_number() && v.to_number<double>() > 0 ? "" : "should be a number above 0";
}
std::string_view is_types(const json::value& v) {
  const bool fine =
      v.is_array() ? std::ranges::all_of(v.get_array(), is_type_name) : is_type_name(v);
  return fine ? ""
              : "should be one or a list of null, boolean, integer, number, string, array, object";
}
std::string_view is_names(const json::value& v) {
  const bool fine = v.is_bool() ||  // Draft 3 had a flag.
                    (v.is_array() && std::ranges::all_of(v.get_array(), [](const auto& one) {
                       return one.is_string();
                     }));
  return fine ? "" : "should be a list of names";
}

constexpr std::pair<std::string_view, Check> kChecks[] = {
    {"$dynamicRef", is_text},
    {"$recursiveRef", is_text},
    {"$ref", is_text},
    {"allOf", is_list},
    {"anyOf", is_choice},
    {"dependencies", is_members},
    {"dependentRequired", is_members},
    {"dependentSchemas", is_members},
    {"enum", is_values},
    {"exclusiveMaximum", is_bound},
    {"exclusiveMinimum", is_bound},
    {"format", is_text},
    {"maxContains", is_count},
    {"maxItems", is_count},
    {"maxLength", is_count},
    {"maxProperties", is_count},
    {"maximum", is_number},
    {"minContains", is_count},
    {"minItems", is_count},
    {"minLength", is_count},
    {"minProperties", is_count},
    {"minimum", is_number},
    {"multipleOf", is_divisor},
    {"oneOf", is_choice},
    {"pattern", is_text},
    {"patternProperties", is_members},
    {"prefixItems", is_list},
    {"properties", is_members},
    {"required", is_names},
    {"type", is_types},
    {"uniqueItems", is_flag},
};

}  // namespace

void SchemaCompiler::leave_out(Unheld::Why why, const std::string& path, std::string reason) {
  const std::string place = path.substr(0, 512);
  const auto same = [&](const Unheld& one) { return one.pointer == place; };
  if (unheld_.size() >= kUnheldMax || std::ranges::any_of(unheld_, same)) return;
  unheld_.push_back({why, place, std::move(reason)});
}

void SchemaCompiler::check_keywords(uint32_t schema) {
  const json::object& keywords = schemas_[schema].value->get_object();
  for (const auto& [keyword, check] : kChecks) {
    const json::value* value = keywords.if_contains(keyword);
    if (value == nullptr) continue;
    const std::string place = path_of(schema, keyword);
    const std::string_view fault = check(*value);
    if (!fault.empty()) {
      leave_out(Unheld::Why::kMalformed, place, std::string(fault));
      schemas_[schema].dropped.push_back(keyword);
    } else if (value->is_array() && value->get_array().size() > kListMax) {
      leave_out(Unheld::Why::kTooComplex, place, fmt::format("has more than {} entries", kListMax));
      schemas_[schema].dropped.push_back(keyword);
    } else if (keyword.starts_with("min") && check == is_count &&
               value->to_number<double>() > kRepetitionMax) {
      leave_out(Unheld::Why::kTooComplex, place, fmt::format("is more than {}", kRepetitionMax));
      schemas_[schema].dropped.push_back(keyword);
    }
  }
}

std::string SchemaCompiler::path_of(uint32_t schema, std::string_view keyword) const {
  const Schema& one = schemas_[schema];
  return one.made ? one.path : one.path + pointer_step(keyword);
}

const json::value* SchemaCompiler::find(uint32_t schema, std::string_view keyword) const {
  const Schema& one = schemas_[schema];
  const json::value* value = one.value->get_object().if_contains(keyword);
  if (value == nullptr || one.dropped.empty()) return value;
  return std::ranges::find(one.dropped, keyword) == one.dropped.end() ? value : nullptr;
}

const json::object* SchemaCompiler::object_at(uint32_t schema, std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  return value == nullptr ? nullptr : value->if_object();
}

std::optional<uint32_t> SchemaCompiler::count_at(uint32_t schema, std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  if (value == nullptr) return std::nullopt;
  const double number = value->to_number<double>();
  if (number > kRepetitionMax) return std::nullopt;  // A maximum: longer than any answer.
  return static_cast<uint32_t>(number);
}

SchemaCompiler::Counts SchemaCompiler::counts_of(const Set& set, std::string_view minimum,
                                                 std::string_view maximum) const {
  Counts all;
  for (const uint32_t s : set) {
    all.min = std::max(all.min, count_at(s, minimum).value_or(0));
    all.max = std::min(all.max, count_at(s, maximum).value_or(kUnlimited));
  }
  return all;
}

std::string_view SchemaCompiler::type_fault(const json::value& type) { return is_types(type); }

SchemaCompiler::Types SchemaCompiler::named_types(const json::value& type) {
  Types here(kTypes, false);
  const auto add_name = [&](const json::value& name) {
    const auto* at = std::ranges::find(kTypeNames, std::string_view(name.get_string()));
    here[static_cast<size_t>(at - kTypeNames)] = true;
    if (*at == "number") here[kInteger] = true;
  };
  if (type.is_array())
    std::ranges::for_each(type.get_array(), add_name);
  else
    add_name(type);
  return here;
}

SchemaCompiler::Types SchemaCompiler::types_of(const Set& set) const {
  Types all(kTypes, true);
  const auto narrow = [&](const Types& by, bool kept) {
    for (size_t t = 0; t < kTypes; ++t) all[t] = all[t] && by[t] == kept;
  };
  for (const uint32_t s : set) {
    if (const json::value* type = find(s, "type")) narrow(named_types(*type), true);
    const json::value* negated = find(s, "not");
    if (negated == nullptr || !negated->is_object() || negated->get_object().size() != 1) continue;
    const json::value* type = negated->get_object().if_contains("type");
    if (type != nullptr && type_fault(*type).empty()) narrow(named_types(*type), false);
  }
  return all;
}

}  // namespace altlas::text::grammar
