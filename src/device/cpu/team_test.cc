// Tests of the team: every thread runs once per round, barriers order memory, sleeping threads
// wake.
#include "device/cpu/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

namespace altlas::device {
namespace {

// Goal: in each round each index runs exactly once, and a barrier shows every thread what all wrote
// before it. Method: 1 to 5 threads (more than cores too), 300 rounds of write - barrier - read
// all.
TEST(Team, RoundsAndBarriers) {
  for (const uint32_t threads : {1u, 2u, 3u, 5u}) {
    Team team({.threads = threads});
    std::vector<int> cell(threads, 0), sums(threads, 0);
    for (int round = 1; round <= 300; ++round) {
      team.run([&](uint32_t i) {
        cell[i] += static_cast<int>(i) + 1;
        team.barrier();
        sums[i] = std::accumulate(cell.begin(), cell.end(), 0);
        team.barrier();
      });
      const int want = round * static_cast<int>(threads * (threads + 1) / 2);
      for (const int sum : sums)
        ASSERT_EQ(sum, want) << "threads " << threads << ", round " << round;
    }
    EXPECT_GT(team.busy_ns(), 0);
  }
}

// Goal: threads that went to sleep wake for the next round. Method: pauses longer than spinning and
// yielding take.
TEST(Team, WakesSleepers) {
  Team team({.threads = 2});
  std::atomic<int> runs{0};
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    team.run([&](uint32_t i) {
      if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      ++runs;
    });
  }
  EXPECT_EQ(runs, 6);
}

TEST(Team, SplitCoversEverything) {
  for (const size_t count : {0u, 1u, 7u, 100u}) {
    size_t next = 0;
    for (uint32_t i = 0; i < 3; ++i) {
      const Range range = split(count, i, 3);
      EXPECT_EQ(range.begin, next);
      next = range.end;
    }
    EXPECT_EQ(next, count);
  }
}

}  // namespace
}  // namespace altlas::device
