// Goal: reservations are promises that replicas and KV blocks never break, and a task that fits
// nowhere holds nobody up. Method: as core_test.cc; a device has 1 MiB, of which weights and
// activations leave kFree.
#include <gtest/gtest.h>

#include "control/core.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

constexpr uint64_t kTotal = 1 << 20;
constexpr uint64_t kFree = kTotal - (1 << 18) - (1 << 10);
constexpr uint64_t kBlocks = 2 * 1024;  // For the 30 tokens of spec().

TaskSpec with_memory(CoreHarness& h, uint64_t bytes) {
  TaskSpec out = h.spec();
  out.estimated_memory = bytes;
  return out;
}

TEST(CoreMemory, AReservationLastsUntilTheTaskEnds) {
  CoreHarness h(test_setup(2));
  h.start();
  const uint64_t used = h.core.devices()[0].memory_used;
  TaskSpec spec = h.spec();
  spec.strategy = Strategy::kMemoryOptimized;
  spec.estimated_memory = 300'000;
  const Placed a = h.one(spec);
  spec.id = TaskId{7, 90};
  const Placed b = h.one(spec);
  EXPECT_NE(a.device, b.device);
  // Its 20 tokens take 2 blocks of 1024 bytes.
  EXPECT_EQ(h.core.devices()[a.device.value].memory_used, used + 300'000 + 2048);
  // 300,000 more would still fit, but the next one goes where it can start.
  h.finish(h.runs[0]);
  EXPECT_EQ(h.core.devices()[a.device.value].memory_used, used);
}

TEST(CoreMemory, WhatJustFitsBesideTheWeightsRuns) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed placed = h.one(with_memory(h, kFree - kBlocks));
  EXPECT_EQ(placed.status, TaskStatus::kRunning);
  EXPECT_EQ(h.core.devices()[0].memory_used, kTotal);
}

TEST(CoreMemory, WhatNeverFitsBesideTheWeightsEndsWithTheNumbers) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed large = h.one(with_memory(h, kFree - kBlocks + 1));
  EXPECT_EQ(h.view(large.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(large.task).error.find("needs 783361 bytes and 2048 of KV blocks"),
            std::string::npos)
      << h.view(large.task).error;
  EXPECT_NE(h.view(large.task).error.find("the device has 785408"), std::string::npos);
  EXPECT_EQ(h.one(h.spec()).status, TaskStatus::kRunning);
}

