// Goal: a request that can never have room is told so at once, one that may later is asked to come
// again. Method: as core_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "control/core.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

// Goal: "try again later" is said only where it can help. Method: requests of many sizes to idle
// and busy cores with several limits; what is refused as busy is accepted once nothing else is
// here.
TEST(CoreRoom, WhatNeverFitsIsNotAskedToTryAgain) {
  struct Case {
    const char* name;
    int devices;
    uint32_t queue, deployment_queue, ongoing, concurrent;
    size_t tasks;
    bool split, specific;
    bool taken;  // Whether an idle core takes it.
  };
  const Case cases[] = {
      // Two sequences a device.
      {"all that fit", 2, 10, 1000, 0, 0, 14, true, false, true},
      {"one more", 2, 10, 1000, 0, 0, 15, true, false, false},
      {"far more", 1, 10, 1000, 0, 0, 5000, true, false, false},
      {"no queue", 1, 0, 1000, 0, 0, 2, true, false, true},
      {"no queue, one more", 1, 0, 1000, 0, 0, 3, true, false, false},
      {"the deployment's queue", 1, 10, 4, 0, 0, 6, true, false, true},
      {"the deployment's queue, one more", 1, 10, 4, 0, 0, 7, true, false, false},
      {"max_ongoing", 1, 3, 1000, 1, 0, 4, true, false, true},
      {"max_ongoing, one more", 1, 3, 1000, 1, 0, 5, true, false, false},
      {"the device's limit", 2, 3, 1000, 0, 1, 5, true, false, true},
      {"the device's limit, one more", 2, 3, 1000, 0, 1, 6, true, false, false},
      {"on one device", 4, 5, 1000, 0, 0, 7, false, false, true},
      {"on one device, one more", 4, 5, 1000, 0, 0, 8, false, false, false},
      {"on a named device", 4, 5, 1000, 0, 0, 7, true, true, true},
      {"on a named device, one more", 4, 5, 1000, 0, 0, 8, true, true, false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    CoreSetup setup = test_setup(one.devices, 2);
    setup.max_queue_size = one.queue;
    setup.deployments[0].max_queued = one.deployment_queue;
    setup.deployments[0].max_ongoing = one.ongoing;
    setup.max_concurrent_tasks = one.concurrent;
    CoreHarness h(setup);
    h.start();
    const auto ask = [&]() -> Result<void> {
      std::vector<TaskSpec> specs;
      for (size_t i = 0; i < one.tasks; ++i) {
        specs.push_back(h.spec());
        if (one.specific) specs.back().specific_device = DeviceId{one.devices - 1};
      }
      const uint64_t ticket = h.submit(std::move(specs), one.split);
      if (!h.admissions.at(ticket).ok()) return h.admissions.at(ticket).error();
      if (!h.submissions.at(ticket).ok()) return h.submissions.at(ticket).error();
      return {};
    };
    // While something runs, what never fits is refused for good already.
    const Placed other = h.one(h.spec());
    if (Result<void> busy = ask(); !busy.ok()) {
      EXPECT_EQ(busy.error().code(), one.taken ? ErrorCode::kBusy : ErrorCode::kInvalid)
          << busy.error().message();
    } else {
      EXPECT_TRUE(one.taken);
      continue;
    }
    h.finish(h.runs.front());
    ASSERT_TRUE(is_over(h.view(other.task).status));
    const Result<void> idle = ask();
    EXPECT_EQ(idle.ok(), one.taken) << (idle.ok() ? "" : idle.error().message());
    if (!idle.ok()) {
      EXPECT_EQ(idle.error().code(), ErrorCode::kInvalid);
      EXPECT_NE(idle.error().message().find(std::to_string(one.tasks)), std::string::npos);
    }
  }
}

// Goal: where the strategy sends all tasks of a type to one device, the strategy's devices count,
// not all that the request might use.
TEST(CoreRoom, WhatItsStrategyCanNeverPlaceIsNotAskedToTryAgain) {
  CoreSetup setup = test_setup(4, 2);
  setup.max_queue_size = 3;
  setup.task_specific = {{"special", {DeviceId{2}}}};
  setup.strategy = Strategy::kTaskSpecific;
  CoreHarness h(setup);
  h.start();
  for (const size_t count : {5u, 6u, 11u}) {
    std::vector<TaskSpec> specs(count, h.spec());
    for (TaskSpec& spec : specs) spec.type = "special", spec.id = TaskId{9, h.next_id++};
    const uint64_t ticket = h.submit(std::move(specs));
    ASSERT_TRUE(h.admissions.at(ticket).ok());
    EXPECT_EQ(h.submissions.at(ticket).ok(), count == 5) << count;
    if (count > 5) EXPECT_EQ(h.submissions.at(ticket).error().code(), ErrorCode::kInvalid) << count;
    while (h.core.unfinished() > 0) {
      const auto runs = std::exchange(h.runs, {});
      for (const auto& run : runs) h.finish(run);
    }
  }
}

// Goal: before the replicas have loaded nobody knows how many tasks they take, so a large request
// is asked to come again.
TEST(CoreRoom, WhatMayFitOnceReplicasHaveLoadedIsAskedToTryAgain) {
  CoreSetup setup = test_setup(1, 8);
  setup.max_queue_size = 3;
  CoreHarness h(setup);
  h.step(Started{});
  const auto ask = [&] {
    std::vector<TaskSpec> specs;
    for (int i = 0; i < 6; ++i) specs.push_back(h.spec());
    return h.admissions.at(h.submit(std::move(specs)));
  };
  EXPECT_EQ(ask().error().code(), ErrorCode::kBusy);
  h.load_all();
  EXPECT_TRUE(ask().ok());
}

}  // namespace
}  // namespace altlas::control
