#include "ops/experts/choose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: the experts with the largest probabilities are chosen, in the order of index. Method: the
// same in double, by sorting.
TEST(ChooseExperts, TakesTheLargest) {
  for (const size_t count : {1, 4, 60, 128})
    for (const size_t used : {size_t{1}, std::min<size_t>(count, 8), count})
      for (const bool normalized : {false, true}) {
        SCOPED_TRACE(::testing::Message() << used << " of " << count);
        auto logits = altlas::testing::normals(count, 7 + count);
        for (float& logit : logits) logit *= 4;
        std::vector<uint32_t> got(used), want(count);
        std::vector<float> weights(used);
        choose_experts(logits, normalized, got, weights);
        std::iota(want.begin(), want.end(), 0u);
        std::ranges::stable_sort(want, [&](auto a, auto b) { return logits[a] > logits[b]; });
        double all = 0, chosen = 0;
        for (size_t i = 0; i < count; ++i) {
          const double e = std::exp(static_cast<double>(logits[want[i]]));
          all += e;
          chosen += i < used ? e : 0;
        }
        want.resize(used);
        std::ranges::sort(want);
        EXPECT_EQ(got, want);
        for (size_t i = 0; i < used; ++i)
          EXPECT_NEAR(weights[i],
                      std::exp(static_cast<double>(logits[got[i]])) / (normalized ? chosen : all),
                      1e-6);
      }
}

// Goal: of equal logits the lower index is chosen; a NaN leads to no index outside the list, and
// shows.
TEST(ChooseExperts, TiesAndNan) {
  const float ties[] = {1, 2, 2, 2, 0};
  uint32_t experts[2];
  float weights[2];
  choose_experts(ties, true, experts, weights);
  EXPECT_EQ(experts[0], 1u);
  EXPECT_EQ(experts[1], 2u);
  EXPECT_EQ(weights[0], 0.5f);
  const float nan = std::nanf("");
  const float bad[] = {nan, nan, nan};
  choose_experts(bad, true, experts, weights);
  EXPECT_LT(experts[0], experts[1]);
  EXPECT_LT(experts[1], 3u);
  EXPECT_TRUE(std::isnan(weights[0]));
}

}  // namespace
}  // namespace altlas::ops
