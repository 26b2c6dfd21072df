#include "text/grammar/look_around.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace altlas::text::grammar {

namespace {

constexpr uint32_t kLastSymbol = kTextEnd;

// The kinds of characters that \b tells apart.
enum WordClass : uint32_t {
  kOther,     // No word character.
  kWord,      // [0-9A-Za-z_]
  kOnlySome,  // Letters and digits beyond ASCII: word characters in Python, not in ECMA-262.
  kStart,     // Nothing was read yet.
  kClasses,
};

struct WordRanges {
  std::vector<CodeRange> word, only_some, other;
};

const WordRanges& word_ranges() {
  static const WordRanges kRanges = [] {
    WordRanges made;
    made.word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    for (uint32_t c = 0x80; c <= kCodePointMax; ++c) {
      const char major = *utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
      if (major != 'L' && major != 'N') continue;
      if (!made.only_some.empty() && made.only_some.back().hi + 1 == c)
        made.only_some.back().hi = c;
      else
        made.only_some.push_back({c, c});
    }
    std::vector<CodeRange> both = made.word;
    both.insert(both.end(), made.only_some.begin(), made.only_some.end());
    made.other = complement(both);
    return made;
  }();
  return kRanges;
}

// Reads one character; its class follows as the symbol kClassBase + class.
constexpr uint32_t kClassBase = 1'000;

const Automaton& classified_character() {
  static const Automaton kMade = [] {
    const WordRanges& ranges = word_ranges();
    const auto one = [](const std::vector<CodeRange>& of, WordClass name) {
      return sequence({character(of), symbol(kClassBase + name)});
    };
    CompileBudget budget;
    auto made = automaton_of(*choice({one(ranges.word, kWord), one(ranges.only_some, kOnlySome),
                                      one(ranges.other, kOther)}),
                             budget);
    return made.ok() ? *std::move(made) : Automaton();
  }();
  return kMade;
}

bool uses_word_edges(const Expression& e) {
  if (e.kind == Expression::Kind::kAssertion && e.parts.empty()) return true;
  return std::ranges::any_of(e.parts,
                             [](const ExpressionPtr& part) { return uses_word_edges(*part); });
}

// Any sequence of symbols.
ExpressionPtr anything() {
  Automaton made;
  made.states.push_back({{{0, kLastSymbol, 0}}, true});
  return embed(std::move(made));
}

class AssertingConstruction {
 public:
  AssertingConstruction(const Nfa& nfa, uint32_t first_class, CompileBudget& budget)
      : nfa_(nfa), first_class_(first_class), budget_(budget) {}

  Result<Automaton> run() {
    ALTLAS_TRY_VOID(prepare());
    State start;
    start.behind.assign(behind_.size(), 0);
    start.word = first_class_;
    ALTLAS_TRY([[maybe_unused]] const uint32_t first, add(std::move(start), {{nfa_.start}}));
    for (size_t i = 0; i < states_.size(); ++i) ALTLAS_TRY_VOID(expand(i));
    return trim(std::move(out_));
  }

 private:
  // An NFA state, then, sorted, the states of ahead_ that must accept the rest.
  using Reading = std::vector<uint32_t>;
  struct State {
    std::vector<uint32_t> behind;  // The states of the look-behinds' automata; kNowhere: none.
    uint32_t word = kStart;        // A class; within a character kClasses + state.
    std::vector<Reading> readings;
  };
  static constexpr uint32_t kNowhere = UINT32_MAX;
  static constexpr uint32_t kUniversal = UINT32_MAX;  // A look-ahead that any rest fulfils.
  static constexpr uint32_t kImpossible = UINT32_MAX - 1;

  Result<void> prepare() {
    for (const Nfa::State& state : nfa_.states)
      for (const Nfa::AssertedMove& move : state.asserted_moves) {
        words_ |= move.part == nullptr || uses_word_edges(*move.part);
        const bool behind = move.kind == Assertion::kBehind || move.kind == Assertion::kNotBehind;
        if (!behind || behind_ids_.contains(move.part)) continue;
        // A look-behind matches whatever was before, then its part.
        const ExpressionPtr part(ExpressionPtr(), move.part);
        ALTLAS_TRY(Automaton made, automaton_of(*sequence({anything(), part}), budget_));
        ALTLAS_TRY(made, minimize(made, budget_));
        behind_ids_.emplace(move.part, behind_.size());
        behind_.push_back(std::move(made));
      }
    if (words_) one_ = &classified_character();
    return {};
  }

