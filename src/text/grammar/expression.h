// Expression: what the readers of schemas, patterns and rules make, and automata are made of.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/grammar/automaton.h"

namespace altlas::text::grammar {

struct Expression;
using ExpressionPtr = std::shared_ptr<const Expression>;

// Code points lo … hi.
struct CodeRange {
  uint32_t lo = 0;
  uint32_t hi = 0;
  friend bool operator==(const CodeRange&, const CodeRange&) = default;
};

inline constexpr uint32_t kUnlimited = UINT32_MAX;
inline constexpr uint32_t kCodePointMax = 0x10FFFF;

// An immutable tree; parts may be shared.
struct Expression {
  enum class Kind : uint8_t {
    kNothing,    // Matches no text.
    kBytes,      // `bytes` as they are.
    kCharacter,  // One code point of `ranges`, as UTF-8.
    kSymbol,     // One symbol, `rule`: kTextBegin or kTextEnd.
    kSequence,   // `parts` one after another; none: the empty text.
    kChoice,     // One of `parts`.
    kRepeat,     // parts[0], `min` to `max` times.
    kRule,       // Another rule.
    kAutomaton,  // `automaton`.
    kGraph,      // From node 0 along `edges` to a node of `ends`.
    kAssertion,  // `assertion`, of parts[0] if it is look-around. In automaton_of only.
  };
  struct GraphEdge {
    uint32_t from = 0;
    uint32_t to = 0;
    ExpressionPtr label;
  };

  Kind kind = Kind::kNothing;
  std::string bytes;
  std::vector<CodeRange> ranges;  // Sorted, apart.
  std::vector<ExpressionPtr> parts;
  uint32_t min = 0;
  uint32_t max = 0;
  uint32_t rule = 0;
  Assertion assertion = Assertion::kWordEdge;
  std::shared_ptr<const Automaton> automaton;
  std::vector<GraphEdge> edges;
  std::vector<uint32_t> ends;
  uint32_t nodes = 0;
};

ExpressionPtr nothing();
ExpressionPtr bytes(std::string text);
// Sorts and joins the ranges; surrogates are taken out, they have no UTF-8.
ExpressionPtr character(std::vector<CodeRange> ranges);
ExpressionPtr symbol(uint32_t symbol);
ExpressionPtr sequence(std::vector<ExpressionPtr> parts);
ExpressionPtr choice(std::vector<ExpressionPtr> parts);
ExpressionPtr repeat(ExpressionPtr part, uint32_t min, uint32_t max);
inline ExpressionPtr optional(ExpressionPtr part) { return repeat(std::move(part), 0, 1); }
ExpressionPtr rule(uint32_t rule);
ExpressionPtr embed(Automaton automaton);
ExpressionPtr graph(uint32_t nodes, std::vector<Expression::GraphEdge> edges,
                    std::vector<uint32_t> ends);
ExpressionPtr assertion(Assertion kind, ExpressionPtr part = nullptr);
// Any code point.
ExpressionPtr any_character();

// All code points that are not in `ranges`.
std::vector<CodeRange> complement(std::vector<CodeRange> ranges);

// The automaton of an expression without rules; repetitions are written out.
// Errors: kInvalid over the budget.
Result<Automaton> automaton_of(const Expression& expression, CompileBudget& budget);
// Its NFA. The expression outlives it.
Result<Nfa> nfa_of(const Expression& expression, CompileBudget& budget);

// Rules that call each other; rule 0 is the root.
struct Rules {
  struct Rule {
    std::string name;  // For messages.
    ExpressionPtr expression;
    // Counted: the rule is its expression repeated min … max times. The expression isn't empty.
    bool counted = false;
    uint32_t min = 0;
    uint32_t max = 0;
    bool distinct = false;  // See Program::Rule.
  };
  std::vector<Rule> rules;

  // Its expression is to be set before compiling.
  uint32_t add(std::string name) {
    rules.push_back({std::move(name), nullptr, false, 0, 0, false});
    return static_cast<uint32_t>(rules.size() - 1);
  }
};

// The automaton of rule `index`, calls as symbols. Adds rules for large repetitions.
// nullable: of every rule that was there before, whether it matches the empty text.
Result<Automaton> automaton_of_rule(Rules& rules, uint32_t index, std::vector<bool>& nullable,
                                    CompileBudget& budget);
// Which rules match the empty text.
Result<std::vector<bool>> nullable_rules(const Rules& rules, CompileBudget& budget);

}  // namespace altlas::text::grammar
