#include "text/grammar/schema/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr uint32_t kCountedMembersMax = 64;

// Nodes of the graph of an object's members, which are made when first asked for: (declared members
// looked at, members written, free members among them).
class Nodes {
 public:
  uint32_t at(uint32_t looked, uint32_t written, uint32_t free) {
    const std::array<uint32_t, 3> key{looked, written, free};
    const auto [place, fresh] = ids_.try_emplace(key, static_cast<uint32_t>(order_.size()));
    if (fresh) order_.push_back(key);
    return place->second;
  }
  const std::vector<std::array<uint32_t, 3>>& order() const { return order_; }

 private:
  std::map<std::array<uint32_t, 3>, uint32_t> ids_;
  std::vector<std::array<uint32_t, 3>> order_;
};

}  // namespace

Result<Objects::Members> Objects::members_of(const Set& set) {
  for (const uint32_t s : set) {
    const json::object* patterns = schemas_.object_at(s, "patternProperties");
    if (patterns == nullptr) continue;
    const std::string place = schemas_.path_of(s, "patternProperties");
    const auto unread = [&](const auto& entry) {
      return context_.pattern(entry.key(), place) == nullptr;
    };
    if (std::ranges::any_of(*patterns, unread))
      free_members_.drop_patterns(s, Unheld::Why::kUnsupported,
                                  "one of the patterns can't be held");
  }
  Members members;
  std::set<std::string, std::less<>> required;
  ALTLAS_TRY(const std::vector<std::string> order, properties_.declared_names(set, required));
  for (const std::string& name : order) {
    ALTLAS_TRY_VOID(context_.budget.spend(static_cast<int64_t>(order.size())));
    Goal value;
    ALTLAS_TRY_VOID(properties_.add_property(set, name, value));
    ALTLAS_TRY(const bool fits, properties_.name_fits(name, set));
    value.impossible |= !fits;
    Members::Declared& one = members.declared.emplace_back();
    ALTLAS_TRY(one.expression, properties_.member(bytes(json_string(name)), std::move(value)));
    one.required = required.contains(name);
  }
  members.counts = schemas_.counts_of(set, "minProperties", "maxProperties");
  members.distinct = context_.expands && members.counts.min > order.size() + 1;
  ALTLAS_TRY(members.free, free_members_.free_member(set, order, members.distinct));
  hold_counts(set, members);
  return members;
}

void Objects::hold_counts(const Set& set, Members& members) {
  auto& [min, max] = members.counts;
  const auto declared = static_cast<uint32_t>(members.declared.size());
  const auto give_up = [&](std::string_view keyword, std::string reason) {
    for (const uint32_t s : set)
      if (schemas_.find(s, keyword) != nullptr)
        context_.leave_out(Unheld::Why::kUnsupported, schemas_.path_of(s, keyword), reason);
  };
  if (members.free.expression == nullptr) {
    if (max >= declared) max = kUnlimited;
    return;
  }
  if (max != kUnlimited && max > kCountedMembersMax) {
    max = kUnlimited;
    give_up("maxProperties",
            fmt::format("more than {} counted members are not supported", kCountedMembersMax));
  }
  if (members.distinct && members.free.names < kCountedMembersMax)
    max = std::min({max, declared + members.free.names, kCountedMembersMax});
  // Free names may repeat each other and are then one member, so only the first one counts towards
  // the minimum.
  const uint32_t sure =
      members.distinct ? kCountedMembersMax : std::min(declared + 1, kCountedMembersMax);
  if (min <= sure) return;
  min = sure;
  give_up("minProperties", fmt::format("at most {} members can be asked for here", sure));
}

Result<ExpressionPtr> Objects::value(const Set& set) {
  ALTLAS_TRY(const Members members, members_of(set));
  const auto declared = static_cast<uint32_t>(members.declared.size());
  const auto [min, max] = members.counts;
  if (min > max || (members.free.expression == nullptr && min > declared)) return nothing();
  const bool counts = min > 1 || max != kUnlimited;
  const uint32_t counted = max == kUnlimited ? min : max;
  const uint32_t written_max = counts ? counted : 1;  // Beyond it nothing changes.
  Nodes nodes;
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  nodes.at(0, 0, 0);
  for (uint32_t i = 0; i < nodes.order().size(); ++i) {
    ALTLAS_TRY_VOID(context_.budget.spend(4));
    const auto [looked, written, free] = nodes.order()[i];
    const auto write = [&](const ExpressionPtr& one, uint32_t next, bool is_free) {
      if (max != kUnlimited && written >= max) return;
      const uint32_t to = nodes.at(next, std::min(written + 1, written_max),
                                   is_free ? std::min(free + 1, written_max) : free);
      edges.push_back({i, to, written == 0 ? one : sequence({rules_.comma(), one})});
    };
    if (looked < declared) {
      const Members::Declared& one = members.declared[looked];
      if (!one.required) edges.push_back({i, nodes.at(looked + 1, written, free), sequence({})});
      write(one.expression, looked + 1, false);
      continue;
    }
    const uint32_t sure = members.distinct ? written : written - free + std::min(free, 1u);
    if (sure >= min) ends.push_back(i);
    if (members.free.expression != nullptr && (!members.distinct || free < members.free.names))
      write(members.free.expression, looked, true);
  }
  const auto count = static_cast<uint32_t>(nodes.order().size());
  const ExpressionPtr inside = graph(count, std::move(edges), std::move(ends));
  ExpressionPtr all = sequence({bytes("{"), rules_.space(), inside, rules_.space(), bytes("}")});
  if (!members.distinct) return all;
  return rule(rules_.add("different members", std::move(all)));  // The rule remembers the names.
}

}  // namespace altlas::text::grammar::schema
