#include "text/grammar/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

namespace {

bool is_call(const Edge& edge) { return edge.hi >= kCallBase; }

// Returns the steps for a look at all states and edges. A call may stand for many rules, so it
// costs more.
int64_t steps_of(const Automaton& automaton) {
  int64_t steps = 4;
  for (const Automaton::State& state : automaton.states) {
    steps += static_cast<int64_t>(state.edges.size()) + 1;
    for (const Edge& edge : state.edges)
      if (is_call(edge)) steps += edge.hi - edge.lo;
  }
  return steps;
}

// Drops calls of rules that match no text, until every state reaches an end.
Result<void> drop_unproductive(std::vector<Automaton>& automata, CompileBudget& budget) {
  for (bool more = true; more;) {
    more = false;
    for (Automaton& automaton : automata) {
      ALTLAS_TRY_VOID(budget.spend(2 * steps_of(automaton)));
      bool changed = false;
      for (Automaton::State& state : automaton.states) {
        if (std::ranges::none_of(state.edges, is_call)) continue;
        ALTLAS_TRY_VOID(budget.spend(kStateSteps));
        std::vector<Edge> kept;
        for (const Edge& edge : state.edges) {
          if (!is_call(edge)) {
            kept.push_back(edge);
            continue;
          }
          for (uint32_t s = edge.lo; s <= edge.hi; ++s)
            if (!automata[s - kCallBase].empty()) kept.push_back({s, s, edge.to});
        }
        changed |= kept.size() != state.edges.size();
        state.edges = std::move(kept);
      }
      if (!changed) continue;
      const size_t before = automaton.states.size();
      ALTLAS_TRY_VOID(budget.spend(kStateSteps * static_cast<int64_t>(before)));
      automaton = trim(std::move(automaton));
      more |= automaton.states.size() != before;
    }
  }
  return {};
}

// Returns which rules have a finite text. drop_unproductive() keeps rules that call themselves for
// ever (a ::= "x" a); a rule is finite if some text needs no such calls.
Result<std::vector<char>> finite_rules(const std::vector<Automaton>& automata,
                                       CompileBudget& budget) {
  std::vector<char> finite(automata.size(), 0);
  for (bool more = true; more;) {
    more = false;
    for (size_t r = 0; r < automata.size(); ++r) {
      if (finite[r] || automata[r].empty()) continue;
      ALTLAS_TRY_VOID(
          budget.spend(4 * steps_of(automata[r]) +
                       2 * kStateSteps * static_cast<int64_t>(automata[r].states.size())));
      Automaton only = automata[r];
      for (auto& state : only.states)
        std::erase_if(state.edges, [&](const Edge& edge) {
          for (uint32_t s = edge.lo; is_call(edge) && s <= edge.hi; ++s)
            if (finite[s - kCallBase]) return false;
          return is_call(edge);
        });
      if (!trim(std::move(only)).empty()) finite[r] = more = 1;
    }
  }
  return finite;
}

// Returns the rules that rule `r` may call before it has read a byte.
std::vector<uint32_t> first_calls(const Automaton& automaton, const std::vector<char>& nullable) {
  std::vector<uint32_t> calls, work{0};
  std::vector<char> seen(automaton.states.size(), 0);
  while (!work.empty()) {
    const uint32_t s = work.back();
    work.pop_back();
    if (std::exchange(seen[s], 1)) continue;
    for (const Edge& edge : automaton.states[s].edges)
      for (uint32_t c = edge.lo; is_call(edge) && c <= edge.hi; ++c) {
        calls.push_back(c - kCallBase);
        if (nullable[c - kCallBase]) work.push_back(edge.to);
      }
  }
  return calls;
}

Result<std::vector<char>> nullable_automata(const std::vector<Automaton>& automata,
                                            const Rules& rules, CompileBudget& budget) {
  std::vector<char> nullable(automata.size(), 0);
  for (bool more = true; more;) {
    more = false;
    for (size_t r = 0; r < automata.size(); ++r) {
      if (nullable[r] || automata[r].empty()) continue;
      ALTLAS_TRY_VOID(budget.spend(2 * steps_of(automata[r]) + kStateSteps));
      std::vector<uint32_t> work{0};
      std::vector<char> seen(automata[r].states.size(), 0);
      bool found = rules.rules[r].counted && rules.rules[r].min == 0;
      while (!work.empty() && !found) {
        const uint32_t s = work.back();
        work.pop_back();
        if (std::exchange(seen[s], 1)) continue;
        found |= automata[r].states[s].accepts;
        for (const Edge& edge : automata[r].states[s].edges)
          for (uint32_t c = edge.lo; is_call(edge) && c <= edge.hi; ++c)
            if (nullable[c - kCallBase]) work.push_back(edge.to);
      }
      if (found) nullable[r] = more = 1;
    }
  }
  return nullable;
}

// Errors: kInvalid names a rule that calls itself before it reads anything.
Result<void> check_left_recursion(const std::vector<Automaton>& automata, const Rules& rules,
                                  CompileBudget& budget) {
  ALTLAS_TRY(const std::vector<char> nullable, nullable_automata(automata, rules, budget));
  std::vector<std::vector<uint32_t>> calls;
  for (const Automaton& automaton : automata)
    calls.push_back(automaton.empty() ? std::vector<uint32_t>() : first_calls(automaton, nullable));
  std::vector<char> color(automata.size(), 0);  // 1: on the path; 2: done.
  for (uint32_t root = 0; root < automata.size(); ++root) {
    std::vector<std::pair<uint32_t, size_t>> path;
    if (color[root] == 0) path.emplace_back(root, 0);
    while (!path.empty()) {
      auto& [r, next] = path.back();
      color[r] = 1;
      if (next == calls[r].size()) {
        color[r] = 2;
        path.pop_back();
        continue;
      }
      const uint32_t to = calls[r][next++];
      if (color[to] == 1)
        return invalid(
            fmt::format("rule '{}' leads to itself before it reads a character: left "
                        "recursion is not supported",
                        rules.rules[to].name));
      if (color[to] == 0) path.emplace_back(to, 0);
    }
  }
  return {};
}

void append_rule(Program& program, const Automaton& automaton, uint32_t index,
                 const Rules::Rule& rule) {
  const auto base = static_cast<uint32_t>(program.states.size());
  Program::Rule& made = program.rules[index];
  made.start = base;
  made.counted = rule.counted;
  made.distinct = rule.distinct;
  made.min = rule.min;
  made.max = rule.max;
  program.remembers |= rule.distinct;
  const std::vector<uint32_t> texts =
      rule.distinct ? text_counts(automaton) : std::vector<uint32_t>(automaton.states.size(), 0);
  for (size_t s = 0; s < automaton.states.size(); ++s) {
    Program::State state;
    state.rule = index;
    state.texts = texts[s];
    state.counts = rule.counted && s == 0;
    state.accepts = rule.counted ? s == 0 : automaton.states[s].accepts;
    for (const Edge& edge : automaton.states[s].edges) {
      // A counted rule's round ends at an accepting state, and the rule is at its start again.
      const Automaton::State& target = automaton.states[edge.to];
      const bool ends = rule.counted && target.accepts;
      const bool goes_on = !ends || !target.edges.empty();
      const auto add = [&](uint32_t to) {
        if (is_call(edge)) {
          for (uint32_t c = edge.lo; c <= edge.hi; ++c) state.calls.push_back({c - kCallBase, to});
        } else {
          state.bytes.push_back({static_cast<uint8_t>(edge.lo), static_cast<uint8_t>(edge.hi), to});
        }
      };
      if (ends) add(base);
      if (goes_on) add(base + edge.to);
    }
    program.bytes += sizeof state + state.bytes.size() * sizeof(Program::ByteEdge) +
                     state.calls.size() * sizeof(Program::Call);
    program.states.push_back(std::move(state));
  }
}

// Finds the bytes that can come after each rule, as a fixed point over states and rules.
Result<void> find_follows(Program& program, CompileBudget& budget) {
  int64_t round = 0;  // The steps of one round.
  for (const Program::State& state : program.states)
    round += 2 + 4 * static_cast<int64_t>(state.calls.size());
  std::vector<std::bitset<256>> ahead(program.states.size());
  for (size_t s = 0; s < ahead.size(); ++s)
    for (const Program::ByteEdge& edge : program.states[s].bytes)
      for (uint32_t b = edge.lo; b <= edge.hi; ++b) ahead[s].set(b);
  for (bool more = true; more;) {
    more = false;
    ALTLAS_TRY_VOID(budget.spend(round));
    for (size_t s = ahead.size(); s-- > 0;) {
      const Program::State& state = program.states[s];
      const std::bitset<256> before = ahead[s];
      for (const Program::Call& call : state.calls) {
        ahead[s] |= ahead[program.rules[call.rule].start];
        std::bitset<256>& follow = program.rules[call.rule].follow;
        const std::bitset<256> joined = follow | ahead[call.to];
        more |= joined != follow;
        follow = joined;
      }
      if (state.accepts) ahead[s] |= program.rules[state.rule].follow;
      more |= ahead[s] != before;
    }
  }
  for (Program::Rule& rule : program.rules) {
    if (!rule.counted) continue;
    std::bitset<256> first;  // The first bytes of a round.
    const Program::State& start = program.states[rule.start];
    for (const Program::ByteEdge& edge : start.bytes)
      for (uint32_t b = edge.lo; b <= edge.hi; ++b) first.set(b);
    for (const Program::Call& call : start.calls) first |= ahead[program.rules[call.rule].start];
    rule.ends_clearly = (first & rule.follow).none();
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Program>> compile_rules(Rules rules, CompileBudget& budget,
                                                     std::vector<Unheld> unheld) {
  ALTLAS_TRY(std::vector<bool> nullable, nullable_rules(rules, budget));
  std::vector<Automaton> automata;
  // Repetitions add rules on the way.
  for (uint32_t r = 0; r < rules.rules.size(); ++r) {
    ALTLAS_TRY(Automaton automaton, automaton_of_rule(rules, r, nullable, budget));
    automata.push_back(std::move(automaton));
  }
  ALTLAS_TRY_VOID(drop_unproductive(automata, budget));
  ALTLAS_TRY(const std::vector<char> finite, finite_rules(automata, budget));
  for (size_t r = 0; r < automata.size(); ++r)
    if (!finite[r]) automata[r] = Automaton();
  ALTLAS_TRY_VOID(drop_unproductive(automata, budget));
  if (automata[0].empty())
    return invalid("no text matches: the constraints contradict each other or never end");
  ALTLAS_TRY_VOID(check_left_recursion(automata, rules, budget));
  auto program = std::make_shared<Program>();
  program->unheld = std::move(unheld);
  program->rules.resize(rules.rules.size());
  for (uint32_t r = 0; r < automata.size(); ++r)
    append_rule(*program, automata[r], r, rules.rules[r]);
  for (const Program::State& state : program->states)
    for (const Program::Call& call : state.calls)
      program->rules[state.rule].remembers |= program->rules[call.rule].distinct;
  ALTLAS_TRY_VOID(find_follows(*program, budget));
  program->bytes += program->rules.size() * sizeof(Program::Rule);
  return std::shared_ptr<const Program>(std::move(program));
}

Result<std::shared_ptr<const Program>> compile(const Grammar& grammar) {
  if (grammar.text.size() > kGrammarBytesMax)
    return invalid(fmt::format("has {} bytes, at most {} are compiled", grammar.text.size(),
                               kGrammarBytesMax));
  switch (grammar.kind) {
    case GrammarKind::kNone:
      break;
    case GrammarKind::kJsonObject:
      return compile_json_schema(R"({"type": "object"})");
    case GrammarKind::kJsonSchema:
      return compile_json_schema(grammar.text);
    case GrammarKind::kRegex:
      return compile_regex(grammar.text);
    case GrammarKind::kGbnf:
      return compile_gbnf(grammar.text);
  }
  return invalid("no grammar");
}

}  // namespace altlas::text::grammar
