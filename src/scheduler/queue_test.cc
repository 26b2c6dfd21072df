// Goal: tasks go by priority and age without starvation; positions, limits and expiry hold. Method:
// by hand, and a model of sorted lists under seeded random operations.
#include "scheduler/queue.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/philox.h"

namespace altlas::scheduler {
namespace {

QueueEntry entry(uint64_t task, Priority priority, TimeUs arrived, const QueueLimits& limits = {}) {
  return {.task = task,
          .lane = 0,
          .arrived = arrived,
          .expires = arrived + 3600 * kSecond,
          .turn = turn_of(limits, priority, arrived)};
}
std::vector<uint64_t> order(const WaitingQueue& queue, uint32_t lane = 0) {
  std::vector<uint64_t> out;
  queue.for_each(lane, [&](uint64_t task) {
    out.push_back(task);
    return true;
  });
  return out;
}

TEST(WaitingQueue, ServesByPriorityThenArrivalAndAges) {
  WaitingQueue queue({});
  queue.push(entry(1, Priority::kLow, 0));
  queue.push(entry(2, Priority::kNormal, 1));
  queue.push(entry(3, Priority::kHigh, 2));
  queue.push(entry(4, Priority::kHigh, 3));
  EXPECT_EQ(order(queue), (std::vector<uint64_t>{3, 4, 2, 1}));
  // Two levels are worth 60 s: a high task that comes later than that goes behind the low one.
  queue.push(entry(5, Priority::kHigh, 61 * kSecond));
  EXPECT_EQ(order(queue), (std::vector<uint64_t>{3, 4, 2, 1, 5}));
  EXPECT_EQ(queue.position(1), 4u);
  QueueEntry back = entry(6, Priority::kLow, 70 * kSecond);
  back.front = true;
  queue.push(back);
  EXPECT_EQ(queue.head(0), 6u);
  queue.check_integrity();
}

TEST(WaitingQueue, RanksFollowTheConfiguredLevels) {
  QueueLimits limits;
  limits.rank = {2, 1, 0};  // The low priority is first.
  WaitingQueue queue(limits);
  queue.push(entry(1, Priority::kHigh, 0, limits));
  queue.push(entry(2, Priority::kLow, 5, limits));
  EXPECT_EQ(queue.head(0), 2u);
}

TEST(WaitingQueue, BoundSaysWhenToComeAgain) {
  QueueLimits limits;
  limits.tasks_max = 2;
  WaitingQueue queue(limits);
  EXPECT_TRUE(queue.admits(1, 1, 0, kSecond).ok());
  EXPECT_TRUE(queue.admits(2, 1, 1, kSecond).ok());
  const auto refused = queue.admits(2, 5, 0, 2 * kSecond);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  // There are five too many, and each takes two seconds.
  EXPECT_EQ(refused.error().retry_after_ms(), 10'000);
}

TEST(WaitingQueue, ExpiresInOrder) {
  WaitingQueue queue({});
  QueueEntry a = entry(1, Priority::kNormal, 0), b = entry(2, Priority::kNormal, 0);
  a.expires = 100;
  b.expires = 50;
  queue.push(a);
  queue.push(b);
  EXPECT_EQ(queue.next_expiry(), 50);
  EXPECT_FALSE(queue.expired(49).has_value());
  EXPECT_EQ(queue.expired(100), 2u);
  queue.erase(2);
  EXPECT_EQ(queue.expired(100), 1u);
}

TEST(WaitingQueue, PositionsAgreeWithAModelUnderRandomOperations) {
  PhiloxStream random{.seed = 11};
  WaitingQueue queue({});
  std::vector<uint64_t> in;
  for (uint64_t i = 1; i <= 2000; ++i) {
    const uint64_t what = random.below(3);
    if (what < 2 || in.empty()) {
      QueueEntry e =
          entry(i, static_cast<Priority>(random.below(3)), static_cast<TimeUs>(i) * kMillisecond);
      e.lane = static_cast<uint32_t>(random.below(3));
      queue.push(e);
      in.push_back(i);
    } else {
      const size_t at = random.below(in.size());
      if (random.below(4) == 0) {
        queue.move(in[at], static_cast<uint32_t>(random.below(3)));
      } else {
        queue.erase(in[at]);
        in.erase(in.begin() + static_cast<ptrdiff_t>(at));
      }
    }
  }
  queue.check_integrity();
  size_t sum = 0;
  for (uint32_t lane = 0; lane < 3; ++lane) {
    const auto tasks = order(queue, lane);
    sum += tasks.size();
    EXPECT_EQ(tasks.size(), queue.size(lane));
    for (size_t i = 0; i < tasks.size(); ++i) ASSERT_EQ(queue.position(tasks[i]), i + 1);
  }
  EXPECT_EQ(sum, in.size());
}

}  // namespace
}  // namespace altlas::scheduler
