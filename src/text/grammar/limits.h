// Named limits of grammars from outside, and the budget that stops a compilation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace altlas::text::grammar {

// The limit of a schema, a pattern or rules.
inline constexpr size_t kGrammarBytesMax = 256u << 10;
inline constexpr size_t kGrammarNestingMax = 96;   // Groups in groups, schemas in schemas.
inline constexpr size_t kGrammarRulesMax = 4'096;  // Made ones counted.
// The limit of a schema's $id and $anchor.
inline constexpr size_t kReferencesBytesMax = 4u << 20;
inline constexpr size_t kUnheldMax = 256;  // Keywords named as left out.
// The limit of all rules' automata together.
inline constexpr size_t kGrammarStatesMax = 200'000;
inline constexpr int64_t kCompileStepsMax = 30'000'000;   // About half a second.
inline constexpr int64_t kStateSteps = 6;                 // What a state costs beside its edges.
inline constexpr uint32_t kRepetitionMax = 1'000'000;     // The largest n of {m,n}.
inline constexpr uint32_t kUnrolledMax = 8;               // Larger repetitions count at run time.
inline constexpr uint32_t kStackDepthMax = 1'000;         // Rules in rules while matching.
inline constexpr size_t kHeadsMax = 512;                  // Readings of one text followed at once.
inline constexpr size_t kMatchCacheBytesMax = 64u << 20;  // Configurations and masks per grammar.

// Work left for one compilation. A step is up to 20 ns: four looks at an edge or a member of a set,
// or an insertion into a map. All that grows with the grammar is to be counted.
class CompileBudget {
 public:
  // Errors: kInvalid once more than kCompileStepsMax were spent.
  Result<void> spend(int64_t steps) {
    steps_ -= steps;
    if (steps_ < 0)
      return invalid(
          "the grammar is too complex to compile: use smaller repetitions or fewer "
          "alternatives");
    return {};
  }
  // Errors: kInvalid once they are more than kGrammarStatesMax, or as spend(): they take work.
  Result<void> add_states(size_t count) {
    states_ += count;
    if (states_ > kGrammarStatesMax)
      return invalid(
          "the grammar needs more than 200000 states: use smaller repetitions or fewer "
          "alternatives");
    return spend(kStateSteps * static_cast<int64_t>(count));
  }
  int64_t steps_left() const { return steps_; }
  bool is_spent() const { return steps_ < 0 || states_ > kGrammarStatesMax; }
  // For a part that may fail without failing the whole: three quarters of what is left.
  CompileBudget share() const {
    CompileBudget part = *this;
    part.steps_ = steps_ / 4 * 3;
    part.states_ = states_ + (kGrammarStatesMax - states_) / 4;
    return part;
  }
  // What a share used since it was given; one that failed gives its states back.
  void settle(const CompileBudget& part, bool failed) {
    const int64_t kept = steps_ - steps_ / 4 * 3;
    steps_ = kept + part.steps_;
    if (!failed) states_ = part.states_ - (kGrammarStatesMax - states_) / 4;
  }

 private:
  int64_t steps_ = kCompileStepsMax;
  size_t states_ = 0;
};

}  // namespace altlas::text::grammar
