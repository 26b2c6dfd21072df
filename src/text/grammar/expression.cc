#include "text/grammar/expression.h"

#include <algorithm>
#include <map>
#include <utility>

#include "text/grammar/look_around.h"

namespace altlas::text::grammar {

using Kind = Expression::Kind;

namespace {

ExpressionPtr make(Kind kind, std::vector<ExpressionPtr> parts = {}) {
  auto made = std::make_shared<Expression>();
  made->kind = kind;
  made->parts = std::move(parts);
  return made;
}

}  // namespace

ExpressionPtr nothing() { return make(Kind::kNothing); }

ExpressionPtr bytes(std::string text) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kBytes;
  made->bytes = std::move(text);
  return made;
}

std::vector<CodeRange> complement(std::vector<CodeRange> ranges) {
  std::ranges::sort(ranges, {}, &CodeRange::lo);
  std::vector<CodeRange> out;
  uint32_t next = 0;
  for (const CodeRange& range : ranges) {
    if (range.lo > next) out.push_back({next, range.lo - 1});
    next = std::max(next, range.hi + 1);
  }
  if (next <= kCodePointMax) out.push_back({next, kCodePointMax});
  return out;
}

ExpressionPtr character(std::vector<CodeRange> ranges) {
  constexpr CodeRange kSurrogates{0xD800, 0xDFFF};
  auto outside = complement(std::move(ranges));
  outside.push_back(kSurrogates);
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kCharacter;
  made->ranges = complement(std::move(outside));
  return made;
}

ExpressionPtr any_character() { return character({{0, kCodePointMax}}); }

ExpressionPtr symbol(uint32_t value) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kSymbol;
  made->rule = value;
  return made;
}

ExpressionPtr sequence(std::vector<ExpressionPtr> parts) {
  return parts.size() == 1 ? parts[0] : make(Kind::kSequence, std::move(parts));
}

ExpressionPtr choice(std::vector<ExpressionPtr> parts) {
  return parts.size() == 1 ? parts[0] : make(Kind::kChoice, std::move(parts));
}

ExpressionPtr repeat(ExpressionPtr part, uint32_t min, uint32_t max) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kRepeat;
  made->parts.push_back(std::move(part));
  made->min = min;
  made->max = max;
  return made;
}

ExpressionPtr rule(uint32_t index) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kRule;
  made->rule = index;
  return made;
}

ExpressionPtr assertion(Assertion kind, ExpressionPtr part) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kAssertion;
  made->assertion = kind;
  if (part != nullptr) made->parts.push_back(std::move(part));
  return made;
}

ExpressionPtr embed(Automaton automaton) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kAutomaton;
  made->automaton = std::make_shared<const Automaton>(std::move(automaton));
  return made;
}

ExpressionPtr graph(uint32_t nodes, std::vector<Expression::GraphEdge> edges,
                    std::vector<uint32_t> ends) {
  auto made = std::make_shared<Expression>();
  made->kind = Kind::kGraph;
  made->nodes = nodes;
  made->edges = std::move(edges);
  made->ends = std::move(ends);
  return made;
}

