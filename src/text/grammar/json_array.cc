// Arrays of JSON Schema: items by their places, how many, that some fit (contains) or all differ.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kPrefixMax = 4 * kGrammarNestingMax;
constexpr size_t kContainsMax = 3;       // Every subset of them is a case.
constexpr size_t kListNodesMax = 4'096;  // Items written times items found.

uint32_t less(uint32_t count, uint32_t by) {
  return count == kUnlimited ? count : count - std::min(count, by);
}

}  // namespace

// Whether one of the schemas says something of the item.
bool SchemaCompiler::evaluates_item(const Set& set, uint32_t asking, size_t index) const {
  return std::ranges::any_of(set, [&](uint32_t s) {
    const auto reaches = [&](std::string_view keyword) {
      const json::value* items = find(s, keyword);
      return items != nullptr && (!items->is_array() || index < items->get_array().size());
    };
    const json::value* items = find(s, "items");
    const bool more =
        items != nullptr && items->is_array() && find(s, "additionalItems") != nullptr;
    return reaches("prefixItems") || reaches("items") || more ||
           (s != asking && find(s, "unevaluatedItems") != nullptr);
  });
}

Result<SchemaCompiler::Goal> SchemaCompiler::item_goal(const Set& set, size_t index) {
  Goal goal;
  for (const uint32_t s : set) {
    const json::value* items = find(s, "items");
    const json::value* prefix = find(s, "prefixItems");
    std::string_view list_name = "prefixItems", rest_name = "items";
    const json::value* rest = items;
    if (prefix == nullptr && items != nullptr && items->is_array()) {  // As before 2020-12.
      prefix = items;
      list_name = "items";
      rest_name = "additionalItems";
      rest = find(s, rest_name);
    }
    if (prefix != nullptr && index < prefix->get_array().size()) {
      ALTLAS_TRY_VOID(add(goal, prefix->get_array()[index],
                          fmt::format("{}/{}", path_of(s, list_name), index)));
    } else if (rest != nullptr) {
      ALTLAS_TRY_VOID(add(goal, *rest, path_of(s, rest_name)));
    }
    const json::value* left = find(s, "unevaluatedItems");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluated_by(s, "unevaluatedItems", set));
    if (by == nullptr || evaluates_item(*by, s, index)) continue;
    ALTLAS_TRY_VOID(add(goal, *left, path_of(s, "unevaluatedItems")));
  }
  return goal;
}

// One contains, with what it asks for.
struct SchemaCompiler::Contained {
  const json::value* schema = nullptr;
  std::string path;
  uint32_t min = 1;
  uint32_t max = kUnlimited;
};

Result<std::vector<SchemaCompiler::Contained>> SchemaCompiler::contained(const Set& set) {
  std::vector<Contained> all;
  for (const uint32_t s : set) {
    const json::value* schema = find(s, "contains");
    if (schema == nullptr) continue;
    Contained one{schema, path_of(s, "contains"), count_at(s, "minContains").value_or(1),
                  count_at(s, "maxContains").value_or(kUnlimited)};
    if (one.max != kUnlimited) {
      ALTLAS_TRY(const bool can, can_negate(*schema, one.path, 0));
      if (!can) {
        leave_out(Unheld::Why::kUnsupported, path_of(s, "maxContains"),
                  "'maxContains' can't be held: what does not fit 'contains' can't be told");
        one.max = kUnlimited;
      }
    }
    if (one.min == 0 && one.max == kUnlimited) continue;
    if (all.size() == kContainsMax || !expands_) {
      leave_out(Unheld::Why::kTooComplex, one.path, "'contains' has too many cases here");
      continue;
    }
    expanded_ = true;
    all.push_back(std::move(one));
  }
  return all;
}

