// Named limits of grammars from outside, and the budget that stops a compilation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace altlas::text::grammar {

inline constexpr size_t kGrammarBytesMax = 256u << 10;    // Of a schema, a pattern or rules.
inline constexpr size_t kGrammarNestingMax = 96;          // Groups in groups, schemas in schemas.
inline constexpr size_t kGrammarRulesMax = 4'096;         // Made ones counted.
inline constexpr size_t kGrammarStatesMax = 200'000;      // Of all rules' automata together.
inline constexpr int64_t kCompileStepsMax = 30'000'000;   // About a quarter of a second.
inline constexpr uint32_t kRepetitionMax = 1'000'000;     // The largest n of {m,n}.
inline constexpr uint32_t kUnrolledMax = 8;               // Larger repetitions count at run time.
inline constexpr uint32_t kStackDepthMax = 1'000;         // Rules in rules while matching.
inline constexpr size_t kHeadsMax = 512;                  // Readings of one text followed at once.
inline constexpr size_t kMatchCacheBytesMax = 64u << 20;  // Configurations and masks per grammar.

// Work left for one compilation.
class Budget {
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
  Result<void> add_states(size_t count) {
    states_ += count;
    if (states_ > kGrammarStatesMax)
      return invalid(
          "the grammar needs more than 200000 states: use smaller repetitions or fewer "
          "alternatives");
    return {};
  }

 private:
  int64_t steps_ = kCompileStepsMax;
  size_t states_ = 0;
};

}  // namespace altlas::text::grammar