namespace {

// Whether the empty text matches; `known` says it for rules. `visits` counts the expressions that
// are looked at.
bool is_nullable(const Expression& e, const std::vector<bool>& known, int64_t& visits) {
  const auto nullable = [&](const ExpressionPtr& part) {
    return is_nullable(*part, known, visits);
  };
  ++visits;
  switch (e.kind) {
    case Kind::kNothing:
    case Kind::kCharacter:
    case Kind::kSymbol:
      return false;
    case Kind::kBytes:
      return e.bytes.empty();
    case Kind::kSequence:
      return std::ranges::all_of(e.parts, nullable);
    case Kind::kChoice:
      return std::ranges::any_of(e.parts, nullable);
    case Kind::kRepeat:
      return e.min == 0 || nullable(e.parts[0]);
    case Kind::kRule:
      return e.rule < known.size() && known[e.rule];
    case Kind::kAssertion:
      return true;
    case Kind::kAutomaton:
      return !e.automaton->empty() && e.automaton->states[0].accepts;
    case Kind::kGraph: {
      std::vector<char> reached(e.nodes, 0);
      reached[0] = 1;
      for (bool more = true; more;) {
        more = false;
        visits += static_cast<int64_t>(e.edges.size());
        for (const auto& edge : e.edges)
          if (reached[edge.from] && !reached[edge.to] && nullable(edge.label))
            reached[edge.to] = more = true;
      }
      return std::ranges::any_of(e.ends, [&](uint32_t end) { return reached[end] != 0; });
    }
  }
  return false;
}

// Builds an NFA from expressions. `rules` receives rules for large repetitions; if it is null, none
// are made.
class NfaBuilder {
 public:
  NfaBuilder(Rules* rules, std::vector<bool>* nullable, CompileBudget& budget)
      : rules_(rules), nullable_(nullable), budget_(budget) {}

  Result<Nfa> build(const Expression& e) {
    nfa_.start = nfa_.add();
    nfa_.end = nfa_.add();
    ALTLAS_TRY_VOID(add(e, nfa_.start, nfa_.end));
    return std::move(nfa_);
  }

 private:
  uint32_t node() { return nfa_.add(); }
  // Spends steps for the nodes that were added since the last call.
  Result<void> count_nodes() {
    const size_t made = nfa_.states.size() - std::exchange(counted_, nfa_.states.size());
    if (nfa_.states.size() > kGrammarStatesMax) return budget_.add_states(kGrammarStatesMax + 1);
    return budget_.spend(kStateSteps * static_cast<int64_t>(made));
  }
  void skip(uint32_t from, uint32_t to) { nfa_.states[from].empty_moves.push_back(to); }
  void edge(uint32_t from, uint32_t lo, uint32_t hi, uint32_t to) {
    nfa_.states[from].edges.push_back({lo, hi, to});
  }