TEST(CoreMemory, WhatNeverFitsOnItsDeviceMovesToOneThatMayTakeIt) {
  CoreHarness h(test_setup(2));
  h.weight_bytes = {{0, 400'000}};
  h.step(Started{});
  const Placed placed = h.one(with_memory(h, 700'000));
  EXPECT_EQ(placed.device.value, 0);
  h.load_one();  // Device 0 is too small beside these weights; nothing is known of device 1 yet.
  EXPECT_EQ(h.view(placed.task).device.value, 1);
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kQueued);
  h.load_all();
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kRunning);
  // Once all is known a task goes to the right device at once, and one that may not move ends.
  EXPECT_EQ(h.one(with_memory(h, 700'000)).device.value, 1);
  TaskSpec asked = with_memory(h, 700'000);
  asked.specific_device = DeviceId{0};
  const Placed stuck = h.one(asked);
  EXPECT_EQ(h.view(stuck.task).status, TaskStatus::kFailed);
}

TEST(CoreMemory, WhatFitsNowhereEndsOnceEveryDeviceHasSaidWhatItHolds) {
  CoreHarness h(test_setup(2));
  h.weight_bytes = {{0, 400'000}, {1, 500'000}};
  h.step(Started{});
  const Placed placed = h.one(with_memory(h, 700'000));
  h.load_one();
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kQueued);
  h.load_one();
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(placed.task).error.find("device 0: memory"), std::string::npos);
  EXPECT_NE(h.view(placed.task).error.find("device 1: memory"), std::string::npos);
}

TEST(CoreMemory, AReservedTaskStartsOnceEveryReplicaOfItsDeviceSaidWhatItHolds) {
  CoreHarness h(test_setup(1));
  h.step(Started{});
  h.load_one();  // The model's replica loads; echo is on the device too.
  const Placed reserved = h.one(with_memory(h, 1000));
  EXPECT_EQ(reserved.status, TaskStatus::kQueued);
  h.advance(kPassedOverMaxUs + kSecond);
  // The task that waits holds up nobody meanwhile.
  EXPECT_EQ(h.one(h.spec()).status, TaskStatus::kRunning);
  EXPECT_EQ(h.view(reserved.task).status, TaskStatus::kQueued);
  h.load_all();
  EXPECT_EQ(h.view(reserved.task).status, TaskStatus::kRunning);
}

// Goal: what one device's replicas hold says nothing of another device's.
TEST(CoreMemory, AnotherDevicesReplicaDoesNotSayWhatThisOneHolds) {
  CoreSetup setup = test_setup(2);
  setup.deployments[1].replicas = {{DeviceId{1}}};
  CoreHarness h(setup);
  h.weight_bytes = {{0, 400'000}, {1, 1000}};
  h.step(Started{});
  const auto first = h.started.front();
  h.started.pop_front();
  h.load_all();  // Only device 1's replica loads.
  TaskSpec spec = with_memory(h, 600'000);
  spec.specific_device = DeviceId{0};
  const Placed placed = h.one(spec);
  EXPECT_EQ(h.core.devices()[0].memory_used, 600'000u);
  h.started.push_back(first);
  h.load_all();
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kRunning);
  // While it restarts, its memory is not given away.
  h.step(WorkerLost{{first.first}, "killed by signal 9"});
  EXPECT_EQ(h.core.devices()[0].memory_used, 600'000u + 400'000 + 1024);
}

TEST(CoreMemory, ReservationsMadeBeforeALoadGiveWayToWhatItTakes) {
  CoreHarness h(test_setup(1));
  h.step(Started{});
  const Placed a = h.one(with_memory(h, 700'000)), b = h.one(with_memory(h, 300'000));
  EXPECT_EQ(h.core.devices()[0].memory_used, 1'000'000u);
  h.load_one();
  EXPECT_EQ(h.core.devices()[0].memory_used, kTotal - kFree + 700'000);
  h.load_all();
  EXPECT_EQ(h.view(a.task).status, TaskStatus::kRunning);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kQueued);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kRunning);
  EXPECT_EQ(h.core.devices()[0].memory_used, kTotal - kFree + 300'000 + kBlocks);
}

TEST(CoreMemory, WaitingReservationsDoNotKeepEachOtherWaiting) {
  CoreHarness h(test_setup(1));
  h.step(Started{});
  // Together they leave no byte for either task's KV blocks.
  const Placed a = h.one(with_memory(h, kFree / 2)), b = h.one(with_memory(h, kFree / 2));
  h.load_all();
  EXPECT_EQ(h.view(a.task).status, TaskStatus::kRunning);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kQueued);
  EXPECT_LE(h.core.devices()[0].memory_used, kTotal);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kRunning);
}

TEST(CoreMemory, BlocksOfRunningTasksNeverGrowIntoAReservation) {
  CoreHarness h(test_setup(1));
  h.start();
  TaskSpec spec = h.spec();
  spec.tokens_max = 1000;  // It takes 64 blocks at its end, 2 now.
  const Placed growing = h.one(spec);
  EXPECT_EQ(h.core.devices()[0].memory_used, kTotal - kFree + kBlocks);
  const Placed tight = h.one(with_memory(h, kFree - 64 * 1024 - kBlocks + 1));
  EXPECT_EQ(tight.status, TaskStatus::kQueued);
  h.step(CancelRequested{tight.task});
  const Placed exact = h.one(with_memory(h, kFree - 64 * 1024 - kBlocks));
  EXPECT_EQ(exact.status, TaskStatus::kRunning);
  const Placed after = h.one(h.spec());  // Not a byte is left for its blocks.
  EXPECT_EQ(after.status, TaskStatus::kQueued);
  h.tokens(h.runs[0], 0, std::vector<int32_t>(1000, 1));
  EXPECT_EQ(h.core.devices()[0].memory_used, kTotal);
  // A cancelled task holds its blocks until its replica says otherwise.
  h.step(CancelRequested{growing.task});
  EXPECT_EQ(h.view(after.task).status, TaskStatus::kQueued);
  h.step(WorkerReported{{h.runs[0].replica},
                        engine::SequenceCanceled{h.runs[0].command.sequence, 1000}});
  EXPECT_EQ(h.view(after.task).status, TaskStatus::kRunning);
}

// Goal: a rank whose blocks are larger than the leader's has room for them on its own device, or
// the task waits.
TEST(CoreMemory, EveryRanksBlocksLeaveReservationsAlone) {
  CoreSetup setup = test_setup(2);
  setup.deployments[0].replicas = {{DeviceId{0}, DeviceId{1}}};
  DeploymentSetup beside = setup.deployments[0];
  beside.name = beside.model = "beside";
  beside.replicas = {{DeviceId{1}}};
  setup.deployments.push_back(beside);
  CoreHarness h(setup);
  h.block_bytes = {{1, 8 * 1024}};
  h.start();
  TaskSpec reserved = with_memory(h, kTotal - 2 * (kTotal - kFree) - 8 * kBlocks - 2 * kBlocks);
  reserved.deployment = "beside";
  const Placed held = h.one(reserved);
  EXPECT_EQ(held.status, TaskStatus::kRunning);
  const Placed waits = h.one(h.spec());
  EXPECT_EQ(waits.status, TaskStatus::kQueued) << "two blocks fit as rank 0 has them";
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(waits.task).status, TaskStatus::kRunning) << "at once, by the other's end";
  // The other way round, the end of a task on the replica of two ranks makes room beside it.
  reserved.id = TaskId{7, 90};
  const Placed again = h.one(reserved);
  EXPECT_EQ(again.status, TaskStatus::kQueued);
  h.finish(h.runs[1]);
  EXPECT_EQ(h.view(again.task).status, TaskStatus::kRunning);
}

TEST(CoreMemory, WithoutReservationsOnlyThePromptCounts) {
  CoreHarness h(test_setup(1, 8));
  h.kv_blocks = 64;
  h.start();
  for (int i = 0; i < 4; ++i) {
    TaskSpec spec = h.spec();
    // Each takes 64 blocks at its end, so all at once would take four pools.
    spec.tokens_max = 1000;
    EXPECT_EQ(h.one(spec).status, TaskStatus::kRunning);
  }
}

TEST(CoreMemory, OfAnUnsplitBatchEachTaskFitsBeforeItStarts) {
  CoreHarness h(test_setup(1));
  h.kv_blocks = 10;
  h.start();
  TaskSpec spec = h.spec();
  spec.prompt = std::vector<int32_t>(100, 1);  // Its prompt takes 7 blocks.
  h.one(spec);
  TaskSpec large = h.spec(), small = h.spec();
  large.prompt = std::vector<int32_t>(100, 1);
  small.prompt = std::vector<int32_t>(30, 1);  // Its prompt takes 2 of the 3 free blocks.
  h.submit({large, small}, /*split=*/false);
  EXPECT_EQ(h.view(large.id).status, TaskStatus::kQueued);
  EXPECT_EQ(h.view(small.id).status, TaskStatus::kRunning);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(large.id).status, TaskStatus::kRunning);
}

}  // namespace
}  // namespace altlas::control
