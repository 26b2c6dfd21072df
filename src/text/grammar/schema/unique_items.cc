#include "text/grammar/schema/unique_items.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace altlas::text::grammar::schema {

namespace {

constexpr uint32_t kListItemsMax = 1'024;  // The most items of a list whose items differ.

}  // namespace

Result<ExpressionPtr> UniqueItems::value(const Set& set, size_t prefix, Counts counts) {
  const auto is_unique = [&](uint32_t s) {
    const json::value* unique = schemas_.find(s, "uniqueItems");
    return unique != nullptr && unique->get_bool();
  };
  const auto asking = std::ranges::find_if(set, is_unique);
  if (asking == set.end() || counts.max <= 1) return ExpressionPtr();
  const auto contains = [&](uint32_t s) { return schemas_.find(s, "contains") != nullptr; };
  ExpressionPtr made;
  if (context_.expands && std::ranges::none_of(set, contains)) {
    ALTLAS_TRY(made, different_items(set, prefix, counts));
  }
  if (made == nullptr)
    context_.leave_out(
        context_.expands ? Unheld::Why::kUnsupported : Unheld::Why::kTooComplex,
        schemas_.path_of(*asking, "uniqueItems"),
        "'uniqueItems' can't be held for these items; it is held for numbers, strings, "
        "listed values, and short lists and closed objects of them, without 'contains'");
  return made;
}

Result<ExpressionPtr> UniqueItems::different_items(const Set& set, size_t prefix, Counts counts) {
  uint32_t most = std::min(counts.max, kListItemsMax);
  const auto last = static_cast<uint32_t>(std::max<size_t>({prefix, counts.min, 1}));
  if (last > kListItemsMax) return ExpressionPtr();
  const bool open = counts.max > kListItemsMax;
  // Items beyond the prefix are alike, but each has a node while they are counted.
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  uint32_t rule_index = 0, count = 0;
  uint32_t nodes = 1;
  for (uint32_t i = 0; i < most; ++i) {
    if (i <= prefix) {
      ALTLAS_TRY(const Goal goal, items_.goal_at(set, i));
      ALTLAS_TRY(const auto found, texts_.distinct_rule(goal, count));
      if (!found) return ExpressionPtr();
      rule_index = *found;
    }
    // Without enough texts no further item differs for sure.
    if (count <= i) {
      most = i;
      break;
    }
    const ExpressionPtr item = rule(rule_index);
    const bool loops = open && count == UINT32_MAX && i >= last;
    edges.push_back({i, loops ? i : i + 1, i == 0 ? item : sequence({rules_.comma(), item})});
    if (loops) break;
    nodes = i + 2;
  }
  if (counts.min > most) return nothing();
  for (uint32_t i = std::max(counts.min, 1u); i < nodes; ++i) ends.push_back(i);
  std::vector<ExpressionPtr> forms;
  if (counts.min == 0) forms.push_back(sequence({}));
  if (!ends.empty())
    forms.push_back(sequence(
        {rules_.space(), graph(nodes, std::move(edges), std::move(ends)), rules_.space()}));
  return rule(
      rules_.add("different items", sequence({bytes("["), choice(std::move(forms)), bytes("]")})));
}

}  // namespace altlas::text::grammar::schema