namespace {

// Nodes of a list's graph: how many items were written, and how many of each contains were found.
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

// A list of one item or more. From each node an edge for every set of contains that the item fits.
Result<ExpressionPtr> SchemaCompiler::list_graph(const Set& set, size_t prefix, Counts counts,
                                                 const std::vector<Contained>& contained) {
  const bool open = counts.max == kUnlimited;
  const auto last = static_cast<uint32_t>(std::max<size_t>({prefix, counts.min, 1}));
  const uint32_t most = open ? last : counts.max;  // Items beyond it are not told apart.
  ListNodes nodes;
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  nodes.at(ListNodes::Key(contained.size() + 1, 0));
  for (uint32_t n = 0; n < nodes.order().size(); ++n) {
    ALTLAS_TRY_VOID(budget_.spend(8));
    if (nodes.order().size() > kListNodesMax) return ExpressionPtr();
    const ListNodes::Key key = nodes.order()[n];
    bool complete = key[0] >= counts.min && key[0] > 0;
    for (size_t c = 0; c < contained.size(); ++c) complete &= key[c + 1] >= contained[c].min;
    if (complete) ends.push_back(n);
    if (!open && key[0] == most) continue;
    for (uint32_t fits = 0; fits < 1u << contained.size(); ++fits) {
      ALTLAS_TRY(Goal goal, item_goal(set, key[0]));
      ListNodes::Key next = key;
      next[0] = std::min(key[0] + 1, most);
      bool possible = true;
      for (size_t c = 0; c < contained.size(); ++c) {
        const Contained& one = contained[c];
        const bool counted = one.max != kUnlimited;
        if ((fits >> c & 1) == 0) {
          if (!counted) continue;
          ALTLAS_TRY(const json::value* other, negation(*one.schema, one.path));
          ALTLAS_TRY_VOID(add(goal, *other, one.path));
          continue;
        }
        possible &= key[c + 1] < (counted ? one.max : one.min);
        ++next[c + 1];
        ALTLAS_TRY_VOID(add(goal, *one.schema, one.path));
      }
      if (!possible || goal.impossible) continue;
      ALTLAS_TRY(ExpressionPtr item, value_of(std::move(goal)));
      if (key[0] > 0) item = sequence({comma(), std::move(item)});
      edges.push_back({n, nodes.at(next), std::move(item)});
    }
  }
  if (ends.empty()) return nothing();
  const auto count = static_cast<uint32_t>(nodes.order().size());
  return graph(count, std::move(edges), std::move(ends));
}

size_t SchemaCompiler::prefix_of(const Set& set) const {
  size_t prefix = 0;
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"prefixItems", "items"})
      if (const json::value* list = find(s, keyword); list != nullptr && list->is_array())
        prefix = std::max(prefix, list->get_array().size());
  return prefix;
}

// uniqueItems; null: not asked for, or it can't be held.
Result<ExpressionPtr> SchemaCompiler::unique_array(const Set& set, size_t prefix, Counts counts) {
  const auto is_unique = [&](uint32_t s) {
    const json::value* unique = find(s, "uniqueItems");
    return unique != nullptr && unique->get_bool();
  };
  const auto asking = std::ranges::find_if(set, is_unique);
  if (asking == set.end() || counts.max <= 1) return ExpressionPtr();
  const auto contains = [&](uint32_t s) { return find(s, "contains") != nullptr; };
  ExpressionPtr made;
  if (expands_ && std::ranges::none_of(set, contains)) {
    ALTLAS_TRY(made, different_items(set, prefix, counts));
  }
  if (made == nullptr)
    leave_out(expands_ ? Unheld::Why::kUnsupported : Unheld::Why::kTooComplex,
              path_of(*asking, "uniqueItems"),
              "'uniqueItems' can't be held for these items; it is held for numbers, strings, "
              "listed values, and short lists and closed objects of them, without 'contains'");
  return made;
}

Result<ExpressionPtr> SchemaCompiler::array(const Set& set) {
  const size_t prefix = prefix_of(set);
  if (prefix > kPrefixMax)
    return wrong(path_of(set.back(), "prefixItems"),
                 fmt::format("has more than {} items", kPrefixMax));
  const Counts counts = counts_of(set, "minItems", "maxItems");
  if (counts.min > counts.max) return nothing();
  ALTLAS_TRY(ExpressionPtr different, unique_array(set, prefix, counts));
  if (different != nullptr) return different;
  ALTLAS_TRY(const std::vector<Contained> some, contained(set));
  if (some.empty()) return plain_array(set, prefix, counts);
  ALTLAS_TRY(ExpressionPtr items, list_graph(set, prefix, counts, some));
  if (items == nullptr) {
    leave_out(Unheld::Why::kTooComplex, some[0].path, "'contains' has too many cases here");
    return plain_array(set, prefix, counts);
  }
  std::vector<ExpressionPtr> forms{sequence({space(), std::move(items), space()})};
  const auto needs_none = [](const Contained& one) { return one.min == 0; };
  if (counts.min == 0 && std::ranges::all_of(some, needs_none)) forms.push_back(sequence({}));
  return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
}

Result<ExpressionPtr> SchemaCompiler::plain_array(const Set& set, size_t prefix, Counts counts) {
  const auto [min, max] = counts;
  ALTLAS_TRY(Goal rest_goal, item_goal(set, prefix));
  ALTLAS_TRY(const ExpressionPtr rest, value_of(std::move(rest_goal)));
  // What may follow `done` items; the last of the prefix first.
  const auto done = static_cast<uint32_t>(std::max<size_t>(prefix, 1));
  ExpressionPtr tail = repeat(sequence({comma(), rest}), less(min, done), less(max, done));
  ExpressionPtr head = rest;
  for (size_t i = prefix; i-- > 0;) {
    ALTLAS_TRY(Goal goal, item_goal(set, i));
    ALTLAS_TRY(ExpressionPtr one, value_of(std::move(goal)));
    if (i == 0) {
      head = std::move(one);
    } else if (i >= max) {
      tail = sequence({});
    } else {
      tail = sequence({comma(), std::move(one), std::move(tail)});
      if (i >= min) tail = optional(std::move(tail));
    }
  }
  std::vector<ExpressionPtr> forms;
  if (min == 0) forms.push_back(sequence({}));
  if (max > 0) forms.push_back(sequence({space(), std::move(head), std::move(tail), space()}));
  return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
}

}  // namespace altlas::text::grammar
