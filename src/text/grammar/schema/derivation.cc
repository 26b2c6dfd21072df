#include "text/grammar/schema/derivation.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::text::grammar::schema {

Result<void> Derivation::derive(uint32_t schema) {
  if (schemas_[schema].made) return {};
  ALTLAS_TRY_VOID(derive_not(schema));
  ALTLAS_TRY_VOID(derive_if(schema));
  for (const std::string_view keyword : {"dependentRequired", "dependentSchemas", "dependencies"})
    ALTLAS_TRY_VOID(derive_dependents(schema, keyword));
  return {};
}

Result<void> Derivation::derive_not(uint32_t schema) {
  const json::value* negated = schemas_.find(schema, "not");
  if (negated == nullptr || negated->is_bool()) return {};
  const std::string path = schemas_.path_of(schema, "not");
  if (!negated->is_object()) {
    context_.leave_out(Unheld::Why::kMalformed, path,
                       "a schema should be an object, true or false");
    schemas_[schema].dropped.push_back("not");
    return {};
  }
  const json::object& object = negated->get_object();
  if (object.empty() || (object.size() == 1 && object.contains("type"))) {
    const json::value* type = object.if_contains("type");
    if (type == nullptr || type_fault(*type).empty())
      return {};  // goals_.add() and schemas_.types_of() handle it.
    context_.leave_out(Unheld::Why::kMalformed, path + "/type", std::string(type_fault(*type)));
    return {};
  }
  ALTLAS_TRY(const bool can, negations_.can_negate(*negated, path, 0));
  if (can && context_.expands) {
    ALTLAS_TRY(const json::value* made, negations_.negation_of(*negated, path));
    schemas_[schema].derived.emplace_back(made, path);
    return {};
  }
  schemas_[schema].pending.push_back(
      {can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, path,
       "'not' can't be held for what this schema says; it is held for types, values, lengths, "
       "bounds, patterns, properties and required"});
  return {};
}

// Derives if/then/else: either `if` and `then` hold, or `if` does not and `else` does.
Result<void> Derivation::derive_if(uint32_t schema) {
  const json::value* condition = schemas_.find(schema, "if");
  const json::value* then = schemas_.find(schema, "then");
  const json::value* otherwise = schemas_.find(schema, "else");
  if (condition == nullptr || (then == nullptr && otherwise == nullptr)) return {};
  const std::string path = schemas_.path_of(schema, "if");
  ALTLAS_TRY(const bool can, negations_.can_negate(*condition, path, 0));
  if (!can || !context_.expands) {
    schemas_[schema].pending.push_back(
        {can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, path,
         "'if' can't be held for what this schema says; it is held for types, values, lengths, "
         "bounds, patterns, properties and required"});
    return {};
  }
  json::array yes{made_.literal(*condition, path, false)},
      no{made_.literal(*condition, path, true)};
  if (then != nullptr) yes.push_back(made_.literal(*then, schemas_.path_of(schema, "then"), false));
  if (otherwise != nullptr)
    no.push_back(made_.literal(*otherwise, schemas_.path_of(schema, "else"), false));
  json::array cases{json::object{{kMade, true}, {"allOf", std::move(yes)}},
                    json::object{{kMade, true}, {"allOf", std::move(no)}}};
  schemas_[schema].derived.emplace_back(&made_.make({{"anyOf", std::move(cases)}}), path);
  return {};
}

// Derives, for each name: it is absent, or what depends on it holds.
Result<void> Derivation::derive_dependents(uint32_t schema, std::string_view keyword) {
  const json::object* all = schemas_.object_at(schema, keyword);
  if (all == nullptr) return {};
  const std::string path = schemas_.path_of(schema, keyword);
  for (const auto& [name, asked] : *all) {
    const std::string place = path + pointer_step(name);
    const bool names = asked.is_array() &&
                       std::ranges::all_of(asked.get_array(),
                                           [](const json::value& one) { return one.is_string(); });
    if (keyword == "dependentRequired" ? !names : asked.is_array() && !names) {
      context_.leave_out(Unheld::Why::kMalformed, place, "should be a list of names");
      continue;
    }
    if (!context_.expands) {
      schemas_[schema].pending.push_back(
          {Unheld::Why::kTooComplex, place, fmt::format("'{}' has too many cases here", keyword)});
      continue;
    }
    json::object with{{kMade, true}, {"required", json::array{std::string_view(name)}}};
    if (asked.is_array())
      for (const json::value& other : asked.get_array())
        with["required"].as_array().push_back(other);
    else
      with["allOf"] = json::array{made_.literal(asked, place, false)};
    json::object without{{kMade, true}, {"properties", json::object{{name, false}}}};
    json::array cases{std::move(without), std::move(with)};
    schemas_[schema].derived.emplace_back(&made_.make({{"anyOf", std::move(cases)}}), place);
  }
  return {};
}

}  // namespace altlas::text::grammar::schema
