// Tests of the team: every thread runs once per round, barriers order memory, waiting threads
// park and wake, and all come after io threads.
#include "device/cpu/team.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
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

// The CPU time that a thread has used.
int64_t used_ns(clockid_t clock) {
  timespec time{};
  EXPECT_EQ(::clock_gettime(clock, &time), 0);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// Whether the thread stops using CPU: true once it uses none in 50 ms of this thread's CPU time. A
// thread that spins or yields always uses some, whatever else runs; the answer is then false, after
// 40 windows, when parking is long due.
bool parks(clockid_t clock) {
  for (int window = 0; window < 40; ++window) {
    const int64_t before = used_ns(clock), own = used_ns(CLOCK_THREAD_CPUTIME_ID);
    while (used_ns(CLOCK_THREAD_CPUTIME_ID) - own < 50'000'000) {
    }
    if (used_ns(clock) == before) return true;
  }
  return false;
}

// Goal: threads that wait for a round, or for others in a barrier, park in the kernel and wake for
// what comes. Method: the clocks of their CPU time stand still, and each round still has them all.
TEST(Team, WaitingThreadsPark) {
  constexpr uint32_t kThreads = 3;
  Team team({.threads = kThreads});
  std::array<clockid_t, kThreads> clocks{};
  std::atomic<int> runs{0};
  team.run([&](uint32_t i) { EXPECT_EQ(pthread_getcpuclockid(pthread_self(), &clocks[i]), 0); });
  for (int round = 0; round < 2; ++round) {
    for (uint32_t i = 1; i < kThreads; ++i) EXPECT_TRUE(parks(clocks[i])) << "before a round " << i;
    team.run([&](uint32_t i) {
      ++runs;
      for (uint32_t other = 1; i == 0 && other < kThreads; ++other)
        EXPECT_TRUE(parks(clocks[other])) << "in a barrier " << other;
      team.barrier();
      ++runs;
    });
  }
  EXPECT_EQ(runs, 2 * 2 * static_cast<int>(kThreads));
}

// Goal: the check above can fail. Method: a thread that only spins.
TEST(Team, ASpinningThreadDoesNotPark) {
  std::atomic<bool> over{false}, ready{false};
  clockid_t clock{};
  std::thread spins([&] {
    EXPECT_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
    ready = true;
    while (!over) {
    }
  });
  while (!ready) std::this_thread::yield();
  const int64_t before = used_ns(clock), own = used_ns(CLOCK_THREAD_CPUTIME_ID);
  while (used_ns(CLOCK_THREAD_CPUTIME_ID) - own < 50'000'000) {
  }
  EXPECT_GT(used_ns(clock), before);
  over = true;
  spins.join();
}

// Goal: threads of a team, and its leader from adopt_caller() on, have a lower priority than the
// others of the process and stay on one CPU each. Method: ask the kernel; the priority of a leader
// that serves two teams is lowered once.
TEST(Team, ComesAfterIoThreads) {
  const auto priority = [] {
    return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
  };
  const auto cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    EXPECT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
    return CPU_COUNT(&set);
  };
  const int io = priority(), lower = std::min(io + 1, 19);
  std::thread([&] {
    Team first({.threads = 2}), second({.threads = 2});
    for (Team* team : {&first, &second}) {
      team->adopt_caller();
      team->run([&](uint32_t i) {
        EXPECT_EQ(priority(), lower) << "thread " << i;
        EXPECT_EQ(cpus(), 1) << "thread " << i;
      });
    }
  }).join();
  EXPECT_EQ(priority(), io);
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