  // Returns the state of ahead_ that accepts if "`part` comes next" (or if it does not).
  Result<uint32_t> look_ahead(const Expression& part, bool negated, uint32_t word) {
    if (!uses_word_edges(part)) word = kOther;
    const auto [at, fresh] = ahead_ids_.try_emplace({&part, 2 * word + (negated ? 1 : 0)}, 0);
    if (!fresh) return at->second;
    const ExpressionPtr inside(ExpressionPtr(), &part);
    const ExpressionPtr whole = sequence({inside, anything()});
    ALTLAS_TRY(const Nfa nfa, nfa_of(*whole, budget_));
    ALTLAS_TRY(Automaton made, nfa.asserts ? AssertingConstruction(nfa, word, budget_).run()
                                           : determinize(nfa, budget_));
    if (negated) {
      ALTLAS_TRY(made, complement(made, budget_, kLastSymbol));
    }
    ALTLAS_TRY(made, minimize(made, budget_));
    return at->second = append(made);
  }

  uint32_t append(const Automaton& made) {
    if (made.empty()) return kImpossible;
    const auto base = static_cast<uint32_t>(ahead_.states.size());
    const auto is_universal = [&](uint32_t s) {
      const Automaton::State& state = made.states[s];
      return state.accepts && state.edges.size() == 1 && state.edges[0].lo == 0 &&
             state.edges[0].hi >= kLastSymbol && state.edges[0].to == s;
    };
    if (is_universal(0)) return kUniversal;
    for (Automaton::State state : made.states) {
      for (Edge& edge : state.edges) edge.to = is_universal(edge.to) ? kUniversal : base + edge.to;
      ahead_.states.push_back(std::move(state));
    }
    return base;
  }

  // Returns the state of ahead_ for "one of these characters, or the end, comes next".
  Result<uint32_t> next_is(const std::vector<CodeRange>& ranges, bool or_end) {
    std::vector<ExpressionPtr> forms{character(ranges)};
    if (or_end) forms.push_back(symbol(kTextEnd));
    ALTLAS_TRY(Automaton made,
               automaton_of(*sequence({choice(std::move(forms)), anything()}), budget_));
    ALTLAS_TRY(made, minimize(made, budget_));
    return append(made);
  }

  // Returns what \b or \B asks of the next character, after one of the class `word`.
  Result<uint32_t> word_edge(bool edge, uint32_t word) {
    const auto [at, fresh] = word_ids_.try_emplace(2 * word + (edge ? 1 : 0), kImpossible);
    if (!fresh) return at->second;
    const WordRanges& ranges = word_ranges();
    const bool behind_word = word == kWord;
    if (word == kOnlySome) {
      if (!edge) {
        ALTLAS_TRY(at->second, next_is(ranges.only_some, false));
      }
    } else if (edge != behind_word) {
      // \b after a character that is no word character, or \B after one that is.
      ALTLAS_TRY(at->second, next_is(ranges.word, false));
    } else {
      // Python's \B does not hold in an empty text.
      ALTLAS_TRY(at->second, next_is(ranges.other, word != kStart));
    }
    return at->second;
  }

  // Returns the state from which the move's assertion must accept the rest; kUniversal: it holds.
  Result<uint32_t> ask(const Nfa::AssertedMove& move, const State& state) {
    switch (move.kind) {
      case Assertion::kWordEdge:
      case Assertion::kNoWordEdge:
        return word_edge(move.kind == Assertion::kWordEdge, state.word);
      case Assertion::kAhead:
      case Assertion::kNotAhead:
        return look_ahead(*move.part, move.kind == Assertion::kNotAhead, state.word);
      case Assertion::kBehind:
      case Assertion::kNotBehind: {
        const size_t id = behind_ids_.find(move.part)->second;
        const uint32_t at = state.behind[id];
        const bool found = at != kNowhere && !behind_[id].empty() && behind_[id].states[at].accepts;
        return found == (move.kind == Assertion::kBehind) ? kUniversal : kImpossible;
      }
    }
    return kImpossible;
  }

