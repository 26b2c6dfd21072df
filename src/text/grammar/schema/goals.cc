#include "text/grammar/schema/goals.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/limits.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kSchemasMax = 20'000;

}  // namespace

Result<uint32_t> Goals::schema_at(const json::value& value, const std::string& path) {
  const auto [at, fresh] = ids_.try_emplace(&value, static_cast<uint32_t>(schemas_.size()));
  if (!fresh) return at->second;
  if (schemas_.size() >= kSchemasMax)
    return context_.wrong(path, fmt::format("more than {} schemas", kSchemasMax));
  ALTLAS_TRY_VOID(context_.budget.spend(static_cast<int64_t>(path.size() / 2) + 32));
  const uint32_t id = schemas_.add(value, path);
  ALTLAS_TRY_VOID(derivation_.derive(id));
  return id;
}

Result<void> Goals::add_reference(Goal& goal, uint32_t schema, std::string_view keyword) {
  const json::value* reference = schemas_.find(schema, keyword);
  if (reference == nullptr) return {};
  std::string pointer;
  const json::value* target =
      context_.resolve(keyword, *reference, schemas_.path_of(schema, keyword), pointer);
  if (target == nullptr) return {};
  return add_inner(goal, *target, pointer);
}

Result<void> Goals::add(Goal& goal, const json::value& value, const std::string& path) {
  ALTLAS_TRY_VOID(context_.budget.spend(1));
  if (value.is_bool()) {
    goal.impossible |= !value.get_bool();
    return {};
  }
  if (!value.is_object()) {
    context_.leave_out(Unheld::Why::kMalformed, path,
                       "a schema should be an object, true or false");
    return {};
  }
  if (const json::value* at = value.get_object().if_contains(kAt)) {
    const Literal literal = made_.literal_at(at->to_number<size_t>());
    if (!literal.negated) return add_inner(goal, *literal.value, literal.path);
    ALTLAS_TRY(const json::value* made, negations_.negation_of(*literal.value, literal.path));
    return add_inner(goal, *made, literal.path);
  }
  ALTLAS_TRY(const uint32_t id, schema_at(value, path));
  const auto at = std::ranges::lower_bound(goal.schemas, id);
  if (at != goal.schemas.end() && *at == id) return {};
  goal.schemas.insert(at, id);
  if (const json::value* negated = schemas_.find(id, "not"))
    goal.impossible |= negated->is_bool() ? negated->get_bool()
                                          : negated->is_object() && negated->get_object().empty();
  for (const std::string_view keyword : {"$ref", "$dynamicRef", "$recursiveRef"})
    ALTLAS_TRY_VOID(add_reference(goal, id, keyword));
  if (const json::value* all = schemas_.find(id, "allOf")) {
    for (size_t i = 0; i < all->get_array().size(); ++i)
      ALTLAS_TRY_VOID(add_inner(goal, all->get_array()[i], schemas_.path_of(id, "allOf", i)));
  }
  const auto derived = schemas_[id].derived;
  for (const auto& [made, place] : derived) ALTLAS_TRY_VOID(add_inner(goal, *made, place));
  return {};
}

Result<void> Goals::add_inner(Goal& goal, const json::value& value, const std::string& path) {
  if (depth_ >= 2 * kGrammarNestingMax)
    return context_.wrong(
        path, fmt::format("references and allOf lie deeper than {}", 2 * kGrammarNestingMax));
  ++depth_;
  Result<void> done = add(goal, value, path);
  --depth_;
  return done;
}

Result<uint32_t> Goals::rule_of(Goal goal) {
  if (goal.impossible) goal = Goal{{}, {}, true};
  const auto [at, fresh] = goals_.try_emplace(goal, 0);
  if (fresh) {
    if (rules_.is_full())
      return context_.wrong("", fmt::format("needs more than {} rules", kGrammarRulesMax));
    at->second = rules_.add(
        goal.schemas.empty() ? "value" : schemas_[goal.schemas.back()].path.substr(0, 64));
    open_.emplace_back(std::move(goal), at->second);
  }
  return at->second;
}

std::optional<std::pair<Goal, uint32_t>> Goals::take_open() {
  if (open_.empty()) return std::nullopt;
  auto last = std::move(open_.back());
  open_.pop_back();
  return last;
}

Result<ExpressionPtr> Goals::value_of(Goal goal) {
  if (goal.impossible) return nothing();
  ALTLAS_TRY(const uint32_t index, rule_of(std::move(goal)));
  return rule(index);
}

}  // namespace altlas::text::grammar::schema
