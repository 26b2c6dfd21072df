#include "text/grammar/schema/texts.h"

#include <algorithm>
#include <bit>
#include <set>
#include <string>
#include <vector>

#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kTextDepthMax = 6;
constexpr uint32_t kTextItemsMax = 32;  // The most items of a list that is an item itself.
// The most values in a list that is an item and whose items differ.
constexpr uint32_t kDifferentMax = 8;

// Returns numbers in one spelling: whole numbers, and fractions with so few digits that a 64-bit
// float tells them apart.
ExpressionPtr one_spelling(bool integers, bool fractions) {
  const auto digit = character({{'0', '9'}});
  const auto first = character({{'1', '9'}});
  const auto minus = optional(bytes("-"));
  std::vector<ExpressionPtr> forms;
  if (integers) {
    forms.push_back(bytes("0"));
    forms.push_back(sequence({minus, first, repeat(digit, 0, kUnlimited)}));
  }
  if (fractions)
    forms.push_back(sequence({minus, choice({bytes("0"), sequence({first, repeat(digit, 0, 7)})}),
                              bytes("."), repeat(digit, 0, 6), first}));
  return choice(std::move(forms));
}

// Returns every text of an automaton that has finitely many.
std::vector<std::string> all_texts(const Automaton& automaton) {
  std::vector<std::string> found;
  std::vector<std::pair<uint32_t, std::string>> open;
  if (!automaton.empty()) open.emplace_back(0, "");
  while (!open.empty()) {
    const auto [state, text] = std::move(open.back());
    open.pop_back();
    if (automaton.states[state].accepts) found.push_back(text);
    for (const Edge& edge : automaton.states[state].edges)
      for (uint32_t symbol = edge.lo; symbol <= edge.hi; ++symbol)
        open.emplace_back(edge.to, text + static_cast<char>(symbol));
  }
  return found;
}

}  // namespace

Result<std::optional<ExpressionPtr>> Texts::texts_of(const Goal& goal, size_t depth) {
  ALTLAS_TRY_VOID(context_.budget.spend(16));
  if (goal.impossible) return std::optional(nothing());
  if (depth > kTextDepthMax) return std::optional<ExpressionPtr>();
  ALTLAS_TRY(const auto listed, choices_.listed_values(goal.schemas));
  std::vector<ExpressionPtr> parts;
  if (listed) {
    for (const json::value* one : *listed) parts.push_back(bytes(canonical_json(*one)));
    return std::optional(choice(std::move(parts)));
  }
  ALTLAS_TRY(const auto goals, choices_.alternatives(goal));
  if (!goals) return decided_texts(goal, depth);
  for (const Goal& one : *goals) {
    ALTLAS_TRY(std::optional<ExpressionPtr> part, texts_of(one, depth + 1));
    if (!part) return part;
    parts.push_back(*std::move(part));
  }
  return std::optional(choice(std::move(parts)));
}

Result<std::optional<ExpressionPtr>> Texts::decided_texts(const Goal& goal, size_t depth) {
  const Set& set = goal.schemas;
  const Types types = schemas_.types_of(set);
  schemas_.name_pending(set);
  std::vector<ExpressionPtr> parts = schemas_.literals_of(set, types);
  if (types[kInteger] || types[kNumber]) {
    ExpressionPtr spelled = one_spelling(types[kInteger], types[kNumber]);
    ALTLAS_TRY(const auto held, numbers_.conditions(set, /*integer=*/!types[kNumber]));
    if (held) {
      ALTLAS_TRY(const Automaton any, automaton_of(*spelled, context_.budget));
      ALTLAS_TRY(Automaton both, intersect(*held, any, context_.budget));
      spelled = embed(std::move(both));
    }
    parts.push_back(std::move(spelled));
  }
  if (types[kString]) {
    ALTLAS_TRY(std::optional<Automaton> values, strings_.language(set));
    if (!values) {
      ALTLAS_TRY(values, automaton_of(*repeat(any_character(), 0, kUnlimited), context_.budget));
    }
    parts.push_back(sequence({bytes("\""), embed(json_spelling(*values)), bytes("\"")}));
  }
  if (types[kArray]) {
    ALTLAS_TRY(std::optional<ExpressionPtr> one, list_texts(set, depth));
    if (!one) return one;
    parts.push_back(*std::move(one));
  }
  if (types[kObject]) {
    ALTLAS_TRY(std::optional<ExpressionPtr> one, object_texts(set, depth));
    if (!one) return one;
    parts.push_back(*std::move(one));
  }
  return std::optional(choice(std::move(parts)));
}