  // Returns the state of these readings, closed under moves that read nothing.
  Result<uint32_t> add(State state, std::vector<Reading> open) {
    std::map<Reading, bool> seen;
    while (!open.empty()) {
      Reading one = std::move(open.back());
      open.pop_back();
      ALTLAS_TRY_VOID(budget_.spend(2 * static_cast<int64_t>(one.size()) + 4));
      if (!seen.try_emplace(one, true).second) continue;
      const Nfa::State& at = nfa_.states[one[0]];
      for (const uint32_t to : at.empty_moves) {
        Reading next = one;
        next[0] = to;
        open.push_back(std::move(next));
      }
      for (const Nfa::AssertedMove& move : at.asserted_moves) {
        ALTLAS_TRY(const uint32_t asked, ask(move, state));
        if (asked == kImpossible) continue;
        Reading next = one;
        next[0] = move.to;
        if (asked != kUniversal) insert(next, asked);
        open.push_back(std::move(next));
      }
      if (!at.edges.empty() || one[0] == nfa_.end) state.readings.push_back(std::move(one));
    }
    ALTLAS_TRY_VOID(drop_stricter(state.readings));
    std::vector<uint32_t> key = flat(state);
    ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(key.size())));
    const auto [at, fresh] =
        ids_.try_emplace(std::move(key), static_cast<uint32_t>(states_.size()));
    if (fresh) {
      ALTLAS_TRY_VOID(budget_.add_states(1));
      out_.states.emplace_back().accepts = accepts(state);
      states_.push_back(&at->first);
    }
    return at->second;
  }

  static void insert(Reading& reading, uint32_t asked) {
    const auto at = std::lower_bound(reading.begin() + 1, reading.end(), asked);
    if (at == reading.end() || *at != asked) reading.insert(at, asked);
  }

  // Drops readings that ask for more than another one of the same NFA state: they add nothing.
  Result<void> drop_stricter(std::vector<Reading>& readings) {
    std::ranges::sort(readings);
    std::vector<Reading> kept;
    for (size_t begin = 0; begin < readings.size();) {
      size_t end = begin + 1;
      while (end < readings.size() && readings[end][0] == readings[begin][0]) ++end;
      ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>((end - begin) * (end - begin))));
      for (size_t i = begin; i < end; ++i) {
        const Reading& one = readings[i];
        const auto asks_less = [&](const Reading& other) {
          return other.size() < one.size() &&
                 std::includes(one.begin() + 1, one.end(), other.begin() + 1, other.end());
        };
        if (std::none_of(readings.begin() + static_cast<ptrdiff_t>(begin),
                         readings.begin() + static_cast<ptrdiff_t>(end), asks_less))
          kept.push_back(one);
      }
      begin = end;
    }
    readings = std::move(kept);
    return {};
  }

  // Turns a state into a key, and back.
  static std::vector<uint32_t> flat(const State& state) {
    std::vector<uint32_t> out{state.word};
    out.insert(out.end(), state.behind.begin(), state.behind.end());
    for (const Reading& one : state.readings) {
      out.push_back(static_cast<uint32_t>(one.size()));
      out.insert(out.end(), one.begin(), one.end());
    }
    return out;
  }
  State state_of(const std::vector<uint32_t>& flat) const {
    State out;
    out.word = flat[0];
    auto at = flat.begin() + 1 + static_cast<ptrdiff_t>(behind_.size());
    out.behind.assign(flat.begin() + 1, at);
    while (at != flat.end()) {
      const auto end = at + 1 + static_cast<ptrdiff_t>(*at);
      out.readings.emplace_back(at + 1, end);
      at = end;
    }
    return out;
  }

  bool accepts(const State& state) const {
    return std::ranges::any_of(state.readings, [&](const Reading& one) {
      return one[0] == nfa_.end && std::all_of(one.begin() + 1, one.end(), [&](uint32_t s) {
               return ahead_.states[s].accepts;
             });
    });
  }

  void add_borders(const std::vector<Edge>& edges, std::vector<uint32_t>& borders) const {
    for (const Edge& edge : edges) {
      borders.push_back(std::min(edge.lo, kLastSymbol + 1));
      borders.push_back(std::min(edge.hi, kLastSymbol) + 1);
    }
  }

  std::vector<uint32_t> borders_of(const State& state) const {
    std::vector<uint32_t> borders{kTextBegin, kTextEnd, kTextEnd + 1};
    for (const Reading& one : state.readings) {
      add_borders(nfa_.states[one[0]].edges, borders);
      for (size_t i = 1; i < one.size(); ++i) add_borders(ahead_.states[one[i]].edges, borders);
    }
    for (size_t b = 0; b < behind_.size(); ++b)
      if (state.behind[b] != kNowhere && !behind_[b].empty())
        add_borders(behind_[b].states[state.behind[b]].edges, borders);
    if (words_)
      add_borders(one_->states[state.word < kClasses ? 0 : state.word - kClasses].edges, borders);
    std::ranges::sort(borders);
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    return borders;
  }

  // Moves the tracked parts of a state by one symbol. Returns false if no text goes on so.
  bool follow(const State& from, uint32_t symbol, State& to) const {
    to.word = from.word;
    if (words_ && symbol <= 255) {
      const int64_t next = one_->next(from.word < kClasses ? 0 : from.word - kClasses, symbol);
      if (next < 0) return false;
      const auto& edges = one_->states[static_cast<size_t>(next)].edges;
      const bool complete = edges.size() == 1 && edges[0].lo >= kClassBase;
      to.word = complete ? edges[0].lo - kClassBase : kClasses + static_cast<uint32_t>(next);
    }
    for (size_t b = 0; b < behind_.size(); ++b) {
      const int64_t next = from.behind[b] == kNowhere || behind_[b].empty()
                               ? -1
                               : behind_[b].next(from.behind[b], symbol);
      to.behind.push_back(next < 0 ? kNowhere : static_cast<uint32_t>(next));
    }
    return true;
  }

  // Moves what look-aheads ask for by one symbol. Returns false if it is violated.
  bool follow(Reading& reading, uint32_t symbol) const {
    if (symbol == kTextBegin) return true;  // The begin is no part of the rest.
    Reading next{reading[0]};
    for (size_t i = 1; i < reading.size(); ++i) {
      const int64_t to = ahead_.next(reading[i], symbol);
      if (to < 0) return false;
      if (to != kUniversal) insert(next, static_cast<uint32_t>(to));
    }
    reading = std::move(next);
    return true;
  }

  Result<void> expand(size_t index) {
    const State from = state_of(*states_[index]);
    const std::vector<uint32_t> borders = borders_of(from);
    for (size_t b = 0; b + 1 < borders.size(); ++b) {
      const uint32_t symbol = borders[b];
      State to;
      if (!follow(from, symbol, to)) continue;
      std::vector<Reading> readings;
      for (const Reading& one : from.readings) {
        ALTLAS_TRY_VOID(budget_.spend(2 * static_cast<int64_t>(one.size())));
        for (const Edge& edge : nfa_.states[one[0]].edges) {
          if (edge.lo > symbol || edge.hi < symbol) continue;
          Reading next = one;
          next[0] = edge.to;
          if (follow(next, symbol)) readings.push_back(std::move(next));
        }
      }
      if (readings.empty()) continue;
      ALTLAS_TRY(const uint32_t id, add(std::move(to), std::move(readings)));
      auto& edges = out_.states[index].edges;
      if (!edges.empty() && edges.back().to == id && edges.back().hi + 1 == symbol)
        edges.back().hi = borders[b + 1] - 1;
      else
        edges.push_back({symbol, borders[b + 1] - 1, id});
    }
    return {};
  }

  const Nfa& nfa_;
  const uint32_t first_class_;
  CompileBudget& budget_;
  bool words_ = false;  // The kind of the last character matters.
  const Automaton* one_ = nullptr;
  std::vector<Automaton> behind_;
  std::map<const Expression*, size_t> behind_ids_;  // It is never iterated.
  // The automata of all look-aheads.
  Automaton ahead_;
  std::map<std::pair<const Expression*, uint32_t>, uint32_t> ahead_ids_;  // It is never iterated.
  std::map<uint32_t, uint32_t> word_ids_;
  Automaton out_;
  std::map<std::vector<uint32_t>, uint32_t> ids_;
  std::vector<const std::vector<uint32_t>*> states_;
};

}  // namespace

Result<Automaton> determinize_asserting(const Nfa& nfa, CompileBudget& budget) {
  return AssertingConstruction(nfa, kStart, budget).run();
}

}  // namespace altlas::text::grammar
