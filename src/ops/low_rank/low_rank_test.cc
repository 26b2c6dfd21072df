#include "ops/low_rank/low_rank.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: every SIMD target is near the product in double, and all give the same bits.
TEST(LowRank, EveryTargetMatchesReference) {
  for (const uint32_t rank : {1, 3, 16, 64})
    for (const uint32_t cols : {1, 15, 64, 900})
      for (const uint32_t rows : {1, 17, 128}) {
        const auto a = testing::normals(rank * cols, 1), b = testing::normals(rank * rows, 2),
                   x = testing::normals(cols, 3), y = testing::normals(rows, 4);
        const LowRankPair pair{rows, cols, rank, a.data(), b.data()};
        auto want = y;
        add_low_rank_ref(pair, x.data(), want.data());
        std::vector<float> first;
        for_each_target([&](const std::string& target) {
          SCOPED_TRACE(target + " rank=" + std::to_string(rank) + " cols=" + std::to_string(cols) +
                       " rows=" + std::to_string(rows));
          auto got = y;
          add_low_rank_cpu(pair, x.data(), got.data());
          EXPECT_TRUE(testing::near_all(got, want, 1e-3f));
          if (first.empty()) first = got;
          EXPECT_TRUE(testing::same_bits(got, first));
        });
      }
}

}  // namespace
}  // namespace altlas::ops
