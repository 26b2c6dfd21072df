#include "ops/layer_norm/layer_norm.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: every SIMD target is near the reference, and all give the same bits. Method: seeded normals
// far from zero, ragged widths.
TEST(LayerNorm, EveryTargetMatchesReference) {
  for (const size_t cols : {1, 3, 16, 17, 384, 1023}) {
    auto x = testing::normals(3 * cols, 42);
    for (float& value : x) value = 3 * value + 5;
    const auto gamma = testing::normals(cols, 43), beta = testing::normals(cols, 44);
    std::vector<float> want(x.size()), first;
    layer_norm_ref(x, gamma, beta, 1e-12f, want);
    for_each_target([&](const std::string& target) {
      SCOPED_TRACE(target + " cols=" + std::to_string(cols));
      std::vector<float> got = x;
      layer_norm_cpu(got, gamma, beta, 1e-12f, got);
      for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-5);
      if (first.empty()) first = got;
      EXPECT_TRUE(testing::same_bits(got, first));
    });
  }
}

}  // namespace
}  // namespace altlas::ops
