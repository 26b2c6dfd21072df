#include "text/grammar/automaton.h"

#include <algorithm>
#include <map>
#include <utility>

namespace altlas::text::grammar {

int64_t Automaton::next(uint32_t state, uint32_t symbol) const {
  const auto& edges = states[state].edges;
  const auto at = std::ranges::lower_bound(edges, symbol, {}, &Edge::hi);
  return at != edges.end() && at->lo <= symbol ? int64_t{at->to} : -1;
}

bool Automaton::matches(std::string_view text) const {
  if (empty()) return false;
  int64_t state = 0;
  for (const char c : text) {
    state = next(static_cast<uint32_t>(state), static_cast<uint8_t>(c));
    if (state < 0) return false;
  }
  return states[static_cast<size_t>(state)].accepts;
}

namespace {

// Joins neighbours that lead to the same state.
void append_edge(std::vector<Edge>& edges, Edge edge) {
  if (!edges.empty() && edges.back().to == edge.to && edges.back().hi + 1 == edge.lo)
    edges.back().hi = edge.hi;
  else
    edges.push_back(edge);
}

class SubsetConstruction {
 public:
  SubsetConstruction(const Nfa& nfa, Budget& budget) : nfa_(nfa), budget_(budget) {}

  Result<Automaton> run() {
    marks_.resize(nfa_.states.size(), 0);
    ALTLAS_TRY([[maybe_unused]] const uint32_t start, add({nfa_.start}));
    for (size_t i = 0; i < subsets_.size(); ++i) ALTLAS_TRY_VOID(expand(i));
    return trim(std::move(out_));
  }

 private:
  // The state of a set of NFA states, closed under empty moves.
  Result<uint32_t> add(std::vector<uint32_t> set) {
    ++mark_;
    for (const uint32_t s : set) marks_[s] = mark_;
    for (size_t i = 0; i < set.size(); ++i)
      for (const uint32_t to : nfa_.states[set[i]].empty_moves)
        if (std::exchange(marks_[to], mark_) != mark_) set.push_back(to);
    // Only what has edges or ends tells sets apart.
    std::erase_if(set, [&](uint32_t s) { return nfa_.states[s].edges.empty() && s != nfa_.end; });
    std::ranges::sort(set);
    ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(set.size()) + 4));
    const auto [at, fresh] = ids_.try_emplace(set, static_cast<uint32_t>(subsets_.size()));
    if (fresh) {
      ALTLAS_TRY_VOID(budget_.add_states(1));
      out_.states.emplace_back().accepts = std::ranges::binary_search(set, nfa_.end);
      subsets_.push_back(&at->first);
    }
    return at->second;
  }

  // Sweeps over the borders of all ranges that leave the set.
  Result<void> expand(size_t index) {
    std::vector<Edge> all;
    for (const uint32_t s : *subsets_[index])
      all.insert(all.end(), nfa_.states[s].edges.begin(), nfa_.states[s].edges.end());
    std::vector<uint32_t> borders;
    for (const Edge& edge : all) {
      borders.push_back(edge.lo);
      borders.push_back(edge.hi + 1);
    }
    std::ranges::sort(borders);
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    std::ranges::sort(all, {}, &Edge::lo);
    std::vector<Edge> active;
    size_t taken = 0;
    for (size_t b = 0; b + 1 < borders.size(); ++b) {
      std::erase_if(active, [&](const Edge& edge) { return edge.hi < borders[b]; });
      for (; taken < all.size() && all[taken].lo == borders[b]; ++taken)
        active.push_back(all[taken]);
      ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(active.size()) + 1));
      if (active.empty()) continue;
      std::vector<uint32_t> targets;
      for (const Edge& edge : active) targets.push_back(edge.to);
      std::ranges::sort(targets);
      targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
      ALTLAS_TRY(const uint32_t to, add(std::move(targets)));
      append_edge(out_.states[index].edges, {borders[b], borders[b + 1] - 1, to});
    }
    return {};
  }

  const Nfa& nfa_;
  Budget& budget_;
  Automaton out_;
  std::map<std::vector<uint32_t>, uint32_t> ids_;
  std::vector<const std::vector<uint32_t>*> subsets_;
  std::vector<uint32_t> marks_;
  uint32_t mark_ = 0;
};

}  // namespace

