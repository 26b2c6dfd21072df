#include "text/grammar/schema/disjointness.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/limits.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kDisjointStepsMax = 2'000;  // The steps for one pair of schemas.

}  // namespace

bool Disjointness::differ_in_member(const json::object& a, const std::string& path_a,
                                    const json::object& b, const std::string& path_b) {
  const auto is_object = [](const json::object& schema) {
    const json::value* type = schema.if_contains("type");
    return type != nullptr && type->is_string() && type->get_string() == "object";
  };
  const auto members = [](const json::object& schema, std::string_view keyword) {
    const json::value* value = schema.if_contains(keyword);
    return value == nullptr ? nullptr : value->if_object();
  };
  const json::value* required = a.if_contains("required");
  if (!is_object(a) || !is_object(b) || required == nullptr || !required->is_array()) return false;
  const json::object *in_a = members(a, "properties"), *in_b = members(b, "properties");
  const json::value* others = b.if_contains("additionalProperties");
  const bool closed = others != nullptr && others->is_bool() && !others->get_bool() &&
                      !b.contains("patternProperties");
  for (const json::value& name : required->get_array()) {
    if (!name.is_string()) continue;
    const std::string_view key = name.get_string();
    const json::value* one = in_a == nullptr ? nullptr : in_a->if_contains(key);
    const json::value* other = in_b == nullptr ? nullptr : in_b->if_contains(key);
    if (other == nullptr && closed) return true;
    if (one == nullptr || other == nullptr) continue;
    const std::string step = "/properties" + pointer_step(key);
    if (are_disjoint(*one, path_a + step, *other, path_b + step)) return true;
  }
  return false;
}

bool Disjointness::lists_no_value_of(const json::object& a, const json::value& b,
                                     const std::string& path_b) {
  const json::value *one = a.if_contains("const"), *list = a.if_contains("enum");
  const auto outside = [&](const json::value& value) {
    const auto fits = validator_.is_valid(value, b, path_b, 0);
    return fits.ok() && !*fits;
  };
  if (one != nullptr) return outside(*one);
  return list != nullptr && list->is_array() && std::ranges::all_of(list->get_array(), outside);
}

bool Disjointness::parts_are_disjoint(const json::object& a, const std::string& path_a,
                                      const json::value& b, const std::string& path_b) {
  if (const json::value* reference = a.if_contains("$ref");
      reference != nullptr && reference->is_string()) {
    std::string pointer;
    const json::value* target = context_.resolve("$ref", *reference, path_a + "/$ref", pointer);
    if (target != nullptr && are_disjoint(*target, pointer, b, path_b)) return true;
  }
  for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
    const json::value* list = a.if_contains(keyword);
    if (list == nullptr || !list->is_array()) continue;
    size_t apart = 0;
    for (size_t i = 0; i < list->get_array().size(); ++i)
      apart += are_disjoint(list->get_array()[i], fmt::format("{}/{}/{}", path_a, keyword, i), b,
                            path_b);
    if (keyword == "allOf" ? apart > 0 : apart == list->get_array().size()) return true;
  }
  return false;
}

bool Disjointness::are_disjoint(const json::value& a, const std::string& path_a,
                                const json::value& b, const std::string& path_b) {
  if (++disjoint_steps_ > kDisjointStepsMax || disjoint_depth_ > kGrammarNestingMax) return false;
  if (a.is_bool() || b.is_bool())
    return (a.is_bool() && !a.get_bool()) || (b.is_bool() && !b.get_bool());
  if (!a.is_object() || !b.is_object()) return false;
  const json::object &x = a.get_object(), &y = b.get_object();
  const json::value *type_x = x.if_contains("type"), *type_y = y.if_contains("type");
  if (type_x != nullptr && type_y != nullptr && type_fault(*type_x).empty() &&
      type_fault(*type_y).empty()) {
    const Types one = named_types(*type_x), other = named_types(*type_y);
    bool shared = false;
    for (size_t t = 0; t < kTypes; ++t) shared = shared || (one[t] && other[t]);
    if (!shared) return true;
  }
  ++disjoint_depth_;
  const bool apart =
      lists_no_value_of(x, b, path_b) || lists_no_value_of(y, a, path_a) ||
      differ_in_member(x, path_a, y, path_b) || differ_in_member(y, path_b, x, path_a) ||
      parts_are_disjoint(x, path_a, b, path_b) || parts_are_disjoint(y, path_b, a, path_a);
  --disjoint_depth_;
  return apart;
}

bool Disjointness::are_apart(const json::value& a, const std::string& path_a, const json::value& b,
                             const std::string& path_b) {
  const auto [at, fresh] = disjoint_.try_emplace(std::pair(&a, &b), false);
  if (fresh) {
    disjoint_steps_ = 0;
    at->second = are_disjoint(a, path_a, b, path_b);
    disjoint_.insert_or_assign(std::pair(&b, &a), at->second);
  }
  return at->second;
}

}  // namespace altlas::text::grammar::schema