  Result<void> add(const Expression& e, uint32_t from, uint32_t to) {
    ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(e.bytes.size() + e.ranges.size()) + 2));
    ALTLAS_TRY_VOID(count_nodes());
    switch (e.kind) {
      case Kind::kNothing:
        break;
      case Kind::kBytes:
        add_bytes(e.bytes, from, to);
        break;
      case Kind::kCharacter:
        return add_character(e, from, to);
      case Kind::kSymbol:
        edge(from, e.rule, e.rule, to);
        break;
      case Kind::kSequence: {
        uint32_t at = from;
        for (size_t i = 0; i < e.parts.size(); ++i) {
          const uint32_t next = i + 1 == e.parts.size() ? to : node();
          ALTLAS_TRY_VOID(add(*e.parts[i], at, next));
          at = next;
        }
        if (e.parts.empty()) skip(from, to);
        break;
      }
      case Kind::kChoice:
        for (const ExpressionPtr& part : e.parts) ALTLAS_TRY_VOID(add_apart(*part, from, to));
        break;
      case Kind::kRepeat:
        return add_repeat(e, from, to);
      case Kind::kAssertion:
        nfa_.asserts = true;
        nfa_.states[from].asserted_moves.push_back(
            {to, e.assertion, e.parts.empty() ? nullptr : e.parts[0].get()});
        break;
      case Kind::kRule:
        edge(from, kCallBase + e.rule, kCallBase + e.rule, to);
        break;
      case Kind::kAutomaton:
        return add_automaton(*e.automaton, from, to);
      case Kind::kGraph: {
        std::vector<uint32_t> nodes;
        for (uint32_t i = 0; i < e.nodes; ++i) nodes.push_back(node());
        skip(from, nodes[0]);
        for (const auto& part : e.edges)
          ALTLAS_TRY_VOID(add(*part.label, nodes[part.from], nodes[part.to]));
        for (const uint32_t end : e.ends) skip(nodes[end], to);
        break;
      }
    }
    return {};
  }

  // Adds an expression between nodes of its own, so that a loop in it leads nowhere else.
  Result<void> add_apart(const Expression& e, uint32_t from, uint32_t to) {
    const uint32_t begin = node();
    const uint32_t end = node();
    skip(from, begin);
    skip(end, to);
    return add(e, begin, end);
  }

  void add_bytes(std::string_view text, uint32_t from, uint32_t to) {
    uint32_t at = from;
    for (const char c : text) {
      const uint32_t next = node();
      edge(at, static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
      at = next;
    }
    skip(at, to);
  }

  // A class of many ranges (\p{L} has 650) is added as its smallest automaton, which is made once.
  // Ranges that begin with equal bytes would otherwise be followed separately, wherever the class
  // is repeated.
  Result<void> add_character(const Expression& e, uint32_t from, uint32_t to) {
    constexpr size_t kApart = 4;
    if (e.ranges.size() <= kApart) {
      for (const CodeRange& range : e.ranges) add_range(range.lo, range.hi, from, to);
      return {};
    }
    auto known = classes_.find(&e);
    if (known == classes_.end()) {
      NfaBuilder one(nullptr, nullptr, budget_);
      one.nfa_.start = one.node();
      one.nfa_.end = one.node();
      for (const CodeRange& range : e.ranges)
        one.add_range(range.lo, range.hi, one.nfa_.start, one.nfa_.end);
      ALTLAS_TRY(const Automaton made, determinize(one.nfa_, budget_));
      ALTLAS_TRY(Automaton smallest, minimize(made, budget_));
      known = classes_.emplace(&e, std::move(smallest)).first;
    }
    return add_automaton(known->second, from, to);
  }

  Result<void> add_automaton(const Automaton& automaton, uint32_t from, uint32_t to) {
    ALTLAS_TRY_VOID(budget_.spend(kStateSteps * static_cast<int64_t>(automaton.states.size())));
    const auto base = static_cast<uint32_t>(nfa_.states.size());
    for (const Automaton::State& state : automaton.states) {
      const uint32_t made = node();
      ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(state.edges.size())));
      for (const Edge& e : state.edges) edge(made, e.lo, e.hi, base + e.to);
      if (state.accepts) skip(made, to);
    }
    if (!automaton.empty()) skip(from, base);
    return {};
  }

  // Adds the code points lo … hi, split by their length in UTF-8 so that their leading parts are
  // equal or whole ranges.
  void add_range(uint32_t lo, uint32_t hi, uint32_t from, uint32_t to) {
    for (const uint32_t last : {0x7Fu, 0x7FFu, 0xFFFFu})
      if (lo <= last && hi > last) {
        add_range(lo, last, from, to);
        return add_range(last + 1, hi, from, to);
      }
    const uint32_t length = hi <= 0x7F ? 1 : hi <= 0x7FF ? 2 : hi <= 0xFFFF ? 3 : 4;
    for (uint32_t i = 1; i < length; ++i) {
      const uint32_t tail = (1u << (6 * i)) - 1;
      if ((lo & ~tail) == (hi & ~tail)) continue;
      if ((lo & tail) != 0) {
        add_range(lo, lo | tail, from, to);
        return add_range((lo | tail) + 1, hi, from, to);
      }
      if ((hi & tail) != tail) {
        add_range(lo, (hi & ~tail) - 1, from, to);
        return add_range(hi & ~tail, hi, from, to);
      }
    }
    constexpr uint32_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint32_t at = from;
    for (uint32_t i = length; i-- > 0;) {
      const bool first = i + 1 == length;
      const uint32_t mark = first ? kLead[length] : 0x80;
      const uint32_t mask = first ? 0xFF : 0x3F;
      const uint32_t next = i == 0 ? to : node();
      edge(at, mark | (lo >> (6 * i) & mask), mark | (hi >> (6 * i) & mask), next);
      at = next;
    }
  }

  Result<void> add_repeat(const Expression& e, uint32_t from, uint32_t to) {
    const Expression& part = *e.parts[0];
    const bool unlimited = e.max == kUnlimited;
    const uint32_t fixed = unlimited ? e.min : e.max;
    if (rules_ != nullptr && fixed > kUnrolledMax) {
      int64_t visits = 0;
      const bool nullable = is_nullable(part, *nullable_, visits);
      ALTLAS_TRY_VOID(budget_.spend(visits));
      if (!nullable) return add_counted(e, from, to);
      if (fixed > 64)
        return invalid(
            "a repetition of more than 64 of what may be empty: make the repeated part "
            "match at least one character");
    }
    uint32_t at = node();
    skip(from, at);
    for (uint32_t i = 0; i < fixed; ++i) {
      if (i >= e.min) skip(at, to);
      const uint32_t next = node();
      ALTLAS_TRY_VOID(add_apart(part, at, next));
      at = next;
    }
    if (unlimited) {
      const uint32_t loop = node();
      skip(at, loop);
      ALTLAS_TRY_VOID(add_apart(part, loop, loop));
      at = loop;
    }
    skip(at, to);
    return {};
  }

  // Adds part{min,max} as a call of a rule that counts, and part{min,} as part{min,min}part*.
  Result<void> add_counted(const Expression& e, uint32_t from, uint32_t to) {
    if (rules_->rules.size() >= kGrammarRulesMax)
      return invalid("the grammar needs more than 4096 rules");
    const uint32_t made = rules_->add("repetition");
    Rules::Rule& counted = rules_->rules[made];
    counted.expression = e.parts[0];
    counted.counted = true;
    counted.min = e.min;
    counted.max = e.max == kUnlimited ? e.min : e.max;
    nullable_->push_back(e.min == 0);
    const uint32_t after = e.max == kUnlimited ? node() : to;
    edge(from, kCallBase + made, kCallBase + made, after);
    if (after == to) return {};
    ALTLAS_TRY_VOID(add_apart(*e.parts[0], after, after));
    skip(after, to);
    return {};
  }

  Nfa nfa_;
  size_t counted_ = 0;  // The number of nodes for which steps were spent.
  std::map<const Expression*, Automaton> classes_;
  Rules* rules_;
  std::vector<bool>* nullable_;
  CompileBudget& budget_;
};

}  // namespace

