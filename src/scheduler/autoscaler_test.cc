// Goal: decisions are Ray Serve's (compared line by line in tests/test_autoscaling.py), the load is
// condensed rightly, and a constant load brings no oscillation.
#include "scheduler/autoscaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace altlas::scheduler {
namespace {

using ::testing::HasSubstr;

AutoscalerSettings settings(uint32_t min_replicas, uint32_t max_replicas) {
  AutoscalerSettings out;
  out.min_replicas = min_replicas;
  out.max_replicas = max_replicas;
  return out;
}

TEST(Autoscaler, ADecisionHoldsForItsWholeDelay) {
  AutoscalerSettings s = settings(1, 8);
  AutoscalerState state;
  EXPECT_EQ(decide(s, {10, 1, 1}, 0, state).target, 1u);
  EXPECT_EQ(decide(s, {10, 1, 1}, 29 * kSecond, state).target, 1u);
  // A moment without it begins anew.
  EXPECT_EQ(decide(s, {2, 1, 1}, 29 * kSecond, state).target, 1u);
  EXPECT_EQ(decide(s, {10, 1, 1}, 30 * kSecond, state).target, 1u);
  const AutoscalerDecision made = decide(s, {10, 1, 1}, 60 * kSecond, state);
  EXPECT_EQ(made.target, 5u);
  EXPECT_THAT(made.reason, HasSubstr("10 ongoing requests on 1 running replicas"));
}

TEST(Autoscaler, FactorsBoundsAndTheLastStep) {
  AutoscalerSettings s = settings(0, 4);
  s.upscale_delay_us = s.downscale_delay_us = 0;
  AutoscalerState state;
  s.upscaling_factor = 0.5;
  EXPECT_EQ(decide(s, {8, 1, 1}, 1, state).target, 3u);  // 1 + 0.5 x 3, rounded up.
  s.upscaling_factor = 1;
  const AutoscalerDecision most = decide(s, {80, 1, 1}, 1, state);
  EXPECT_EQ(most.target, 4u);
  EXPECT_EQ(most.desired, 40);
  EXPECT_THAT(most.reason, HasSubstr("max_replicas is 4"));
  // Rounding would stick at 4: one less.
  s.downscaling_factor = 0.1;
  EXPECT_EQ(decide(s, {2, 4, 4}, 1, state).target, 3u);
  // Only the last one leaves none, after its own delay.
  s.downscaling_factor = 1;
  EXPECT_EQ(decide(s, {0, 4, 4}, 1, state).target, 1u);
  s.downscale_to_zero_delay_us = 5 * kSecond;
  EXPECT_EQ(decide(s, {0, 1, 1}, 2, state).target, 1u);
  EXPECT_EQ(decide(s, {0, 1, 1}, 2 + 5 * kSecond, state).target, 0u);
  EXPECT_EQ(decide(s, {0, 0, 0}, 3 + 5 * kSecond, state).target, 0u);
  EXPECT_EQ(decide(s, {1, 0, 0}, 3 + 5 * kSecond, state).target, 1u);
}

TEST(LoadWindow, CondensesAStepFunction) {
  LoadWindow load;
  load.set(0, 2, 10 * kSecond);
  load.set(4 * kSecond, 6, 10 * kSecond);
  load.set(8 * kSecond, 0, 10 * kSecond);
  EXPECT_DOUBLE_EQ(load.condensed(10 * kSecond, 10 * kSecond, Aggregation::kMean), 3.2);
  EXPECT_DOUBLE_EQ(load.condensed(10 * kSecond, 10 * kSecond, Aggregation::kMax), 6);
  EXPECT_DOUBLE_EQ(load.condensed(10 * kSecond, 10 * kSecond, Aggregation::kMin), 0);
  EXPECT_NEAR(load.condensed(16 * kSecond, 10 * kSecond, Aggregation::kMean), 1.2, 0.01);
  EXPECT_DOUBLE_EQ(load.condensed(60 * kSecond, 10 * kSecond, Aggregation::kMean), 0);
  EXPECT_DOUBLE_EQ(load.condensed(60 * kSecond, 10 * kSecond, Aggregation::kMax), 0);
}

// Goal: memory is bounded however often the number changes, and the mean stays right.
TEST(LoadWindow, ManyChangesTakeFewPieces) {
  LoadWindow load;
  const int64_t look_back = 30 * kSecond;
  double area = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const uint32_t ongoing = static_cast<uint32_t>(i % 7);
    load.set(i * 60, ongoing, look_back);  // A minute in all.
    if (i * 60 >= 30 * kSecond) area += ongoing * 60.0;
  }
  const TimeUs end = 1'000'000 * 60;
  EXPECT_NEAR(load.condensed(end, look_back, Aggregation::kMean), area / look_back, 0.01);
  EXPECT_LE(std::get<0>(LoadWindow::saved(load)).size(), 2200u);
}

// Goal: under a constant load the number of replicas settles, whatever the parameters (Ray's own
// formula oscillates with a downscaling factor above 1, which configurations warn of). Replicas
// that were asked for run after `lag` seconds.
TEST(Autoscaler, AConstantLoadBringsNoOscillation) {
  for (const double factor : {0.1, 0.3, 0.5, 1.0})
    for (const double up : {0.2, 0.5, 1.0})
      for (const double target : {0.5, 1.0, 2.0, 5.0, 7.3})
        for (const int ongoing : {0, 1, 2, 3, 7, 10, 31, 100})
          for (const int delay : {0, 3, 30})
            for (const int lag : {0, 1, 17}) {
              AutoscalerSettings s = settings(ongoing % 2, 64);
              s.upscaling_factor = up;
              s.downscaling_factor = factor;
              s.target_ongoing_requests = target;
              s.upscale_delay_us = s.downscale_delay_us = delay * kSecond;
              AutoscalerState state;
              std::vector<uint32_t> targets = {1};
              for (int t = 0; t < 1500; ++t) {
                const size_t then = targets.size() - 1 - std::min<size_t>(lag, targets.size() - 1);
                // What is not wanted any more does not run; what is wanted runs a little later.
                const uint32_t running = std::min(targets.back(), targets[then]);
                targets.push_back(decide(s, {static_cast<double>(ongoing), running, targets.back()},
                                         t * kSecond, state)
                                      .target);
              }
              const std::set<uint32_t> last(targets.end() - 500, targets.end());
              ASSERT_EQ(last.size(), 1u)
                  << "factors " << up << " " << factor << ", target " << target << ", ongoing "
                  << ongoing << ", delay " << delay << ", lag " << lag;
              const double needed = std::ceil(ongoing / target);
              ASSERT_GE(*last.begin(), std::min(needed, 64.0));
            }
}

}  // namespace
}  // namespace altlas::scheduler