Result<Automaton> determinize(const Nfa& nfa, Budget& budget) {
  return SubsetConstruction(nfa, budget).run();
}

Automaton trim(Automaton automaton) {
  const size_t count = automaton.states.size();
  std::vector<std::vector<uint32_t>> sources(count);
  std::vector<uint32_t> work;
  std::vector<char> live(count, 0);
  for (uint32_t s = 0; s < count; ++s) {
    for (const Edge& edge : automaton.states[s].edges) sources[edge.to].push_back(s);
    if (automaton.states[s].accepts) {
      live[s] = 1;
      work.push_back(s);
    }
  }
  while (!work.empty()) {
    const uint32_t s = work.back();
    work.pop_back();
    for (const uint32_t from : sources[s])
      if (!std::exchange(live[from], 1)) work.push_back(from);
  }
  Automaton out;
  if (count == 0 || !live[0]) return out;
  std::vector<uint32_t> order{0};
  std::vector<uint32_t> ids(count, UINT32_MAX);
  ids[0] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    Automaton::State state;
    state.accepts = automaton.states[order[i]].accepts;
    for (const Edge& edge : automaton.states[order[i]].edges) {
      if (!live[edge.to]) continue;
      if (ids[edge.to] == UINT32_MAX) {
        ids[edge.to] = static_cast<uint32_t>(order.size());
        order.push_back(edge.to);
      }
      append_edge(state.edges, {edge.lo, edge.hi, ids[edge.to]});
    }
    out.states.push_back(std::move(state));
  }
  return out;
}

std::vector<uint32_t> text_counts(const Automaton& a) {
  constexpr uint32_t kNoEnd = UINT32_MAX;
  // Depth first, without recursion: what is on the path and reached again has no end.
  enum Color : char { kNew, kOnPath, kDone };
  std::vector<uint32_t> counts(a.states.size(), 0);
  std::vector<char> color(a.states.size(), kNew);
  const auto add = [](uint32_t x, uint64_t y) {
    return static_cast<uint32_t>(std::min<uint64_t>(x + y, kNoEnd));
  };
  std::vector<std::pair<uint32_t, size_t>> path;
  if (!a.empty()) path.emplace_back(0, 0);
  while (!path.empty()) {
    const uint32_t s = path.back().first;
    size_t& next = path.back().second;
    const Automaton::State& state = a.states[s];
    if (color[s] == kNew) counts[s] = state.accepts;
    color[s] = kOnPath;
    if (next > 0) {  // Back from an edge.
      const Edge& edge = state.edges[next - 1];
      counts[s] = add(counts[s], counts[edge.to] * (uint64_t{edge.hi} - edge.lo + 1));
    }
    if (next == state.edges.size()) {
      color[s] = kDone;
      path.pop_back();
      continue;
    }
    const uint32_t to = state.edges[next++].to;
    if (color[to] == kNew)
      path.emplace_back(to, 0);
    else if (color[to] == kOnPath)
      counts[to] = counts[s] = kNoEnd;
  }
  return counts;
}

Result<Automaton> minimize(const Automaton& automaton, Budget& budget) {
  const size_t count = automaton.states.size();
  std::vector<uint32_t> classes(count);
  for (size_t s = 0; s < count; ++s) classes[s] = automaton.states[s].accepts;
  size_t known = 0;
  while (true) {
    using Signature = std::pair<uint32_t, std::vector<uint32_t>>;
    std::map<Signature, uint32_t> ids;
    std::vector<uint32_t> next(count);
    for (size_t s = 0; s < count; ++s) {
      std::vector<Edge> edges;
      for (const Edge& edge : automaton.states[s].edges)
        append_edge(edges, {edge.lo, edge.hi, classes[edge.to]});
      Signature signature{classes[s], {}};
      for (const Edge& edge : edges)
        signature.second.insert(signature.second.end(), {edge.lo, edge.hi, edge.to});
      ALTLAS_TRY_VOID(budget.spend(static_cast<int64_t>(edges.size()) + 2));
      next[s] =
          ids.try_emplace(std::move(signature), static_cast<uint32_t>(ids.size())).first->second;
    }
    classes = std::move(next);
    if (ids.size() == known) break;
    known = ids.size();
  }
  if (count == 0) return Automaton();
  // The start's class must be state 0.
  const uint32_t start = classes[0];
  const auto id = [&](uint32_t c) { return c == start ? 0 : c == 0 ? start : c; };
  Automaton out;
  out.states.resize(known);
  for (size_t s = 0; s < count; ++s) {
    Automaton::State& state = out.states[id(classes[s])];
    if (!state.edges.empty() || state.accepts) continue;
    state.accepts = automaton.states[s].accepts;
    for (const Edge& edge : automaton.states[s].edges)
      append_edge(state.edges, {edge.lo, edge.hi, id(classes[edge.to])});
  }
  return out;
}

