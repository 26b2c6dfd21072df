// Goal: automata are right, and made in near-linear time. Method: patterns whose smallest automata
// are known; the steps for sizes that differ by a factor of two.
#include "text/grammar/automaton.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/grammar/regex.h"

namespace altlas::text::grammar {
namespace {

Automaton smallest(const std::string& pattern) {
  CompileBudget budget;
  auto whole = whole_match(pattern, budget);
  EXPECT_TRUE(whole.ok()) << whole.error().message();
  auto made = minimize(*whole, budget);
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *std::move(made);
}

TEST(Automaton, TheSmallestHasAStatePerDifferentRest) {
  struct Row {
    const char* pattern;
    size_t states;
    std::vector<std::string> in, out;
  };
  const Row rows[] = {
      {"(?:aa|ab|ba|bb){3}", 7, {"ababab", "aaaaaa"}, {"", "ababa", "abababa"}},
      {"ab|cb|eb", 3, {"ab", "cb", "eb"}, {"a", "b", "abb"}},
      {"a{3}|b{3}", 6, {"aaa", "bbb"}, {"aab", "bb", ""}},
      {"(?:a|b)*a(?:a|b){5}", 64, {"aaaaaa", "babbbbb"}, {"aaaaa", "bbbbbb"}},
      {"(?:abc)*", 3, {"", "abc", "abcabc"}, {"a", "abca"}},
      {"x*(?:yx*yx*)*", 2, {"", "xyxyx", "yy"}, {"y", "xyyxy"}},
      {"[a-c]x|[d-f]x|[g-i]y", 4, {"ax", "fx", "hy"}, {"gx", "ay"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.pattern);
    const Automaton made = smallest(row.pattern);
    EXPECT_EQ(made.states.size(), row.states);
    for (const std::string& text : row.in) EXPECT_TRUE(made.matches(text)) << text;
    for (const std::string& text : row.out) EXPECT_FALSE(made.matches(text)) << text;
  }
}

// Goal: twice the states take about twice the steps, in whatever order they fall apart; a
// refinement that goes over all states in every round takes four times as many.
TEST(Automaton, TheSmallestIsFoundInNearLinearTime) {
  const auto steps = [](const std::string& part, int count) {
    CompileBudget making, minimizing;
    const auto whole = whole_match(part + "{1," + std::to_string(count) + "}", making);
    EXPECT_TRUE(whole.ok()) << whole.error().message();
    EXPECT_TRUE(minimize(*whole, minimizing).ok());
    return kCompileStepsMax - minimizing.steps_left();
  };
  for (const char* part : {"a", "(?:ab|c)", "[a-z0-9]", "(?:xyz?)", "\\p{Nd}"}) {
    SCOPED_TRACE(part);
    const int64_t once = steps(part, 100), twice = steps(part, 200);
    EXPECT_LT(once, 1'000'000);
    EXPECT_LT(twice, 3 * once);
  }
}

// Goal: a class of five bytes is not searched for among all characters each time that it is named.
TEST(Automaton, ClassesByNameAreBounded) {
  for (const char* name : {"\\p{L}", "\\P{Lu}", "\\W", "[^\\p{N}]"}) {
    SCOPED_TRACE(name);
    std::string few, many;
    for (int i = 0; i < 20; ++i) few += name;
    for (int i = 0; i < 20'000; ++i) many += name;
    EXPECT_TRUE(read_regex(few, true).ok());
    EXPECT_FALSE(read_regex(many, true).ok());
  }
}

}  // namespace
}  // namespace altlas::text::grammar
