#include "text/grammar/schema/arrays.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "text/grammar/limits.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kPrefixMax = 4 * kGrammarNestingMax;
constexpr size_t kContainsMax = 3;       // Every subset of them is a case.
constexpr size_t kListNodesMax = 4'096;  // The number of items written times that of items found.

uint32_t less(uint32_t count, uint32_t by) {
  return count == kUnlimited ? count : count - std::min(count, by);
}

// Nodes of a list's graph: how many items were written, and how many were found for each
// `contains`.
class ListNodes {
 public:
  using Key = std::vector<uint32_t>;
  uint32_t at(const Key& key) {
    const auto [place, fresh] = ids_.try_emplace(key, static_cast<uint32_t>(order_.size()));
    if (fresh) order_.push_back(key);
    return place->second;
  }
  const std::vector<Key>& order() const { return order_; }

 private:
  std::map<Key, uint32_t> ids_;
  std::vector<Key> order_;
};

}  // namespace

Result<std::vector<Arrays::Contained>> Arrays::contained(const Set& set) {
  std::vector<Contained> all;
  for (const uint32_t s : set) {
    const json::value* schema = schemas_.find(s, "contains");
    if (schema == nullptr) continue;
    Contained one{schema, schemas_.path_of(s, "contains"),
                  schemas_.count_at(s, "minContains").value_or(1),
                  schemas_.count_at(s, "maxContains").value_or(kUnlimited)};
    if (one.max != kUnlimited) {
      ALTLAS_TRY(const bool can, negations_.can_negate(*schema, one.path, 0));
      if (!can) {
        context_.leave_out(
            Unheld::Why::kUnsupported, schemas_.path_of(s, "maxContains"),
            "'maxContains' can't be held: what does not fit 'contains' can't be told");
        one.max = kUnlimited;
      }
    }
    if (one.min == 0 && one.max == kUnlimited) continue;
    if (all.size() == kContainsMax || !context_.expands) {
      context_.leave_out(Unheld::Why::kTooComplex, one.path, "'contains' has too many cases here");
      continue;
    }
    context_.expanded = true;
    all.push_back(std::move(one));
  }
  return all;
}

Result<ExpressionPtr> Arrays::list_graph(const Set& set, size_t prefix, Counts counts,
                                         const std::vector<Contained>& contained) {
  const bool open = counts.max == kUnlimited;
  const auto last = static_cast<uint32_t>(std::max<size_t>({prefix, counts.min, 1}));
  const uint32_t most = open ? last : counts.max;  // Items beyond it are not told apart.
  ListNodes nodes;
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  nodes.at(ListNodes::Key(contained.size() + 1, 0));
  for (uint32_t n = 0; n < nodes.order().size(); ++n) {
    ALTLAS_TRY_VOID(context_.budget.spend(8));
    if (nodes.order().size() > kListNodesMax) return ExpressionPtr();
    const ListNodes::Key key = nodes.order()[n];
    bool complete = key[0] >= counts.min && key[0] > 0;
    for (size_t c = 0; c < contained.size(); ++c) complete &= key[c + 1] >= contained[c].min;
    if (complete) ends.push_back(n);
    if (!open && key[0] == most) continue;
    for (uint32_t fits = 0; fits < 1u << contained.size(); ++fits) {
      ALTLAS_TRY(Goal goal, items_.goal_at(set, key[0]));
      ListNodes::Key next = key;
      next[0] = std::min(key[0] + 1, most);
      bool possible = true;
      for (size_t c = 0; c < contained.size(); ++c) {
        const Contained& one = contained[c];
        const bool counted = one.max != kUnlimited;
        if ((fits >> c & 1) == 0) {
          if (!counted) continue;
          ALTLAS_TRY(const json::value* other, negations_.negation_of(*one.schema, one.path));
          ALTLAS_TRY_VOID(goals_.add(goal, *other, one.path));
          continue;
        }
        possible &= key[c + 1] < (counted ? one.max : one.min);
        ++next[c + 1];
        ALTLAS_TRY_VOID(goals_.add(goal, *one.schema, one.path));
      }
      if (!possible || goal.impossible) continue;
      ALTLAS_TRY(ExpressionPtr item, goals_.value_of(std::move(goal)));
      if (key[0] > 0) item = sequence({rules_.comma(), std::move(item)});
      edges.push_back({n, nodes.at(next), std::move(item)});
    }
  }
  if (ends.empty()) return nothing();
  const auto count = static_cast<uint32_t>(nodes.order().size());
  return graph(count, std::move(edges), std::move(ends));
}

Result<ExpressionPtr> Arrays::value(const Set& set) {
  const size_t prefix = items_.prefix_of(set);
  if (prefix > kPrefixMax)
    return context_.wrong(schemas_.path_of(set.back(), "prefixItems"),
                          fmt::format("has more than {} items", kPrefixMax));
  const Counts counts = schemas_.counts_of(set, "minItems", "maxItems");
  if (counts.min > counts.max) return nothing();
  ALTLAS_TRY(ExpressionPtr different, unique_items_.value(set, prefix, counts));
  if (different != nullptr) return different;
  ALTLAS_TRY(const std::vector<Contained> some, contained(set));
  if (some.empty()) return plain_array(set, prefix, counts);
  ALTLAS_TRY(ExpressionPtr items, list_graph(set, prefix, counts, some));
  if (items == nullptr) {
    context_.leave_out(Unheld::Why::kTooComplex, some[0].path,
                       "'contains' has too many cases here");
    return plain_array(set, prefix, counts);
  }
  std::vector<ExpressionPtr> forms{sequence({rules_.space(), std::move(items), rules_.space()})};
  const auto needs_none = [](const Contained& one) { return one.min == 0; };
  if (counts.min == 0 && std::ranges::all_of(some, needs_none)) forms.push_back(sequence({}));
  return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
}

Result<ExpressionPtr> Arrays::plain_array(const Set& set, size_t prefix, Counts counts) {
  const auto [min, max] = counts;
  ALTLAS_TRY(Goal rest_goal, items_.goal_at(set, prefix));
  ALTLAS_TRY(const ExpressionPtr rest, goals_.value_of(std::move(rest_goal)));
  // The tail is what may follow `done` items. The items of the prefix are put before it, the last
  // one first.
  const auto done = static_cast<uint32_t>(std::max<size_t>(prefix, 1));
  ExpressionPtr tail = repeat(sequence({rules_.comma(), rest}), less(min, done), less(max, done));
  ExpressionPtr head = rest;
  for (size_t i = prefix; i-- > 0;) {
    ALTLAS_TRY(Goal goal, items_.goal_at(set, i));
    ALTLAS_TRY(ExpressionPtr one, goals_.value_of(std::move(goal)));
    if (i == 0) {
      head = std::move(one);
    } else if (i >= max) {
      tail = sequence({});
    } else {
      tail = sequence({rules_.comma(), std::move(one), std::move(tail)});
      if (i >= min) tail = optional(std::move(tail));
    }
  }
  std::vector<ExpressionPtr> forms;
  if (min == 0) forms.push_back(sequence({}));
  if (max > 0)
    forms.push_back(sequence({rules_.space(), std::move(head), std::move(tail), rules_.space()}));
  return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
}

}  // namespace altlas::text::grammar::schema
