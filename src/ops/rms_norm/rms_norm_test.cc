#include "ops/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: every SIMD target that this CPU has is near the reference, and all give the same bits.
// Method: seeded normals, ragged widths.
TEST(RmsNorm, EveryTargetMatchesReference) {
  for (const size_t cols : {1, 3, 7, 17, 896, 4096}) {
    const auto x = testing::normals(3 * cols, /*seed=*/42),
               gamma = testing::normals(cols, /*seed=*/43);
    std::vector<float> want(x.size()), first;
    rms_norm_ref(x, gamma, 1e-6f, want);
    for_each_target([&](const std::string& target) {
      SCOPED_TRACE(target + " cols=" + std::to_string(cols));
      std::vector<float> got(x.size());
      rms_norm_cpu(x, gamma, 1e-6f, got);
      EXPECT_TRUE(testing::near_all(got, want, /*rel=*/1e-5f));
      if (first.empty()) first = got;
      EXPECT_TRUE(testing::same_bits(got, first));
    });
  }
}

// Goal: values that overflow, and those that are not finite, show in the whole row and in no other.
TEST(RmsNorm, WhatIsNotFiniteShows) {
  for (const size_t cols : {7, 33, 64})
    for (const float bad : {1e20f, -3e38f, INFINITY, NAN}) {
      auto x = testing::normals(3 * cols, 3);
      const std::vector<float> gamma(cols, 0.5f);
      x[cols + cols / 2] = bad;
      std::vector<float> want(x.size());
      rms_norm_ref(x, gamma, 1e-6f, want);
      for_each_target([&](const std::string& target) {
        SCOPED_TRACE(target + " cols=" + std::to_string(cols));
        std::vector<float> got(x.size());
        rms_norm_cpu(x, gamma, 1e-6f, got);
        for (size_t i = 0; i < x.size(); ++i) {
          EXPECT_EQ(std::isnan(got[i]), i / cols == 1) << i;
          EXPECT_EQ(std::isnan(want[i]), i / cols == 1) << i;
        }
      });
    }
}

// Goal: x and y may be the same memory.
TEST(RmsNorm, InPlace) {
  auto x = testing::normals(2 * 33, 1);
  const auto gamma = testing::normals(33, 2);
  std::vector<float> want(x.size());
  rms_norm_cpu(x, gamma, 1e-5f, want);
  rms_norm_cpu(x, gamma, 1e-5f, x);
  EXPECT_TRUE(testing::same_bits(x, want));
}

}  // namespace
}  // namespace altlas::ops
