#include "text/grammar/schema/evaluation.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::text::grammar::schema {

Result<bool> Evaluation::is_held(const json::value& value, const std::string& path,
                                 const Set& set) {
  Goal goal;
  ALTLAS_TRY_VOID(goals_.add(goal, value, path));
  return !goal.impossible && std::ranges::includes(set, goal.schemas);
}

Result<bool> Evaluation::collect_chosen(uint32_t schema, std::string_view keyword, const Set& set,
                                        Set& out) {
  for (const std::string_view choice : {"anyOf", "oneOf"}) {
    const json::value* list = schemas_.find(schema, choice);
    if (list == nullptr) continue;
    for (size_t i = 0; i < list->get_array().size(); ++i) {
      const json::value& one = list->get_array()[i];
      const std::string path = schemas_.path_of(schema, choice, i);
      ALTLAS_TRY(const bool holds, is_held(one, path, set));
      if (!holds) continue;
      ALTLAS_TRY(const bool known, collect_evaluating(one, path, keyword, set, out));
      if (!known) return false;
    }
  }
  const json::value* condition = schemas_.find(schema, "if");
  if (condition == nullptr) return true;
  ALTLAS_TRY(const bool holds, is_held(*condition, schemas_.path_of(schema, "if"), set));
  const json::value* then = schemas_.find(schema, holds ? "then" : "else");
  if (then == nullptr && schemas_.find(schema, holds ? "else" : "then") == nullptr) return false;
  const auto go = [&](const json::value* one, std::string_view part) -> Result<bool> {
    if (one == nullptr) return true;
    return collect_evaluating(*one, schemas_.path_of(schema, part), keyword, set, out);
  };
  ALTLAS_TRY(const bool known, go(holds ? condition : nullptr, "if"));
  return known ? go(then, holds ? "then" : "else") : Result<bool>(false);
}

Result<bool> Evaluation::collect_evaluating(const json::value& value, const std::string& path,
                                            std::string_view keyword, const Set& set, Set& out) {
  ALTLAS_TRY_VOID(context_.budget.spend(4));
  if (!value.is_object()) return true;
  ALTLAS_TRY(const uint32_t schema, goals_.schema_at(value, path));
  const auto at = std::ranges::lower_bound(out, schema);
  if (at != out.end() && *at == schema) return true;
  out.insert(at, schema);
  const bool depends =
      schemas_.find(schema, "dependentSchemas") != nullptr ||
      schemas_.find(schema, "dependencies") != nullptr ||
      (keyword == "unevaluatedItems" && schemas_.find(schema, "contains") != nullptr);
  if (depends || !schemas_[schema].pending.empty()) return false;
  for (const std::string_view reference : {"$ref", "$dynamicRef", "$recursiveRef"}) {
    const json::value* name = schemas_.find(schema, reference);
    std::string pointer;
    const json::value* target =
        name == nullptr
            ? nullptr
            : context_.resolve(reference, *name, schemas_.path_of(schema, reference), pointer);
    if (target == nullptr) continue;
    ALTLAS_TRY(const bool known, collect_evaluating(*target, pointer, keyword, set, out));
    if (!known) return false;
  }
  if (const json::value* all = schemas_.find(schema, "allOf")) {
    for (size_t i = 0; i < all->get_array().size(); ++i) {
      ALTLAS_TRY(const bool known,
                 collect_evaluating(all->get_array()[i], schemas_.path_of(schema, "allOf", i),
                                    keyword, set, out));
      if (!known) return false;
    }
  }
  return collect_chosen(schema, keyword, set, out);
}

Result<const Set*> Evaluation::evaluated_by(uint32_t schema, std::string_view keyword,
                                            const Set& set) {
  const auto [at, fresh] = closures_.try_emplace({schema, std::string(keyword), set});
  if (fresh) {
    const Schema asking = schemas_[schema];
    Set all;
    ALTLAS_TRY(const bool known, collect_evaluating(*asking.value, asking.path, keyword, set, all));
    if (known)
      at->second = std::move(all);
    else
      context_.leave_out(
          Unheld::Why::kUnsupported, schemas_.path_of(schema, keyword),
          fmt::format("'{}' can't be held beside dependentSchemas, contains, or an 'if' "
                      "without then and else",
                      keyword));
  }
  return at->second.empty() ? nullptr : &at->second;
}

}  // namespace altlas::text::grammar::schema
