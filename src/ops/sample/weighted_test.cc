// Goal: what top_p leaves is the shortest run of heaviest tokens, and draws find the token at a
// share. Method: a full sort in double, for weights over many octaves, equal weights, and counts
// around the kernels' widths.
#include "ops/sample/weighted.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/philox.h"
#include "ops/target_scope.h"

namespace altlas::ops {
namespace {

struct List {
  std::vector<float> weights;
  std::vector<int32_t> ids;
  WeightedTokens tokens() { return {weights.data(), ids.data(), weights.size()}; }
};

// `octaves` is how far the weights spread, `levels` the number of different weights; 0: any.
List random_list(size_t count, double octaves, double levels, PhiloxStream& random) {
  List list;
  for (size_t i = 0; i < count; ++i) {
    double exponent = octaves * static_cast<double>(random.below(1 << 20)) / (1 << 20);
    if (levels > 0) exponent = std::round(exponent / octaves * levels) * octaves / levels;
    list.weights.push_back(static_cast<float>(std::exp2(-exponent)));
    list.ids.push_back(static_cast<int32_t>(3 * i + 1));
  }
  if (count > 0) list.weights[random.below(count)] = 1;
  return list;
}

TEST(WeightedTokens, HeaviestAreTheShortestRun) {
  for_each_target([](const std::string& target) {
    PhiloxStream random{.seed = 11};
    for (const size_t count : {1, 2, 15, 16, 17, 300, 5000})
      for (const double octaves : {0.01, 3.0, 12.0, 60.0})
        for (const double levels : {0.0, 4.0})
          for (const double share : {0.0, 0.01, 0.5, 0.95, 0.9999, 2.0}) {
            List list = random_list(count, octaves, levels, random);
            std::vector<size_t> order(count);
            std::iota(order.begin(), order.end(), size_t{0});
            std::ranges::stable_sort(
                order, [&](size_t a, size_t b) { return list.weights[a] > list.weights[b]; });
            const double total = std::accumulate(list.weights.begin(), list.weights.end(), 0.0),
                         wanted = share * total;
            // Rounding may end the run within these bounds.
            const auto run_to = [&](double weight) {
              double sum = 0;
              size_t kept = 0;
              while (kept < count && (kept == 0 || sum < weight))
                sum += list.weights[order[kept++]];
              return kept;
            };
            const size_t least = run_to(wanted - 1e-5 * total),
                         most = run_to(wanted + 1e-5 * total);
            const List before = list;
            WeightedTokens tokens = list.tokens();
            tokens.keep_heaviest(wanted);
            SCOPED_TRACE(::testing::Message() << target << " " << count << " " << octaves << " "
                                              << levels << " " << share);
            ASSERT_GE(tokens.count, least);
            ASSERT_LE(tokens.count, most);
            order.resize(tokens.count);
            std::ranges::sort(order);
            for (size_t i = 0; i < tokens.count; ++i) {
              ASSERT_EQ(tokens.ids[i], before.ids[order[i]]);
              ASSERT_EQ(tokens.weights[i], before.weights[order[i]]);
            }
          }
  });
}

TEST(WeightedTokens, DrawFindsTheShare) {
  PhiloxStream random{.seed = 12};
  for (const size_t count : {1, 17, 256, 257, 3000}) {
    List list = random_list(count, 5, 0, random);
    const WeightedTokens tokens = list.tokens();
    const double total = std::accumulate(list.weights.begin(), list.weights.end(), 0.0);
    EXPECT_NEAR(tokens.total(), total, 1e-5 * total);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      const double middle = (sum + list.weights[i] / 2) / total;
      sum += list.weights[i];
      if (list.weights[i] > 1e-3)
        EXPECT_EQ(tokens.draw(static_cast<float>(middle), -1), list.ids[i]);
    }
    EXPECT_EQ(tokens.draw(1.0f, -1), list.ids.back());
  }
  EXPECT_EQ((WeightedTokens{nullptr, nullptr, 0}).draw(0.5f, 7), 7);
}

}  // namespace
}  // namespace altlas::ops
