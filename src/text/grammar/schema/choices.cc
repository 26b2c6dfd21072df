#include "text/grammar/schema/choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>

#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

namespace {

// Beyond this many values, equal ones may be listed twice.
constexpr size_t kListedApartMax = 8;
constexpr size_t kOneOfPairsMax = 128;
constexpr size_t kTogetherMax = 4;  // The schemas of an anyOf that are tried in every combination.

// Whether the alternatives are nothing but different scalars.
bool are_different_values(const json::array& list) {
  std::set<std::string> texts;
  return std::ranges::all_of(list, [&](const json::value& one) {
    const json::value* value = one.is_object() ? one.get_object().if_contains("const") : nullptr;
    return value != nullptr && !value->is_array() && !value->is_object() &&
           texts.insert(canonical_json(*value)).second;
  });
}

}  // namespace

Result<std::vector<Goal>> Choices::alternatives_of(const Goal& goal, uint32_t schema, bool one) {
  const std::string_view keyword = one ? "oneOf" : "anyOf";
  const json::array& list = schemas_.find(schema, keyword)->get_array();
  const uint32_t mark = 2 * schema + (one ? 1 : 0);
  const bool apart = !one || are_different_values(list);
  // What unevaluated… allows follows from every schema that fits, so several schemas together make
  // a case.
  const bool together = !one && context_.expands && !schemas_[schema].made &&
                        list.size() <= kTogetherMax &&
                        std::ranges::any_of(goal.schemas, [&](uint32_t s) {
                          return schemas_.find(s, "unevaluatedProperties") != nullptr ||
                                 schemas_.find(s, "unevaluatedItems") != nullptr;
                        });
  context_.expanded |= together;
  std::vector<std::vector<size_t>> cases;
  for (size_t i = 0; i < list.size(); ++i) {
    const size_t before = cases.size();
    cases.push_back({i});
    for (size_t c = 0; together && c < before; ++c) {
      cases.push_back(cases[c]);
      cases.back().push_back(i);
    }
  }
  std::vector<Goal> out;
  for (const std::vector<size_t>& some : cases) {
    Goal alternative;
    for (const size_t i : some)
      ALTLAS_TRY_VOID(goals_.add(alternative, list[i], schemas_.path_of(schema, keyword, i)));
    if (!apart) ALTLAS_TRY_VOID(exclude_others(alternative, list, some[0], schema));
    // An alternative that leads back to this choice would add nothing.
    if (alternative.impossible || std::ranges::binary_search(alternative.schemas, schema)) continue;
    Goal more = goal;
    more.decided.insert(std::ranges::upper_bound(more.decided, mark), mark);
    Set all;
    std::ranges::set_union(more.schemas, alternative.schemas, std::back_inserter(all));
    more.schemas = std::move(all);
    out.push_back(std::move(more));
  }
  return out;
}

Result<void> Choices::exclude_others(Goal& goal, const json::array& list, size_t kept,
                                     uint32_t schema) {
  const std::string place = schemas_.path_of(schema, "oneOf");
  if (list.size() > kOneOfPairsMax) {
    context_.leave_out(
        Unheld::Why::kTooComplex, place,
        fmt::format("is held as anyOf: it has more than {} schemas", kOneOfPairsMax));
    return {};
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = schemas_.path_of(schema, "oneOf", i);
    if (i == kept ||
        disjointness_.are_apart(list[kept], schemas_.path_of(schema, "oneOf", kept), list[i], path))
      continue;
    ALTLAS_TRY_VOID(context_.budget.spend(16));
    ALTLAS_TRY(const bool can, negations_.can_negate(list[i], path, 0));
    if (can && context_.expands) {
      ALTLAS_TRY(const json::value* other, negations_.negation_of(list[i], path));
      ALTLAS_TRY_VOID(goals_.add(goal, *other, path));
      continue;
    }
    context_.leave_out(
        can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, place,
        fmt::format("is held as anyOf: what fits both schema {} and schema {} can't be kept "
                    "out",
                    std::min(i, kept), std::max(i, kept)));
  }
  return {};
}

Result<std::optional<std::vector<Goal>>> Choices::alternatives(const Goal& goal) {
  for (const uint32_t s : goal.schemas) {
    for (const bool one : {false, true}) {
      if (schemas_.find(s, one ? "oneOf" : "anyOf") == nullptr) continue;
      if (std::ranges::binary_search(goal.decided, 2 * s + (one ? 1 : 0))) continue;
      ALTLAS_TRY(auto all, alternatives_of(goal, s, one));
      return std::optional(std::move(all));
    }
  }
  return std::optional<std::vector<Goal>>();
}

Result<std::optional<std::vector<const json::value*>>> Choices::listed_values(const Set& set) {
  if (!schemas_.is_listed(set)) return std::optional<std::vector<const json::value*>>();
  std::vector<const json::value*> values;
  for (const uint32_t s : set) {
    const json::value* one = schemas_.find(s, "const");
    const json::value* list = schemas_.find(s, "enum");
    if (one != nullptr)
      values.push_back(one);
    else if (list != nullptr)
      for (const json::value& value : list->get_array()) values.push_back(&value);
    if (one != nullptr || list != nullptr) break;
  }
  std::vector<const json::value*> kept;
  for (const json::value* value : values) {
    bool fits =
        // A text that is listed twice does no harm.
        kept.size() >= kListedApartMax ||
        std::ranges::none_of(kept, [&](const auto* one) { return same_value(*one, *value); });
    for (const uint32_t s : set) {
      if (!fits) break;
      ALTLAS_TRY(fits, validator_.is_valid(*value, *schemas_[s].value, schemas_[s].path, 0));
    }
    if (fits) kept.push_back(value);
  }
  return std::optional(std::move(kept));
}

}  // namespace altlas::text::grammar::schema
