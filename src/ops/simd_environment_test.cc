// Lets tests run on the SIMD target that ALTLAS_SIMD names, as the program does, so that a machine
// with more can stand in for one with less. It is part of the test program of every room that
// depends on ops.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/simd.h"

namespace altlas::ops {
namespace {

class SimdOfTheEnvironment : public ::testing::Environment {
  void SetUp() override {
    const char* name = std::getenv("ALTLAS_SIMD");
    if (name == nullptr || *name == 0) return;
    const Result<SimdTarget> target = parse_simd_target(name);
    ASSERT_TRUE(target.ok()) << target.error().message();
    const Result<void> set = set_simd_target(*target);
    ASSERT_TRUE(set.ok()) << set.error().message();
  }
};

[[maybe_unused]] const ::testing::Environment* const kAdded =
    ::testing::AddGlobalTestEnvironment(new SimdOfTheEnvironment);

TEST(SimdEnvironment, IsTheTarget) {
  const char* name = std::getenv("ALTLAS_SIMD");
  if (name == nullptr || *name == 0)
    EXPECT_TRUE(simd_keeps_bits(simd_target()));
  else
    EXPECT_EQ(to_string(simd_target()), name);
}

}  // namespace
}  // namespace altlas::ops
