// Goal: one key's many requests leave room in the queue for others', while they are read and while
// they wait; a request that its share can never hold is refused for good. Method: the core alone.
#include <gtest/gtest.h>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

// Asks for `tasks` places at a time until there are none; how many were given.
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
  for (const Row& row :
       {Row{100, 1000, 75, 19, 6}, Row{1000, 100, 75, 19, 6}, Row{3, 1000, 3, 0, 0},
        Row{1, 1000, 1, 0, 0}, Row{16, 1000, 12, 3, 1}}) {
    CoreSetup setup = test_setup(1);
    setup.max_queue_size = row.queue;
    setup.deployments[0].max_queued = row.deployment;
    CoreHarness h(setup);
    h.step(Started{});  // No replica runs: nothing but the queue has room.
    uint64_t ticket = 0;
    EXPECT_EQ(admitted(h, ticket, "mallory"), row.first) << row.queue;
    EXPECT_EQ(admitted(h, ticket, "ada"), row.second) << row.queue;
    EXPECT_EQ(admitted(h, ticket, ""), row.nobody) << row.queue;
    h.step(AdmissionReleased{1});
    EXPECT_EQ(admitted(h, ticket, ""), 1u) << "what one gives back others may have";
    h.core.check_integrity();
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
