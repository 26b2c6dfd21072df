#include "text/grammar/automaton.h"

#include <algorithm>
#include <bit>
#include <map>
#include <span>
#include <unordered_map>
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

// Adds an edge, and joins it with its neighbour if both lead to the same state.
void append_edge(std::vector<Edge>& edges, Edge edge) {
  if (!edges.empty() && edges.back().to == edge.to && edges.back().hi + 1 == edge.lo)
    edges.back().hi = edge.hi;
  else
    edges.push_back(edge);
}

// Mixes the bits of a number (the finalizer of splitmix64).
uint64_t scatter(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

// Spends one step for every four looks at an edge or at a member of a set.
class Looks {
 public:
  explicit Looks(CompileBudget& budget) : budget_(budget) {}
  Result<void> spend(size_t looks) {
    looks += std::exchange(rest_, (rest_ + looks) % 4);
    return budget_.spend(static_cast<int64_t>(looks / 4));
  }

 private:
  CompileBudget& budget_;
  size_t rest_ = 0;
};

// Turns an NFA into a deterministic automaton. Sets are told apart by marks and by a hash that does
// not depend on order, so nothing is sorted.
class SubsetConstruction {
 public:
  SubsetConstruction(const Nfa& nfa, CompileBudget& budget)
      : nfa_(nfa), budget_(budget), looks_(budget) {}

  Result<Automaton> run() {
    find_passages();
    marks_.resize(nfa_.states.size(), 0);
    begin_set();
    put(passage_[nfa_.start]);
    ALTLAS_TRY([[maybe_unused]] const uint32_t start, state_of_set());
    for (size_t i = 0; i < subsets_.size(); ++i) ALTLAS_TRY_VOID(expand(i));
    return trim(std::move(out_));
  }

 private:
  struct Subset {
    size_t begin = 0;  // The place of its first member in members_.
    size_t size = 0;
  };

  bool is_kept(uint32_t s) const { return !nfa_.states[s].edges.empty() || s == nfa_.end; }

  // A state that only leads on to one other is represented by that state.
  void find_passages() {
    uint32_t last = 0;
    passage_.resize(nfa_.states.size());
    for (uint32_t s = 0; s < passage_.size(); ++s) passage_[s] = s;
    for (uint32_t s = static_cast<uint32_t>(passage_.size()); s-- > 0;) {
      const Nfa::State& state = nfa_.states[s];
      if (!is_kept(s) && state.empty_moves.size() == 1) passage_[s] = state.empty_moves[0];
      for (const Edge& edge : state.edges) last = std::max(last, edge.hi + 1);
    }
    for (uint32_t s = 0; s < passage_.size(); ++s)
      for (int steps = 0; steps < 8 && passage_[passage_[s]] != passage_[s]; ++steps)
        passage_[s] = passage_[passage_[s]];
    // The empty moves that closures follow, between representatives.
    for (uint32_t s = 0; s < passage_.size(); ++s) {
      kept_.push_back(is_kept(s));
      first_move_.push_back(static_cast<uint32_t>(moves_.size()));
      for (const uint32_t to : nfa_.states[s].empty_moves) moves_.push_back(passage_[to]);
    }
    first_move_.push_back(static_cast<uint32_t>(moves_.size()));
    borders_.resize(last / 64 + 1);
    begins_at_.resize(size_t{last} + 1, kNone);
  }

  void begin_set() {
    ++mark_;
    set_.clear();
  }
  // `s` is a state that represents itself.
  void put(uint32_t s) {
    if (std::exchange(marks_[s], mark_) != mark_) set_.push_back(s);
  }

  // Returns the subset of set_, closed under empty moves.
  Result<uint32_t> state_of_set() {
    size_t work = 4;
    for (size_t i = 0; i < set_.size(); ++i) {
      const uint32_t begin = first_move_[set_[i]], end = first_move_[set_[i] + 1];
      for (uint32_t m = begin; m < end; ++m) put(moves_[m]);
      work += end - begin + 1;
    }
    // Only states with edges, and the end, tell sets apart.
    std::erase_if(set_, [&](uint32_t s) { return !kept_[s]; });
    uint64_t hash = set_.size();
    for (const uint32_t s : set_) hash += scatter(uint64_t{s} + 1);
    ALTLAS_TRY_VOID(looks_.spend(work + set_.size()));
    for (auto [at, end] = ids_.equal_range(hash); at != end; ++at) {
      const Subset& known = subsets_[at->second];
      ALTLAS_TRY_VOID(looks_.spend(known.size));
      const auto members = std::span(members_).subspan(known.begin, known.size);
      if (known.size == set_.size() &&
          std::ranges::all_of(members, [&](uint32_t s) { return marks_[s] == mark_; }))
        return at->second;
    }
    const auto id = static_cast<uint32_t>(subsets_.size());
    ALTLAS_TRY_VOID(budget_.add_states(1));
    out_.states.emplace_back().accepts = marks_[nfa_.end] == mark_;
    subsets_.push_back({members_.size(), set_.size()});
    members_.insert(members_.end(), set_.begin(), set_.end());
    ids_.emplace(hash, id);
    return id;
  }

  // Goes over the borders of all ranges that leave the set, in order.
  Result<void> expand(size_t index) {
    edges_.clear();
    const Subset subset = subsets_[index];
    for (size_t i = subset.begin; i < subset.begin + subset.size; ++i)
      for (const Edge& edge : nfa_.states[members_[i]].edges) {
        borders_[edge.lo / 64] |= uint64_t{1} << edge.lo % 64;
        borders_[(edge.hi + 1) / 64] |= uint64_t{1} << (edge.hi + 1) % 64;
        edges_.push_back(
            {edge, std::exchange(begins_at_[edge.lo], static_cast<uint32_t>(edges_.size()))});
      }
    ALTLAS_TRY_VOID(looks_.spend(edges_.size() + borders_.size()));
    active_.clear();
    uint32_t from = 0;
    for (size_t w = 0; w < borders_.size(); ++w)
      for (uint64_t bits = std::exchange(borders_[w], 0); bits != 0; bits &= bits - 1) {
        const auto border = static_cast<uint32_t>(w * 64) + std::countr_zero(bits);
        ALTLAS_TRY_VOID(close_range(index, from, border));
        from = border;
        for (uint32_t e = std::exchange(begins_at_[border], kNone); e != kNone; e = edges_[e].next)
          active_.push_back(edges_[e].edge);
      }
    return {};
  }

  // Symbols from … border - 1 lead along all active edges. Edges that end before the border become
  // inactive.
  Result<void> close_range(size_t index, uint32_t from, uint32_t border) {
    ALTLAS_TRY_VOID(looks_.spend(active_.size() + 1));
    if (active_.empty()) return {};
    begin_set();
    size_t kept = 0;
    for (const Edge& edge : active_) {
      put(passage_[edge.to]);
      if (edge.hi >= border) active_[kept++] = edge;
    }
    active_.resize(kept);
    ALTLAS_TRY(const uint32_t to, state_of_set());
    append_edge(out_.states[index].edges, {from, border - 1, to});
    return {};
  }

  static constexpr uint32_t kNone = UINT32_MAX;
  struct ListedEdge {
    Edge edge;
    uint32_t next = kNone;  // The next edge that begins at the same symbol.
  };

  const Nfa& nfa_;
  CompileBudget& budget_;
  Looks looks_;
  Automaton out_;
  std::vector<uint32_t> passage_;     // [NFA state]: the state that represents it.
  std::vector<char> kept_;            // [NFA state]: is_kept().
  std::vector<uint32_t> first_move_;  // [NFA state]: the place of its first empty move in moves_.
  std::vector<uint32_t> moves_;
  std::vector<uint32_t> members_;  // The members of all subsets.
  std::vector<Subset> subsets_;
  std::unordered_multimap<uint64_t, uint32_t> ids_;  // By hash; it is never iterated.
  std::vector<uint32_t> set_;                        // The set that is being built.
  // [NFA state]: the last set that it was put into.
  std::vector<uint32_t> marks_;
  uint32_t mark_ = 0;
  std::vector<uint64_t> borders_;  // One bit per symbol.
  // [symbol]: the place in edges_ of the last edge that begins there.
  std::vector<uint32_t> begins_at_;
  std::vector<ListedEdge> edges_;
  std::vector<Edge> active_;
};

// Partition refinement. Only states whose successors changed their class are looked at again, and
// when a class falls apart its largest part keeps the number. So a state changes its class at most
// log2(states) times.
class Minimization {
 public:
  Minimization(const Automaton& automaton, CompileBudget& budget)
      : states_(automaton.states), looks_(budget) {}

  Result<Automaton> run() {
    if (states_.empty()) return Automaton();
    ALTLAS_TRY_VOID(begin());
    for (size_t i = 0; i < work_.size(); ++i) ALTLAS_TRY_VOID(refine(work_[i]));
    return joined();
  }

 private:
  struct Class {
    uint32_t begin = 0;  // The places of its states in order_ begin here.
    uint32_t end = 0;
    // This many of its first states have successors that changed their class.
    uint32_t changed = 0;
  };
  // A state that is looked at again, with its edges, whose targets are classes.
  struct Signature {
    uint64_t hash = 0;
    uint32_t state = 0;
    uint32_t part = 0;
    size_t begin = 0;  // The place of its first edge in edges_.
    size_t end = 0;
  };

  Result<void> begin() {
    const auto count = static_cast<uint32_t>(states_.size());
    first_source_.resize(size_t{count} + 1);
    for (const Automaton::State& state : states_)
      for (const Edge& edge : state.edges) ++first_source_[edge.to + 1];
    for (uint32_t s = 0; s < count; ++s) first_source_[s + 1] += first_source_[s];
    ALTLAS_TRY_VOID(looks_.spend(4 * (size_t{count} + first_source_[count])));
    sources_.resize(first_source_[count]);
    std::vector<uint32_t> next(first_source_.begin(), first_source_.end() - 1);
    for (uint32_t s = 0; s < count; ++s)
      for (const Edge& edge : states_[s].edges) sources_[next[edge.to]++] = s;
    class_of_.resize(count);
    place_.resize(count);
    for (const bool accepts : {false, true}) {
      const auto first = static_cast<uint32_t>(order_.size());
      for (uint32_t s = 0; s < count; ++s) {
        if (states_[s].accepts != accepts) continue;
        place_[s] = static_cast<uint32_t>(order_.size());
        class_of_[s] = static_cast<uint32_t>(classes_.size());
        order_.push_back(s);
      }
      const auto last = static_cast<uint32_t>(order_.size());
      if (last == first) continue;
      work_.push_back(static_cast<uint32_t>(classes_.size()));
      classes_.push_back({first, last, last - first});
    }
    return {};
  }

  Result<void> refine(uint32_t index) {
    const uint32_t begin = classes_[index].begin;
    const uint32_t changed = std::exchange(classes_[index].changed, 0);
    ALTLAS_TRY_VOID(sign(begin, begin + changed));
    ALTLAS_TRY_VOID(group());
    // The changed states get new places: part by part, before those that did not change.
    std::vector<Class> parts;
    uint32_t place = begin;
    for (const Signature& one : signatures_) {
      if (parts.empty() || one.part != parts.size() - 1) parts.push_back({place, place, 0});
      order_[place] = one.state;
      place_[one.state] = place;
      parts.back().end = ++place;
    }
    // Each changed state leads to a class that is newer than all those that the others lead to, so
    // the unchanged states are a part of their own.
    if (place < classes_[index].end) parts.push_back({place, classes_[index].end, 0});
    const auto largest = std::ranges::max_element(
        parts, {}, [](const Class& part) { return part.end - part.begin; });
    classes_[index] = *largest;
    const auto first_new = static_cast<uint32_t>(classes_.size());
    for (auto part = parts.begin(); part != parts.end(); ++part) {
      if (part == largest) continue;
      for (uint32_t i = part->begin; i < part->end; ++i)
        class_of_[order_[i]] = static_cast<uint32_t>(classes_.size());
      classes_.push_back(*part);
    }
    for (auto made = first_new; made < first_new + parts.size() - 1; ++made)
      ALTLAS_TRY_VOID(mark_sources(made));
    return {};
  }

  Result<void> sign(uint32_t begin, uint32_t end) {
    edges_.clear();
    signatures_.clear();
    for (uint32_t i = begin; i < end; ++i) {
      Signature one{0, order_[i], 0, edges_.size(), 0};
      for (const Edge& edge : states_[one.state].edges) {
        const uint32_t to = class_of_[edge.to];
        const bool joins =
            edges_.size() > one.begin && edges_.back().to == to && edges_.back().hi + 1 == edge.lo;
        if (joins)
          edges_.back().hi = edge.hi;
        else
          edges_.push_back({edge.lo, edge.hi, to});
      }
      one.end = edges_.size();
      for (size_t e = one.begin; e < one.end; ++e)
        one.hash = scatter(one.hash + (uint64_t{edges_[e].lo} << 48) +
                           (uint64_t{edges_[e].hi} << 32) + edges_[e].to);
      ALTLAS_TRY_VOID(looks_.spend(2 * states_[one.state].edges.size() + 8));
      signatures_.push_back(one);
    }
    return {};
  }

  // Gives equal signatures the same part, and sorts them by part.
  Result<void> group() {
    std::ranges::sort(signatures_, {}, &Signature::hash);
    uint32_t parts = 0;
    for (size_t begin = 0; begin < signatures_.size();) {
      // The other members of the part come after `begin`; after them come states that have the same
      // hash by chance.
      size_t others = begin + 1;
      for (size_t i = others;
           i < signatures_.size() && signatures_[i].hash == signatures_[begin].hash; ++i) {
        const Signature &a = signatures_[begin], &b = signatures_[i];
        ALTLAS_TRY_VOID(looks_.spend(b.end - b.begin + 1));
        const bool equal = std::equal(edges_.begin() + static_cast<ptrdiff_t>(a.begin),
                                      edges_.begin() + static_cast<ptrdiff_t>(a.end),
                                      edges_.begin() + static_cast<ptrdiff_t>(b.begin),
                                      edges_.begin() + static_cast<ptrdiff_t>(b.end),
                                      [](const Edge& x, const Edge& y) {
                                        return x.lo == y.lo && x.hi == y.hi && x.to == y.to;
                                      });
        if (equal) std::swap(signatures_[others++], signatures_[i]);
      }
      for (; begin < others; ++begin) signatures_[begin].part = parts;
      ++parts;
    }
    return {};
  }

  // Marks the states that lead into a new class.
  Result<void> mark_sources(uint32_t index) {
    // Marking also moves states within this class, but none out of it, so their places are read
    // first.
    members_.assign(order_.begin() + classes_[index].begin, order_.begin() + classes_[index].end);
    for (const uint32_t s : members_) {
      ALTLAS_TRY_VOID(looks_.spend(2 * size_t{first_source_[s + 1] - first_source_[s]} + 1));
      for (uint32_t i = first_source_[s]; i < first_source_[s + 1]; ++i) mark(sources_[i]);
    }
    return {};
  }

  void mark(uint32_t s) {
    Class& own = classes_[class_of_[s]];
    const uint32_t to = own.begin + own.changed;
    if (place_[s] < to) return;
    if (own.changed == 0) work_.push_back(class_of_[s]);
    std::swap(order_[place_[s]], order_[to]);
    place_[order_[place_[s]]] = place_[s];
    place_[s] = to;
    ++own.changed;
  }

  // Returns an automaton with one state per class, in the order of their first states.
  Automaton joined() const {
    std::vector<uint32_t> ids(classes_.size(), UINT32_MAX), firsts;
    for (uint32_t s = 0; s < states_.size(); ++s) {
      if (ids[class_of_[s]] != UINT32_MAX) continue;
      ids[class_of_[s]] = static_cast<uint32_t>(firsts.size());
      firsts.push_back(s);
    }
    Automaton out;
    for (const uint32_t s : firsts) {
      Automaton::State& state = out.states.emplace_back();
      state.accepts = states_[s].accepts;
      for (const Edge& edge : states_[s].edges)
        append_edge(state.edges, {edge.lo, edge.hi, ids[class_of_[edge.to]]});
    }
    return out;
  }

  const std::vector<Automaton::State>& states_;
  Looks looks_;
  std::vector<uint32_t> first_source_;  // [state]: the place of its first source in sources_.
  std::vector<uint32_t> sources_;
  std::vector<uint32_t> class_of_;
  std::vector<uint32_t> order_;  // States, class by class.
  std::vector<uint32_t> place_;  // [state]: its place in order_.
  std::vector<Class> classes_;
  std::vector<uint32_t> work_;  // Classes with changed states, in the order in which they came.
  std::vector<Signature> signatures_;
  std::vector<Edge> edges_;
  std::vector<uint32_t> members_;
};

}  // namespace

