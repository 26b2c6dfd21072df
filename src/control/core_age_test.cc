// Goal: one aging rule holds in the queue and in the batches: a replica is told the turn by which
// the queue orders, and a task keeps it whatever becomes of its replica. Method: as core_test.cc.
#include <gtest/gtest.h>

#include <vector>

#include "control/core.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

constexpr TimeUs kCame = 1'000'000'000;  // The harness's first time.

struct Case {
  const char* name;
  std::vector<Priority> levels;
  int64_t age_step_us;
  Priority priority;
  TimeUs asked;  // 0: the time when the task came.
  uint8_t level;
  TimeUs turn;
};
const std::vector<Priority> kUsual = {Priority::kHigh, Priority::kNormal, Priority::kLow};
const Case kCases[] = {
    {"first level", kUsual, 30 * kSecond, Priority::kHigh, 0, 0, kCame},
    {"second level", kUsual, 30 * kSecond, Priority::kNormal, 0, 1, kCame + 30 * kSecond},
    {"third level", kUsual, 30 * kSecond, Priority::kLow, 0, 2, kCame + 60 * kSecond},
    {"another step", kUsual, 7 * kSecond, Priority::kLow, 0, 2, kCame + 14 * kSecond},
    {"no step", kUsual, 0, Priority::kLow, 0, 2, kCame},
    {"other levels",
     {Priority::kLow, Priority::kHigh, Priority::kNormal},
     kSecond,
     Priority::kNormal,
     0,
     2,
     kCame + 2 * kSecond},
    {"refused before", kUsual, kSecond, Priority::kLow, kCame - 90 * kSecond, 2,
     kCame - 88 * kSecond},
    {"a clock that went back", kUsual, kSecond, Priority::kLow, kCame + kSecond, 2,
     kCame + 2 * kSecond},
};

TEST(CoreAge, ReplicasAreToldTheQueuesTurnAndItStays) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    CoreSetup setup = test_setup(1);
    setup.priority_levels = one.levels;
    setup.age_step_us = one.age_step_us;
    CoreHarness h(setup);
    h.start();
    TaskSpec spec = h.spec();
    spec.priority = one.priority;
    spec.asked = one.asked;
    h.one(spec);
    for (size_t run = 0; run < 3; ++run) {
      ASSERT_EQ(h.runs.size(), run + 1);
      EXPECT_EQ(h.runs[run].command.level, one.level);
      EXPECT_EQ(h.runs[run].command.turn, one.turn);
      if (run == 2) break;
      h.live.erase(h.runs[run].replica);
      h.step(WorkerLost{{h.runs[run].replica}, "killed by signal 9"});
      h.advance(kBackoffMinUs << run);
      h.load_all();
    }
  }
}

// Goal: a task that was refused for want of room and is submitted again goes before those that came
// while it waited.
TEST(CoreAge, WhatAsksAgainHasKeptItsAge) {
  CoreSetup setup = test_setup(1, 1);
  setup.age_step_us = 10 * kSecond;
  CoreHarness h(setup);
  h.start();
  h.one(h.spec());
  const auto submit = [&](Priority priority, TimeUs asked) {
    TaskSpec spec = h.spec();
    spec.priority = priority;
    spec.asked = asked;
    return h.one(spec).task;
  };
  const TaskId young = submit(Priority::kLow, 0);
  const TaskId normal = submit(Priority::kNormal, 0);
  const TaskId old = submit(Priority::kLow, h.now - 11 * kSecond);
  const TaskId older = submit(Priority::kLow, h.now - 30 * kSecond);
  for (const TaskId& want : {older, old, normal, young}) {
    h.finish(h.runs.back());
    EXPECT_EQ(h.view(want).status, TaskStatus::kRunning);
  }
}

}  // namespace
}  // namespace altlas::control
