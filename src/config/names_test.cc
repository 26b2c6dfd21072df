#include "config/names.h"

#include <gtest/gtest.h>

namespace altlas {
namespace {

// Goal: every printed name parses to its value. Method: all values of an enum, there and back.
TEST(Names, RoundTrip) {
  for (const EnumName& row : kStrategyNames) {
    const auto value = parse_enum<Strategy>(row.name);
    ASSERT_TRUE(value.ok());
    EXPECT_EQ(to_string(*value), row.name);
  }
  EXPECT_EQ(to_string(Strategy::kEarliestFinish), "earliest_finish");
  EXPECT_EQ(to_string(Priority::kLow), "low");
  EXPECT_EQ(to_string(Role::kMetrics), "metrics");
}

// Goal: second spellings are understood but the first is printed. Method: vLLM's dtype names.
TEST(Names, SecondSpellings) {
  EXPECT_EQ(*parse_enum<WeightType>("bfloat16"), WeightType::kBf16);
  EXPECT_EQ(*parse_enum<WeightType>("half"), WeightType::kF16);
  EXPECT_EQ(to_string(WeightType::kBf16), "bf16");
  EXPECT_EQ(list_names(names_of(KvType{})), "f16, bf16, f32, q8_0");
}

// Goal: an unknown name is answered with the allowed ones and the nearest. Method: a typing
// mistake, nonsense, 1 MiB.
TEST(Names, Errors) {
  const auto near = parse_enum<Strategy>("least_load");
  ASSERT_FALSE(near.ok());
  EXPECT_NE(near.error().message().find("did you mean least_loaded?"), std::string::npos);
  EXPECT_NE(near.error().message().find("round_robin, least_loaded"), std::string::npos);
  const auto far = parse_enum<Priority>("Q");
  ASSERT_FALSE(far.ok());
  EXPECT_EQ(far.error().message(), "'Q' is not one of high, normal, low");
  EXPECT_FALSE(parse_enum<Priority>("").ok());
  const auto huge = parse_enum<Priority>(std::string(1 << 20, 'h'));
  ASSERT_FALSE(huge.ok());
  EXPECT_LT(huge.error().message().size(), 200u);
}

}  // namespace
}  // namespace altlas
