// Automaton: a deterministic finite automaton over bytes and a few symbols more.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/grammar/limits.h"

namespace altlas::text::grammar {

// 0 … 255 are bytes.
inline constexpr uint32_t kTextBegin = 256;  // Before the first byte of a searched text.
inline constexpr uint32_t kTextEnd = 257;    // After the last.
inline constexpr uint32_t kCallBase = 258;   // kCallBase + r: a text of rule r.

struct Edge {
  uint32_t lo = 0;  // Symbols lo … hi.
  uint32_t hi = 0;
  uint32_t to = 0;
};

// Every state can be reached from state 0 and reaches an accepting one. No state: matches nothing.
struct Automaton {
  struct State {
    std::vector<Edge> edges;  // By symbol; apart.
    bool accepts = false;
  };
  std::vector<State> states;

  bool empty() const { return states.empty(); }
  // The next state, or -1.
  int64_t next(uint32_t state, uint32_t symbol) const;
  bool matches(std::string_view text) const;
};

struct Expression;

// What must hold between two characters, without reading any.
enum class Assertion : uint8_t {
  kWordEdge,    // \b
  kNoWordEdge,  // \B
  kAhead,       // (?=…)
  kNotAhead,    // (?!…)
  kBehind,      // (?<=…)
  kNotBehind,   // (?<!…)
};

// With empty moves; made by expressions.
struct Nfa {
  struct AssertedMove {
    uint32_t to = 0;
    Assertion kind = Assertion::kWordEdge;
    const Expression* part = nullptr;  // What a look-around looks for.
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<uint32_t> empty_moves;
    std::vector<AssertedMove> asserted_moves;
  };
  bool asserts = false;  // Some state has asserted moves.
  std::vector<State> states;
  uint32_t start = 0;
  uint32_t end = 0;

  uint32_t add() {
    states.emplace_back();
    return static_cast<uint32_t>(states.size() - 1);
  }
};

Result<Automaton> determinize(const Nfa& nfa, CompileBudget& budget);
// Fewest states. Only worth it before products.
Result<Automaton> minimize(const Automaton& automaton, CompileBudget& budget);
Result<Automaton> intersect(const Automaton& a, const Automaton& b, CompileBudget& budget);
// Every text of symbols up to `last` that `a` does not match. a: of such symbols only.
Result<Automaton> complement(const Automaton& a, CompileBudget& budget, uint32_t last = 255);
// The texts t for which `a` matches kTextBegin t kTextEnd.
Result<Automaton> between_marks(const Automaton& a, CompileBudget& budget);
// How many texts go on from each state; UINT32_MAX: without end, or as many.
std::vector<uint32_t> text_counts(const Automaton& a);
// Drops states that can't be reached or reach nothing.
Automaton trim(Automaton automaton);

}  // namespace altlas::text::grammar