Result<std::optional<ExpressionPtr>> Texts::different_texts(const Set& set, size_t prefix,
                                                            Counts counts, size_t depth) {
  const std::optional<ExpressionPtr> none;
  std::vector<std::string> values;
  // The values that may be at each place; the last entry is for all later places.
  std::vector<std::vector<uint32_t>> at;
  for (size_t i = 0; i <= prefix; ++i) {
    ALTLAS_TRY(const Goal goal, items_.goal_at(set, i));
    ALTLAS_TRY(const std::optional<ExpressionPtr> item, texts_of(goal, depth + 1));
    if (!item) return none;
    ALTLAS_TRY(const Automaton automaton, automaton_of(**item, context_.budget));
    if (!automaton.empty() && text_counts(automaton)[0] > kDifferentMax) return none;
    at.emplace_back();
    for (const std::string& text : all_texts(automaton)) {
      const auto known = std::ranges::find(values, text);
      at.back().push_back(static_cast<uint32_t>(known - values.begin()));
      if (known == values.end()) values.push_back(text);
    }
    if (values.size() > kDifferentMax) return none;
  }
  const auto most = std::min(counts.max, static_cast<uint32_t>(values.size()));
  // In node n the values whose bits are set in n were written.
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  const uint32_t nodes = 1u << values.size();
  for (uint32_t used = 0; used < nodes; ++used) {
    const auto written = static_cast<uint32_t>(std::popcount(used));
    if (written >= counts.min && written <= most) ends.push_back(used);
    if (written >= most) continue;
    for (const uint32_t v : at[std::min<size_t>(written, prefix)])
      if ((used >> v & 1) == 0)
        edges.push_back({used, used | 1u << v, bytes((written == 0 ? "" : ",") + values[v])});
  }
  if (ends.empty()) return std::optional(nothing());
  return std::optional(
      sequence({bytes("["), graph(nodes, std::move(edges), std::move(ends)), bytes("]")}));
}

Result<std::optional<ExpressionPtr>> Texts::list_texts(const Set& set, size_t depth) {
  const std::optional<ExpressionPtr> none;
  bool unique = false;
  for (const uint32_t s : set) {
    if (schemas_.find(s, "contains") != nullptr) return none;
    const json::value* asked = schemas_.find(s, "uniqueItems");
    unique = unique || (asked != nullptr && asked->get_bool());
  }
  const size_t prefix = items_.prefix_of(set);
  const Counts counts = schemas_.counts_of(set, "minItems", "maxItems");
  if (unique && counts.max > 1) return different_texts(set, prefix, counts, depth);
  const auto last = static_cast<uint32_t>(std::max<size_t>(prefix, counts.min));
  const uint32_t most = counts.max == kUnlimited ? last + 1 : counts.max;
  if (most > kTextItemsMax) return none;
  // From the last item to the first, each is put before those after it.
  ExpressionPtr tail = sequence({});
  for (uint32_t i = most; i-- > 0;) {
    ALTLAS_TRY(const Goal goal, items_.goal_at(set, i));
    ALTLAS_TRY(std::optional<ExpressionPtr> item, texts_of(goal, depth + 1));
    if (!item) return none;
    ExpressionPtr one = i == 0 ? *item : sequence({bytes(","), *item});
    if (counts.max == kUnlimited && i + 1 == most)
      tail = repeat(sequence({bytes(","), *item}), 0, kUnlimited);
    tail = sequence({std::move(one), std::move(tail)});
    if (i >= counts.min) tail = optional(std::move(tail));
  }
  return std::optional(sequence({bytes("["), std::move(tail), bytes("]")}));
}

Result<std::optional<ExpressionPtr>> Texts::object_texts(const Set& set, size_t depth) {
  const std::optional<ExpressionPtr> none;
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"minProperties", "maxProperties"})
      if (schemas_.find(s, keyword) != nullptr) return none;
  std::set<std::string, std::less<>> required;
  ALTLAS_TRY(const std::vector<std::string> order, properties_.declared_names(set, required));
  ALTLAS_TRY(const bool closed, free_members_.is_closed(set, order));
  if (!closed) return none;
  // Node 2 i + b: b is 1 if something was written.
  std::vector<Expression::GraphEdge> edges;
  for (uint32_t i = 0; i < order.size(); ++i) {
    Goal value;
    ALTLAS_TRY_VOID(properties_.add_property(set, order[i], value));
    ALTLAS_TRY(const bool fits, properties_.name_fits(order[i], set));
    value.impossible |= !fits;
    ALTLAS_TRY(std::optional<ExpressionPtr> held, texts_of(value, depth + 1));
    if (!held) return none;
    const ExpressionPtr member = sequence({bytes(json_string(order[i]) + ":"), *held});
    for (const uint32_t written : {0u, 1u}) {
      edges.push_back(
          {2 * i + written, 2 * i + 3, written == 0 ? member : sequence({bytes(","), member})});
      if (!required.contains(order[i]))
        edges.push_back({2 * i + written, 2 * i + 2 + written, sequence({})});
    }
  }
  const auto end = static_cast<uint32_t>(2 * order.size());
  return std::optional(
      sequence({bytes("{"), graph(end + 2, std::move(edges), {end, end + 1}), bytes("}")}));
}

Result<std::optional<uint32_t>> Texts::distinct_rule(const Goal& goal, uint32_t& count) {
  const auto known = distinct_.find(goal);
  if (known != distinct_.end()) {
    count = known->second.second;
    return std::optional(known->second.first);
  }
  CompileBudget part = context_.budget.share();
  std::swap(part, context_.budget);
  auto made = [&]() -> Result<std::optional<Automaton>> {
    ALTLAS_TRY(const auto expression, texts_of(goal, 0));
    if (!expression) return std::optional<Automaton>();
    ALTLAS_TRY(Automaton automaton, automaton_of(**expression, context_.budget));
    return std::optional(std::move(automaton));
  }();
  std::swap(part, context_.budget);
  context_.budget.settle(part, !made.ok());
  if (!made.ok() || !*made) return std::optional<uint32_t>();
  count = (**made).empty() ? 0 : text_counts(**made)[0];
  ALTLAS_TRY(const uint32_t index, rules_.add_distinct(embed(**std::move(made))));
  distinct_.emplace(goal, std::pair(index, count));
  return std::optional(index);
}

}  // namespace altlas::text::grammar::schema
