#include "text/grammar/schema/schemas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/grammar/limits.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kListMax = 4096;  // The most alternatives of one anyOf, oneOf or enum.
constexpr std::string_view kTypeNames[] = {"null",   "boolean", "integer", "number",
                                           "string", "array",   "object"};

bool is_type_name(const json::value& value) {
  return value.is_string() && std::ranges::find(kTypeNames, std::string_view(value.get_string())) !=
                                  std::end(kTypeNames);
}

// Returns what is wrong with a keyword's value, or "".
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
  return v.is_number() || v.is_bool() ? "" : "should be a number";  // Draft 4 has flags.
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
  // Draft 3 has a flag.
  const bool fine =
      v.is_bool() || (v.is_array() && std::ranges::all_of(v.get_array(), [](const auto& one) {
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

std::string_view type_fault(const json::value& type) { return is_types(type); }

Types named_types(const json::value& type) {
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

uint32_t Schemas::add(const json::value& value, const std::string& path) {
  const auto id = static_cast<uint32_t>(all_.size());
  all_.push_back({&value, path, value.get_object().contains(kMade), {}, {}, {}});
  check_keywords(id);
  return id;
}

void Schemas::check_keywords(uint32_t schema) {
  const json::object& keywords = all_[schema].value->get_object();
  for (const auto& [keyword, check] : kChecks) {
    const json::value* value = keywords.if_contains(keyword);
    if (value == nullptr) continue;
    const std::string place = path_of(schema, keyword);
    const std::string_view fault = check(*value);
    if (!fault.empty()) {
      context_.leave_out(Unheld::Why::kMalformed, place, std::string(fault));
      all_[schema].dropped.push_back(keyword);
    } else if (value->is_array() && value->get_array().size() > kListMax) {
      context_.leave_out(Unheld::Why::kTooComplex, place,
                         fmt::format("has more than {} entries", kListMax));
      all_[schema].dropped.push_back(keyword);
    } else if (keyword.starts_with("min") && check == is_count &&
               value->to_number<double>() > kRepetitionMax) {
      context_.leave_out(Unheld::Why::kTooComplex, place,
                         fmt::format("is more than {}", kRepetitionMax));
      all_[schema].dropped.push_back(keyword);
    }
  }
}

std::string Schemas::path_of(uint32_t schema, std::string_view keyword, size_t index) const {
  const std::string place = path_of(schema, keyword);
  return all_[schema].made ? place : fmt::format("{}/{}", place, index);
}

std::string Schemas::path_of(uint32_t schema, std::string_view keyword) const {
  const Schema& one = all_[schema];
  return one.made ? one.path : one.path + pointer_step(keyword);
}

const json::value* Schemas::find(uint32_t schema, std::string_view keyword) const {
  const Schema& one = all_[schema];
  const json::value* value = one.value->get_object().if_contains(keyword);
  if (value == nullptr || one.dropped.empty()) return value;
  return std::ranges::find(one.dropped, keyword) == one.dropped.end() ? value : nullptr;
}

const json::object* Schemas::object_at(uint32_t schema, std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  return value == nullptr ? nullptr : value->if_object();
}

std::optional<uint32_t> Schemas::count_at(uint32_t schema, std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  if (value == nullptr) return std::nullopt;
  const double number = value->to_number<double>();
  if (number > kRepetitionMax) return std::nullopt;  // Such a maximum is longer than any answer.
  return static_cast<uint32_t>(number);
}

Counts Schemas::counts_of(const Set& set, std::string_view minimum,
                          std::string_view maximum) const {
  Counts all;
  for (const uint32_t s : set) {
    all.min = std::max(all.min, count_at(s, minimum).value_or(0));
    all.max = std::min(all.max, count_at(s, maximum).value_or(kUnlimited));
  }
  return all;
}

Types Schemas::types_of(const Set& set) const {
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

bool Schemas::is_left(const Set& set, const json::value& value) const {
  return std::ranges::none_of(set, [&](uint32_t s) {
    const json::value* out = find(s, kNotEnum);
    return out != nullptr && std::ranges::find(out->get_array(), value) != out->get_array().end();
  });
}

std::vector<ExpressionPtr> Schemas::literals_of(const Set& set, const Types& types) const {
  std::vector<ExpressionPtr> out;
  if (types[kNull] && is_left(set, nullptr)) out.push_back(bytes("null"));
  for (const bool value : {true, false})
    if (types[kBoolean] && is_left(set, value)) out.push_back(bytes(value ? "true" : "false"));
  return out;
}

void Schemas::name_pending(const Set& set) {
  for (const uint32_t s : set)
    for (const Unheld& one : all_[s].pending) context_.leave_out(one.why, one.pointer, one.reason);
}

bool Schemas::is_listed(const Set& set) const {
  return std::ranges::any_of(
      set, [&](uint32_t s) { return find(s, "const") != nullptr || find(s, "enum") != nullptr; });
}

}  // namespace altlas::text::grammar::schema