Result<Automaton> determinize(const Nfa& nfa, CompileBudget& budget) {
  return SubsetConstruction(nfa, budget).run();
}

Automaton trim(Automaton automaton) {
  const size_t count = automaton.states.size();
  std::vector<uint32_t> first(count + 1, 0);  // [state]: the place of its first source.
  for (const Automaton::State& state : automaton.states)
    for (const Edge& edge : state.edges) ++first[edge.to + 1];
  for (size_t s = 0; s < count; ++s) first[s + 1] += first[s];
  std::vector<uint32_t> sources(first[count]), next(first.begin(), first.end() - 1);
  std::vector<uint32_t> work;
  std::vector<char> live(count, 0);
  for (uint32_t s = 0; s < count; ++s) {
    for (const Edge& edge : automaton.states[s].edges) sources[next[edge.to]++] = s;
    if (automaton.states[s].accepts) {
      live[s] = 1;
      work.push_back(s);
    }
  }
  while (!work.empty()) {
    const uint32_t s = work.back();
    work.pop_back();
    for (uint32_t i = first[s]; i < first[s + 1]; ++i)
      if (!std::exchange(live[sources[i]], 1)) work.push_back(sources[i]);
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
  // A depth-first search without recursion. A state that is on the path and reached again leads to
  // texts without end.
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
    if (next > 0) {  // The path has come back from an edge.
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

Result<Automaton> minimize(const Automaton& automaton, CompileBudget& budget) {
  return Minimization(automaton, budget).run();
}

Result<Automaton> intersect(const Automaton& a, const Automaton& b, CompileBudget& budget) {
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

Result<Automaton> complement(const Automaton& a, CompileBudget& budget, uint32_t last) {
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

Result<Automaton> between_marks(const Automaton& a, CompileBudget& budget) {
  if (a.empty()) return Automaton();
  const int64_t start = a.next(0, kTextBegin);
  if (start < 0) return Automaton();
  ALTLAS_TRY_VOID(budget.add_states(a.states.size()));
  Automaton out;
  // State 0 is a copy of `start`, which may also be another state's target.
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