Result<Automaton> intersect(const Automaton& a, const Automaton& b, Budget& budget) {
  Automaton out;
  if (a.empty() || b.empty()) return out;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> order;
  const auto add = [&](uint32_t x, uint32_t y) -> Result<uint32_t> {
    const auto [at, fresh] = ids.try_emplace({x, y}, static_cast<uint32_t>(order.size()));
    if (fresh) {
      ALTLAS_TRY_VOID(budget.add_states(1));
      order.emplace_back(x, y);
      out.states.emplace_back().accepts = a.states[x].accepts && b.states[y].accepts;
    }
    return at->second;
  };
  ALTLAS_TRY([[maybe_unused]] const uint32_t start, add(0, 0));
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& left = a.states[order[i].first].edges;
    const auto& right = b.states[order[i].second].edges;
    ALTLAS_TRY_VOID(budget.spend(static_cast<int64_t>(left.size() + right.size()) + 1));
    for (size_t x = 0, y = 0; x < left.size() && y < right.size();) {
      const uint32_t lo = std::max(left[x].lo, right[y].lo);
      const uint32_t hi = std::min(left[x].hi, right[y].hi);
      if (lo <= hi) {
        ALTLAS_TRY(const uint32_t to, add(left[x].to, right[y].to));
        append_edge(out.states[i].edges, {lo, hi, to});
      }
      left[x].hi <= right[y].hi ? ++x : ++y;
    }
  }
  return trim(std::move(out));
}

Result<Automaton> complement(const Automaton& a, Budget& budget, uint32_t last) {
  Automaton out;
  const auto sink = static_cast<uint32_t>(a.states.size());
  ALTLAS_TRY_VOID(budget.add_states(a.states.size() + 1));
  for (const Automaton::State& from : a.states) {
    Automaton::State state;
    state.accepts = !from.accepts;
    uint32_t next = 0;
    for (const Edge& edge : from.edges) {
      if (edge.lo > next) append_edge(state.edges, {next, edge.lo - 1, sink});
      append_edge(state.edges, edge);
      next = edge.hi + 1;
    }
    if (next <= last) append_edge(state.edges, {next, last, sink});
    out.states.push_back(std::move(state));
  }
  Automaton::State all;
  all.accepts = true;
  all.edges.push_back({0, last, sink});
  out.states.push_back(std::move(all));
  return trim(std::move(out));
}

Result<Automaton> between_marks(const Automaton& a, Budget& budget) {
  if (a.empty()) return Automaton();
  const int64_t start = a.next(0, kTextBegin);
  if (start < 0) return Automaton();
  ALTLAS_TRY_VOID(budget.add_states(a.states.size()));
  Automaton out;
  // State 0 stands for `start`, which may be another state's target too: so it is copied.
  const auto copy = [&](uint32_t s) {
    Automaton::State state;
    const int64_t end = a.next(s, kTextEnd);
    state.accepts = end >= 0 && a.states[static_cast<size_t>(end)].accepts;
    for (const Edge& edge : a.states[s].edges)
      if (edge.lo <= 255) state.edges.push_back({edge.lo, std::min(edge.hi, 255u), edge.to + 1});
    return state;
  };
  out.states.push_back(copy(static_cast<uint32_t>(start)));
  for (uint32_t s = 0; s < a.states.size(); ++s) out.states.push_back(copy(s));
  return trim(std::move(out));
}

}  // namespace altlas::text::grammar
