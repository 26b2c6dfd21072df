// Goal: one key's many requests leave room in the queue for others', while they are read and while
// they wait, and are served in rounds with them; a request that its share can never hold is refused
// for good. Method: the core alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

// Asks for `tasks` places at a time until there are none. Returns how many were given.
uint32_t admitted(CoreHarness& h, uint64_t& ticket, const std::string& owner, uint32_t tasks = 1) {
  uint32_t given = 0;
  for (;; given += tasks) {
    h.step(AdmissionRequested{++ticket, owner, "", tasks});
    if (!h.admissions.at(ticket).ok()) break;
  }
  EXPECT_EQ(h.admissions.at(ticket).error().code(), ErrorCode::kBusy);
  return given;
}

TEST(CoreShares, OfTheQueueLeaveRoomForOthers) {
  struct Row {
    uint32_t queue, deployment, first, second, nobody;
  };
  for (const Row& row : {Row{100, 1000, 75, 19, 6}, Row{1000, 100, 75, 19, 6},
                         Row{3, 1000, 3, 0, 0}, Row{1, 1000, 1, 0, 0}, Row{16, 1000, 12, 3, 1}}) {
    CoreSetup setup = test_setup(1);
    setup.max_queue_size = row.queue;
    setup.deployments[0].max_queued = row.deployment;
    CoreHarness h(setup);
    h.step(Started{});  // No replica runs, so only the queue has room.
    uint64_t ticket = 0;
    EXPECT_EQ(admitted(h, ticket, "mallory"), row.first) << row.queue;
    EXPECT_EQ(admitted(h, ticket, "ada"), row.second) << row.queue;
    EXPECT_EQ(admitted(h, ticket, ""), row.nobody) << row.queue;
    h.step(AdmissionReleased{1});
    EXPECT_EQ(admitted(h, ticket, ""), 1u) << "what one gives back others may have";
    h.core.check_integrity();
  }
}

// Goal: one key's backlog does not hold up another's task, in the core and in the replica that is
// told the turns.
TEST(CoreShares, OwnersAreServedInRounds) {
  struct Row {
    uint32_t places;  // The replica's places; half of them compute from the start.
    int backlog, others;
    const char* other;
    int64_t later_us;
    // Whether the core is saved and loaded in between, as where an event log's second file begins.
    bool saved;
    int before;  // The most of the backlog's tasks that may start once the others have come.
  };
  for (const Row& row :
       {Row{1, 30, 1, "ada", kSecond, false, 1}, Row{4, 60, 3, "ada", 1, true, 2},
        Row{2, 50, 5, "", 3600 * kSecond, false, 5}, Row{8, 20, 1, "eve", 0, true, 1}}) {
    SCOPED_TRACE(row.backlog);
    CoreSetup setup = test_setup(1, row.places);
    setup.queue_timeout_us = INT64_MAX / 4;
    CoreHarness h(setup);
    h.start();
    const auto submit = [&](const std::string& owner) {
      TaskSpec spec = h.spec();
      spec.owner = owner;
      spec.priority = Priority::kLow;
      return h.one(spec).task;
    };
    for (int i = 0; i < row.backlog; ++i) submit("mallory");
    const size_t began = h.runs.size();
    for (size_t i = 0; i < began; i += 2) h.tokens(h.runs[i], 0, {5});
    h.now += row.later_us;
    std::vector<TaskId> others;
    for (int i = 0; i < row.others; ++i) others.push_back(submit(row.other));
    if (row.saved) {
      Core again(setup);
      ASSERT_TRUE(again.load(h.core.save()).ok());
      EXPECT_EQ(again.hash(), h.core.hash());
      h.core.check_integrity();
    }
    for (size_t next = 0;; ++next) {
      const auto started = [&](const TaskId& id) {
        return h.view(id).status != TaskStatus::kQueued;
      };
      if (std::ranges::all_of(others, started)) break;
      ASSERT_LT(next, h.runs.size());
      h.finish(h.runs[next]);
    }
    const int before = static_cast<int>(h.runs.size() - began) - row.others;
    EXPECT_LE(before, row.before);
    // The replica's batch goes by the same turns: none of the others' is later than the backlog.
    for (size_t i = began; i < h.runs.size(); ++i)
      EXPECT_LT(h.runs[i].command.turn, 1'000'000'000 + 60 * kSecond + row.backlog);
  }
}

TEST(CoreShares, WhatAShareNeverHoldsIsRefusedForGood) {
  CoreSetup setup = test_setup(1);
  setup.max_queue_size = 100;
  CoreHarness h(setup);
  h.start();
  uint64_t ticket = 0, most = 0;
  for (uint32_t tasks = 1; tasks < 300; ++tasks) {
    h.step(AdmissionRequested{++ticket, "ada", "", tasks});
    const auto& answer = h.admissions.at(ticket);
    if (answer.ok()) {
      most = tasks;
      h.step(AdmissionReleased{ticket});
    } else {
      EXPECT_EQ(answer.error().code(), ErrorCode::kInvalid) << tasks;
    }
  }
  h.step(AdmissionRequested{++ticket, "", "", static_cast<uint32_t>(most + 1)});
  EXPECT_TRUE(h.admissions.at(ticket).ok()) << "a share is of keys";
  EXPECT_GE(most, 75u);
}

}  // namespace
}  // namespace altlas::control
