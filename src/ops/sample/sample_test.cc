#include "ops/sample/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {
constexpr size_t kCount = 5003;

std::vector<float> logits_of(uint64_t seed) {
  auto logits = testing::normals(kCount, seed);
  for (float& l : logits) l *= 3;
  return logits;
}

// Probabilities after temperature, in double.
std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p(logits.size());
  const double top = *std::ranges::max_element(logits);
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp((logits[i] - top) / temperature);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

TEST(Sample, ArgmaxTiesAndNan) {
  for_each_target([](const std::string& target) {
    SCOPED_TRACE(target);
    for (const size_t count : {1, 5, 16, 63, 64, 65, 5003}) {
      auto logits = testing::normals(count, count);
      EXPECT_EQ(argmax_cpu(logits.data(), count), argmax_ref(logits.data(), count));
      const float top = 9;
      logits[count / 2] = top;
      logits[count - 1] = top;
      EXPECT_EQ(argmax_cpu(logits.data(), count), static_cast<int32_t>(count / 2));
      logits[0] = NAN;
      EXPECT_EQ(argmax_cpu(logits.data(), count), argmax_ref(logits.data(), count));
    }
  });
}

TEST(Sample, LogSumNearLibraryAndSameBits) {
  const auto logits = logits_of(1);
  double want = 0;
  for (const float l : logits) want += std::exp(static_cast<double>(l));
  double first = 0;
  for_each_target([&](const std::string& target) {
    const LogSum sum = log_sum_cpu(logits.data(), logits.size());
    EXPECT_NEAR(sum.log_sum, std::log(want), 1e-6) << target;
    if (first == 0) first = sum.log_sum;
    EXPECT_EQ(first, sum.log_sum) << target;
  });
}

TEST(Sample, TopIdsAreSortedPrefix) {
  auto logits = logits_of(2);
  logits[17] = logits[4000] = logits[3000] = 50;  // Ties by lowest id.
  std::vector<int32_t> order(kCount);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (const size_t n : {size_t{0}, size_t{1}, size_t{3}, size_t{20}, kCount, kCount + 5}) {
    order.resize(kCount);
    std::vector<int32_t> got(n);
    got.resize(top_ids(logits.data(), kCount, got));
    EXPECT_EQ(got, std::vector<int32_t>(order.begin(),
                                        order.begin() + static_cast<long>(std::min(n, kCount))));
  }
}

// Goal: the best of pieces looked at in order is the best of the whole, also among equals, NaN and
// nothing but -infinity.
TEST(Sample, BestOfPieces) {
  for (const uint64_t seed : {1, 2, 3}) {
    auto logits = logits_of(seed);
    logits[7] = std::nanf("");
    const size_t last = logits.size() - 3;
    logits[last] = logits[static_cast<size_t>(argmax_ref(logits.data(), logits.size()))];
    for (const size_t piece : {size_t{1}, size_t{5}, size_t{100}, logits.size()}) {
      Best best;
      for (size_t i = 0; i < logits.size(); i += piece)
        best_cpu(&logits[i], std::min(piece, logits.size() - i), static_cast<int32_t>(i), best);
      EXPECT_EQ(best.id, argmax_ref(logits.data(), logits.size()));
    }
  }
  const std::vector<float> none(20, -std::numeric_limits<float>::infinity());
  Best best;
  best_cpu(none.data(), none.size(), 40, best);
  EXPECT_EQ(best.id, 0);
}

// Goal: draws follow the distribution that the parameters describe, and only its support is drawn.
// Method: 20,000 positions; expected sets by full sort in double; frequencies of the best tokens
// within 4 sigma.
TEST(Sample, DrawsFollowDistribution) {
  const auto logits = logits_of(3);
  struct Case {
    float temperature;
    int32_t top_k;
    float top_p, min_p;
  };
  for (const Case& c : {Case{1, 0, 1, 0}, Case{0.7f, 5, 1, 0}, Case{1, 0, 0.5f, 0},
                        Case{1.5f, 50, 0.8f, 0}, Case{1, 0, 1, 0.2f}, Case{0.9f, 0, 0.9f, 0.1f}}) {
    const SampleParams params{.temperature = c.temperature,
                              .top_k = c.top_k,
                              .top_p = c.top_p,
                              .min_p = c.min_p,
                              .seed = 7};
    auto p = softmax(logits, c.temperature);
    std::vector<size_t> order(kCount);
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return p[a] > p[b]; });
    size_t keep = c.top_k > 0 ? static_cast<size_t>(c.top_k) : kCount;
    double mass = 0;
    for (size_t i = 0; i < keep; ++i) mass += p[order[i]];
    double sum = 0;
    for (size_t i = 0; i < keep && c.top_p < 1; ++i)
      if ((sum += p[order[i]]) >= c.top_p * mass) keep = i + 1;
    while (keep > 1 && p[order[keep - 1]] < c.min_p * p[order[0]]) --keep;
    mass = 0;
    for (size_t i = 0; i < keep; ++i) mass += p[order[i]];
    std::map<int32_t, int> drawn;
    constexpr int kDraws = 20000;
    for (int n = 0; n < kDraws; ++n) {
      auto copy = logits;
      ++drawn[sample_cpu(copy.data(), kCount, params, static_cast<uint64_t>(n))];
    }
    for (const auto& [id, n] : drawn)
      EXPECT_LT(std::ranges::find(order, static_cast<size_t>(id)) - order.begin(),
                static_cast<long>(keep))
          << id;
    for (size_t i = 0; i < std::min<size_t>(keep, 5); ++i) {
      const double want = p[order[i]] / mass;
      EXPECT_NEAR(drawn[static_cast<int32_t>(order[i])] / double{kDraws}, want,
                  4 * std::sqrt(want * (1 - want) / kDraws) + 1e-9);
    }
  }
}

// Goal: every target draws the same token.
TEST(Sample, SameTokenOnEveryTarget) {
  const auto logits = logits_of(4);
  for (const float top_p : {1.0f, 0.9f})
    for (uint64_t position = 0; position < 20; ++position) {
      int32_t first = -1;
      for_each_target([&](const std::string& target) {
        auto copy = logits;
        const int32_t id = sample_cpu(copy.data(), kCount,
                                      {.temperature = 1, .top_p = top_p, .seed = 5}, position);
        if (first < 0) first = id;
        EXPECT_EQ(id, first) << target;
      });
    }
}

TEST(Sample, BiasPenaltiesAndBans) {
  std::vector<float> logits = {1, 5, 4, -2, 3};
  const std::vector<std::pair<int32_t, float>> bias = {{-1, 9.0f}, {0, 3.5f}, {99, 9.0f}};
  EXPECT_EQ(sample_cpu(logits.data(), 5, {.logit_bias = bias}, 0), 1);
  EXPECT_FLOAT_EQ(logits[0], 4.5f);
  const std::vector<TokenCount> counts = {{1, 2}, {3, 0}};
  logits = {1, 5, 4, -2, 3};
  EXPECT_EQ(sample_cpu(logits.data(), 5,
                       {.repetition_penalty = 2,
                        .presence_penalty = 0.25f,
                        .frequency_penalty = 0.5f,
                        .counts = counts},
                       0),
            2);
  EXPECT_FLOAT_EQ(logits[1], 1.25f);
  EXPECT_FLOAT_EQ(logits[3], -4);
  const std::vector<int32_t> banned = {2, 0, 1, -7};
  logits = {1, 5, 4, -2, 3};
  EXPECT_EQ(sample_cpu(logits.data(), 5, {.banned = banned}, 0), 4);
}

}  // namespace
}  // namespace altlas::ops
