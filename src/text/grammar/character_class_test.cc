// Goal: classes of many ranges are right and cheap. Method: patterns that repeat them are compiled,
// and the steps are counted.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/grammar/limits.h"
#include "text/grammar/regex.h"

namespace altlas::text::grammar {
namespace {

// Goal: a repeated class of many ranges costs its few states, not its ranges, so that the steps
// that a few bytes of pattern may take are limited.
TEST(CharacterClass, CompilesInFewStepsWhereverItIsRepeated) {
  struct Row {
    const char* pattern;
    int64_t steps;
    std::vector<std::string> in, out;
  };
  const Row rows[] = {
      {"\\p{L}{1,100}", 18'000'000, {"é", "1ж", "ab"}, {"", "12", "€"}},
      {"^\\p{L}{1,60}$", 10'000'000, {"é", "жa漢", "ab"}, {"", "a1", "a b"}},
      {"[\\p{L}\\p{N}]{2,60}", 9'000'000, {"a1", "٣٤", "  漢字"}, {"", "a", "a b", "-_"}},
      {"^\\p{Lu}\\p{Ll}{0,40} \\p{Lu}", 3'000'000, {"Éa B", "A Bc"}, {"a B", "AB", ""}},
      {"(?:\\P{L}|x){3,30}", 4'000'000, {"123", "1x€"}, {"1a2", "ab"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.pattern);
    CompileBudget budget;
    const auto made = search_match(row.pattern, budget);
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_LT(kCompileStepsMax - budget.steps_left(), row.steps);
    for (const std::string& text : row.in) EXPECT_TRUE(made->matches(text)) << text;
    for (const std::string& text : row.out) EXPECT_FALSE(made->matches(text)) << text;
  }
}

}  // namespace
}  // namespace altlas::text::grammar
