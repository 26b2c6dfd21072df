// Goal: decimals are exact, and their automata take what the numbers allow. Method: values that a
// double can't tell apart; every small number, compared with integers.
#include "text/grammar/schema/decimal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace altlas::text::grammar::schema {
namespace {

Decimal decimal(std::string_view text) { return decimal_of(json::parse(text)); }

TEST(Decimal, ComparesExactly) {
  EXPECT_TRUE(compare(decimal("9007199254740993"), decimal("9007199254740994")) < 0);
  EXPECT_TRUE(compare(decimal("1e3"), decimal("1000")) == 0);
  EXPECT_TRUE(compare(decimal("-0.0"), decimal("0")) == 0);
  EXPECT_TRUE(compare(decimal("-0.25"), decimal("-0.3")) > 0);
  EXPECT_TRUE(compare(decimal("0.09"), decimal("0.1")) < 0);
}

TEST(Decimal, DividesExactly) {
  EXPECT_TRUE(is_multiple(decimal("0.3"), decimal("0.1")));
  EXPECT_FALSE(is_multiple(decimal("0.35"), decimal("0.1")));
  EXPECT_TRUE(is_multiple(decimal("-21"), decimal("7")));
}

TEST(Decimal, RangesAndMultiplesAreExact) {
  CompileBudget budget;
  const auto range =
      number_range(NumberBound{decimal("-12"), true}, NumberBound{decimal("105"), false},
                   /*integer=*/true, budget);
  const auto sevens = multiples(decimal("7"), /*integer=*/true);
  ASSERT_TRUE(range.ok() && sevens);
  for (int n = -150; n <= 150; ++n) {
    const std::string text = fmt::to_string(n);
    EXPECT_EQ(range->matches(text), n > -12 && n <= 105) << n;
    EXPECT_EQ(sevens->matches(text), n % 7 == 0) << n;
  }
}

}  // namespace
}  // namespace altlas::text::grammar::schema
