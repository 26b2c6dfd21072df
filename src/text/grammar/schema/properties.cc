#include "text/grammar/schema/properties.h"

#include <algorithm>

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kListedNamesMax = 256;  // The names of propertyNames that are declared one by one.

}  // namespace

Result<ExpressionPtr> Properties::member(ExpressionPtr key, Goal value) {
  ALTLAS_TRY(ExpressionPtr held, goals_.value_of(std::move(value)));
  return sequence({std::move(key), bytes(":"), optional(bytes(" ")), std::move(held)});
}

bool Properties::evaluates_member(const Set& set, uint32_t asking, std::string_view name,
                                  const std::function<bool(uint32_t)>& matches) const {
  return std::ranges::any_of(set, [&](uint32_t s) {
    const json::object* properties = schemas_.object_at(s, "properties");
    return schemas_.find(s, "additionalProperties") != nullptr ||
           (s != asking && schemas_.find(s, "unevaluatedProperties") != nullptr) ||
           (properties != nullptr && !name.empty() && properties->contains(name)) || matches(s);
  });
}

Result<void> Properties::add_property(const Set& set, std::string_view name, Goal& value) {
  const auto matches = [&](uint32_t s) {
    const json::object* patterns = schemas_.object_at(s, "patternProperties");
    return patterns != nullptr && std::ranges::any_of(*patterns, [&](const auto& entry) {
             const Automaton* automaton =
                 context_.pattern(entry.key(), schemas_.path_of(s, "patternProperties"));
             return automaton != nullptr && automaton->matches(name);
           });
  };
  for (const uint32_t s : set) {
    bool known = false;
    if (const json::object* properties = schemas_.object_at(s, "properties")) {
      if (const json::value* one = properties->if_contains(name)) {
        known = true;
        ALTLAS_TRY_VOID(
            goals_.add(value, *one, schemas_.path_of(s, "properties") + pointer_step(name)));
      }
    }
    if (const json::object* patterns = schemas_.object_at(s, "patternProperties")) {
      const std::string place = schemas_.path_of(s, "patternProperties");
      for (const auto& [text, one] : *patterns) {
        const Automaton* automaton = context_.pattern(text, place);
        if (automaton == nullptr || !automaton->matches(name)) continue;
        known = true;
        ALTLAS_TRY_VOID(goals_.add(value, one, place + pointer_step(text)));
      }
    }
    const json::value* others = schemas_.find(s, "additionalProperties");
    if (!known && others != nullptr)
      ALTLAS_TRY_VOID(goals_.add(value, *others, schemas_.path_of(s, "additionalProperties")));
    const json::value* left = schemas_.find(s, "unevaluatedProperties");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluation_.evaluated_by(s, "unevaluatedProperties", set));
    if (by == nullptr || evaluates_member(*by, s, name, matches)) continue;
    ALTLAS_TRY_VOID(goals_.add(value, *left, schemas_.path_of(s, "unevaluatedProperties")));
  }
  return {};
}

Result<bool> Properties::name_fits(std::string_view name, const Set& set) {
  for (const uint32_t s : set) {
    const json::value* names = schemas_.find(s, "propertyNames");
    if (names == nullptr) continue;
    ALTLAS_TRY(const bool fits, validator_.is_valid(json::value(name), *names,
                                                    schemas_.path_of(s, "propertyNames"), 0));
    if (!fits) return false;
  }
  return true;
}

Result<Goal> Properties::names_goal(const Set& set) {
  Goal names;
  for (const uint32_t s : set)
    if (const json::value* one = schemas_.find(s, "propertyNames"))
      ALTLAS_TRY_VOID(goals_.add(names, *one, schemas_.path_of(s, "propertyNames")));
  return names;
}

Result<std::vector<std::string>> Properties::declared_names(
    const Set& set, std::set<std::string, std::less<>>& required) {
  std::vector<std::string> order;
  std::set<std::string, std::less<>> known;
  const auto declare = [&](std::string_view name) {
    if (known.emplace(name).second) order.emplace_back(name);
  };
  for (const bool made : {false, true})
    for (const uint32_t s : set)
      if (const json::object* properties = schemas_.object_at(s, "properties"))
        if (schemas_[s].made == made)
          for (const auto& [name, one] : *properties) declare(name);
  for (const uint32_t s : set) {
    const json::value* names = schemas_.find(s, "required");
    if (names == nullptr || !names->is_array()) continue;
    for (const json::value& name : names->get_array()) {
      required.emplace(name.get_string());
      declare(name.get_string());
    }
  }
  ALTLAS_TRY(const Goal names, names_goal(set));
  ALTLAS_TRY(const auto listed, choices_.listed_values(names.schemas));
  if (!names.impossible && listed && listed->size() <= kListedNamesMax)
    for (const json::value* name : *listed)
      if (name->is_string()) declare(name->get_string());
  return order;
}

}  // namespace altlas::text::grammar::schema
