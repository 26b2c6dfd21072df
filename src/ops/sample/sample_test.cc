#include "ops/sample/sample.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "ops/sample/row_sampler.h"
#include "ops/sample/test_row.h"
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

// Returns the probabilities after temperature, in double.
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
    TestRow row(kCount, /*threads=*/2);
    row.sample(logits, {.samples = false, .likely = 0, .known = 77});
    const LogSum sum = row.sampler().log_sum();
    EXPECT_EQ(sum.largest, *std::ranges::max_element(logits));
    EXPECT_NEAR(sum.log_sum, std::log(want), 1e-6) << target;
    if (first == 0) first = sum.log_sum;
    EXPECT_EQ(first, sum.log_sum) << target;
    EXPECT_EQ(row.sampler().known_logit(), logits[77]);
  });
}

TEST(Sample, LikeliestAreSorted) {
  auto logits = logits_of(2);
  logits[17] = logits[4000] = logits[3000] = 50;  // The lowest id of equal ones comes first.
  logits[5] = std::nanf("");
  std::vector<float> equal(kCount, 1.5f);
  equal[3] = -std::numeric_limits<float>::infinity();
  for (const auto& some : {logits, equal}) {
    std::vector<int32_t> order(kCount);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
      const auto of = [&](int32_t id) {
        const float l = some[static_cast<size_t>(id)];
        return std::isnan(l) ? -INFINITY : l;
      };
      return of(a) > of(b);
    });
    for (const uint32_t threads : {1u, 3u})
      for (const int32_t n : {0, 1, 3, kTopLogprobsMax}) {
        TestRow row(kCount, threads);
        row.sample(some, {.params = {.temperature = 1}, .likely = n});
        std::array<TokenLogit, kTopLogprobsMax> got;
        ASSERT_EQ(row.sampler().likeliest(got), static_cast<size_t>(n));
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) EXPECT_EQ(got[i].id, order[i]);
      }
  }
}

// Goal: the best of pieces looked at in order is the best of the whole, also with equals, with NaN,
// and if all are -infinity.
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
    TestRow row(kCount, /*threads=*/2);
    for (int n = 0; n < kDraws; ++n)
      ++drawn[row.sample(logits, {.params = params, .position = static_cast<uint64_t>(n)})];
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

// Goal: a token depends on logits, question and position alone. Method: every way to draw, with and
// without reports, on every target, for several teams and pieces.
TEST(Sample, SameTokenOnEveryTargetForEveryTeam) {
  auto logits = logits_of(4);
  // Rounded logits make ties.
  for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);
  const std::vector<TokenCount> counts = {{3, 2}, {200, 0}, {4096, 1}};
  std::vector<uint64_t> allowed((kCount + 63) / 64 - 3, 0x5555'5555'5555'7777u);
  std::vector<SampleAsk> asks;
  for (const float temperature : {0.0f, 0.7f, 1.0f, 40.0f})
    for (const int32_t top_k : {0, 2, 40, 3000})
      for (const float top_p : {1.0f, 0.95f, 0.01f, 0.0f})
        asks.push_back({.params = {.temperature = temperature, .top_k = top_k, .top_p = top_p}});
  asks.push_back({.params = {.temperature = 1, .min_p = 0.01f}});
  asks.push_back({.params = {.temperature = 1, .frequency_penalty = 1, .counts = counts}});
  asks.push_back({.params = {.temperature = 1, .top_p = 0.9f}, .masked = true, .allowed = allowed});
  asks.push_back({.params = {.temperature = 1e-30f}});
  for (SampleAsk& ask : asks)
    for (uint64_t position = 0; position < 3; ++position) {
      ask.params.seed = 5;
      ask.position = position;
      ask.likely = position == 2 ? 5 : -1;
      int32_t first = -1;
      for_each_target([&](const std::string& target) {
        for (const uint32_t threads : {1u, 2u, 7u, 30u}) {
          const int32_t id = TestRow(kCount, threads).sample(logits, ask, 1 + threads % 3);
          if (first < 0) first = id;
          EXPECT_EQ(id, first) << target << " " << threads << " top_k " << ask.params.top_k
                               << " top_p " << ask.params.top_p;
        }
      });
      if (ask.masked) EXPECT_TRUE(allowed[static_cast<size_t>(first) / 64] >> (first % 64) & 1);
    }
}

// Goal: logits without a distribution give the likeliest token, or the lowest id if there is none.
TEST(Sample, DegenerateLogits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> none(300, -kInfinity), one = none, infinite = none, broken = none;
  one[299] = -5;
  infinite[40] = infinite[270] = kInfinity;
  broken.assign(300, std::nanf(""));
  for (const SampleParams& params :
       {SampleParams{.temperature = 1}, SampleParams{.temperature = 1, .top_k = 3},
        SampleParams{.temperature = 1, .top_p = 0.9f},
        SampleParams{.temperature = 1, .min_p = 0.1f}}) {
    TestRow row(300, 2);
    EXPECT_EQ(row.sample(none, {.params = params}), 0);
    EXPECT_EQ(row.sample(one, {.params = params}), 299);
    EXPECT_EQ(row.sample(infinite, {.params = params}), 40);
    EXPECT_EQ(row.sample(broken, {.params = params}), 0);
    auto some = one;
    some[7] = std::nanf("");
    EXPECT_EQ(row.sample(some, {.params = params}), 299);
  }
  TestRow row(300, 2);
  row.sample(none, {.likely = 5});
  std::array<TokenLogit, kTopLogprobsMax> likely;
  EXPECT_EQ(row.sampler().likeliest(likely), 0u);
}

TEST(Sample, BiasPenaltiesAndBans) {
  const std::vector<float> logits = {1, 5, 4, -2, 3};
  TestRow row(5);
  const std::vector<std::pair<int32_t, float>> bias = {{-1, 9.0f}, {0, 3.5f}, {99, 9.0f}};
  auto changed = logits;
  change_logits({.logit_bias = bias}, 0, changed.data(), 5);
  EXPECT_EQ(changed, (std::vector<float>{4.5f, 5, 4, -2, 3}));
  EXPECT_EQ(row.sample(logits, {.params = {.logit_bias = bias}}), 1);
  const std::vector<TokenCount> counts = {{1, 2}, {3, 0}};
  const SampleParams penalised{.repetition_penalty = 2,
                               .presence_penalty = 0.25f,
                               .frequency_penalty = 0.5f,
                               .counts = counts};
  changed = logits;
  change_logits(penalised, 0, changed.data(), 5);
  EXPECT_EQ(changed, (std::vector<float>{1, 1.25f, 4, -4, 3}));
  changed = {-2, 3};  // The changed logits of ids 3 and 4.
  change_logits(penalised, 3, changed.data(), 2);
  EXPECT_EQ(changed, (std::vector<float>{-4, 3}));
  EXPECT_EQ(row.sample(logits, {.params = penalised}), 2);
  const std::vector<int32_t> banned = {-7, 0, 1, 2};
  EXPECT_EQ(row.sample(logits, {.params = {.banned = banned}}), 4);
}

// Goal: samplers of rows that never ask cost no memory. Method: a sampler over memory that must not
// be touched.
TEST(RowSampler, TouchesNothingBeforeItBegins) {
  const size_t bytes = RowSampler::bytes(200'000, 2);
  void* memory = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const RowSampler sampler(static_cast<std::byte*>(memory), 200'000, 2);
  EXPECT_EQ(sampler.known_logit(), 0);
  ::munmap(memory, bytes);
}

}  // namespace
}  // namespace altlas::ops