Result<Automaton> automaton_of(const Expression& expression, CompileBudget& budget) {
  ALTLAS_TRY(const Nfa nfa, nfa_of(expression, budget));
  return nfa.asserts ? determinize_asserting(nfa, budget) : determinize(nfa, budget);
}

Result<Nfa> nfa_of(const Expression& expression, CompileBudget& budget) {
  return NfaBuilder(nullptr, nullptr, budget).build(expression);
}

Result<Automaton> automaton_of_rule(Rules& rules, uint32_t index, std::vector<bool>& nullable,
                                    CompileBudget& budget) {
  const ExpressionPtr expression = rules.rules[index].expression;
  ALTLAS_TRY(const Nfa nfa, NfaBuilder(&rules, &nullable, budget).build(*expression));
  return determinize(nfa, budget);
}

Result<std::vector<bool>> nullable_rules(const Rules& rules, CompileBudget& budget) {
  std::vector<bool> known(rules.rules.size(), false);
  for (bool more = true; more;) {
    more = false;
    for (size_t i = 0; i < known.size(); ++i) {
      const Rules::Rule& one = rules.rules[i];
      int64_t visits = 1;
      const bool found = !known[i] && ((one.counted && one.min == 0) ||
                                       is_nullable(*one.expression, known, visits));
      ALTLAS_TRY_VOID(budget.spend(visits));
      if (found) known[i] = more = true;
    }
  }
  return known;
}

}  // namespace altlas::text::grammar
