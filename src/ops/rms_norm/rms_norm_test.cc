#include "ops/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

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
