// Goal: tasks survive what replicas and restarts do to them: crashes, hangs, silence, loads that
// fail. Method: as core_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/core.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

TEST(CoreReplicas, TasksOfALostReplicaGoOnFromTheirLastToken) {
  CoreHarness h(test_setup(2));
  h.start();
  TaskSpec spec = h.spec();
  const Placed placed = h.one(spec);
  h.tokens(h.runs[0], 0, {5, 6, 7});
  const ReplicaId dead = h.runs[0].replica;
  h.live.erase(dead);
  h.step(WorkerLost{{dead}, "killed by signal 9"});
  ASSERT_EQ(h.runs.size(), 2u);  // The task runs on the other device at once.
  EXPECT_NE(h.runs[1].replica, dead);
  EXPECT_EQ(h.runs[1].command.generated, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_NE(h.view(placed.task).device, placed.device);
  h.tokens(h.runs[0], 3, {9});  // That replica was given up, so the report comes too late.
  // The report repeats what was said: only the new token is passed on.
  h.tokens(h.runs[1], 0, {5, 6, 7, 8});
  h.finish(h.runs[1]);
  EXPECT_EQ(h.text[placed.task], "aaaaaaaaaa");
  EXPECT_EQ(h.ends[placed.task], 1);
  // The replica starts again after the backoff, under a new id.
  EXPECT_TRUE(h.started.empty());
  h.advance(kBackoffMinUs);
  ASSERT_EQ(h.started.size(), 1u);
  EXPECT_NE(h.started[0].first.replica, dead);
  EXPECT_EQ(h.core.deployments()[0].replicas[0].restarts, 1u);
}

TEST(CoreReplicas, APoisonTaskFailsAfterItsCrashes) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed placed = h.one(h.spec());
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(h.runs.size(), static_cast<size_t>(i) + 1);
    h.step(WorkerLost{{h.runs.back().replica}, "killed by signal 11"});
    h.advance(kBackoffMinUs << i);
    h.load_all();
  }
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(placed.task).error.find("3 crashes"), std::string::npos);
  EXPECT_EQ(h.one(h.spec()).status, TaskStatus::kRunning);
}

TEST(CoreReplicas, BackoffGrowsAndTheDeploymentSaysWhy) {
  CoreHarness h(test_setup(1));
  h.step(Started{});
  int64_t expected = kBackoffMinUs;
  for (int i = 0; i < 10; ++i) {
    const ReplicaId id = h.started.front().first.replica;
    h.started.clear();
    h.step(WorkerLost{{id}, "exit code 1"});
    EXPECT_EQ(h.core.deployments()[0].replicas[0].message, "exit code 1");
    h.advance(expected - 1);
    EXPECT_EQ(h.core.deployments()[0].replicas[0].state, ReplicaState::kBackoff) << i;
    h.advance(1);
    ASSERT_EQ(h.core.deployments()[0].replicas[0].state, ReplicaState::kStarting) << i;
    while (h.started.size() > 1) h.started.pop_front();
    expected = std::min(expected * 2, kBackoffMaxUs);
  }
  EXPECT_EQ(h.core.health().status, HealthStatus::kUnavailable);
}

TEST(CoreReplicas, AModelThatCanNotLoadFailsItsTasksAndRefusesMore) {
  CoreHarness h(test_setup(1));
  h.step(Started{});
  const Placed waiting = h.one(h.spec());
  EXPECT_EQ(waiting.status, TaskStatus::kQueued);
  EXPECT_EQ(h.core.health().status, HealthStatus::kStarting);
  h.step(WorkerReported{{h.started.front().first},
                        engine::LoadFailed{ErrorCode::kInvalid, "needs 9 GiB, 4 GiB there"}});
  EXPECT_EQ(h.view(waiting.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(waiting.task).error.find("needs 9 GiB"), std::string::npos);
  const uint64_t ticket = h.submit({h.spec()});
  EXPECT_EQ(h.admissions.at(ticket).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(h.core.health().status, HealthStatus::kUnavailable);
}

TEST(CoreReplicas, AHungReplicaIsKilledAMerelySlowOneIsNot) {
  CoreHarness h(test_setup(1));
  h.start();
  h.one(h.spec());
  for (int i = 0; i < 100; ++i) {  // A step a second for a hundred seconds is slow, not hung.
    h.advance(kSecond);
    h.alive();
  }
  EXPECT_TRUE(h.stopped.empty());
  --h.steps;
  for (int i = 0; i < 29; ++i) {
    h.advance(kSecond);
    --h.steps;
    ++h.steps;
    for (const ReplicaId replica : h.live)
      h.step(WorkerReported{{replica}, engine::ReplicaStats{.steps = 100, .running = 1}});
  }
  EXPECT_TRUE(h.stopped.empty());
  h.advance(2 * kSecond);  // It reports, but has made no step for 30 s.
  ASSERT_FALSE(h.stopped.empty());
  EXPECT_TRUE(h.stopped[0].kill);
  EXPECT_EQ(h.stopped[0].worker.replica, h.runs[0].replica);
}

TEST(CoreReplicas, AnIdleReplicaThatFallsSilentIsKilledToo) {
  CoreHarness h(test_setup(1));
  h.start();
  for (int i = 0; i < 35; ++i) {
    h.advance(kSecond);
    // Only echo reports.
    for (const ReplicaId replica : h.live)
      if (replica.value == 2) h.step(WorkerReported{{replica}, engine::ReplicaStats{}});
  }
  ASSERT_EQ(h.stopped.size(), 1u);
  EXPECT_EQ(h.stopped[0].worker.replica.value, 1u);
}

TEST(CoreReplicas, OurOwnStandstillIsNobodysSilence) {
  CoreHarness h(test_setup(1));
  h.start();
  h.now += 3600 * kSecond;  // The machine was suspended: there was no tick in between.
  h.step(Tick{});
  EXPECT_TRUE(h.stopped.empty());
}

TEST(CoreReplicas, StartupTimeoutRestarts) {
  CoreSetup setup = test_setup(1);
  setup.deployments[0].startup_timeout_us = 10 * kSecond;
  CoreHarness h(setup);
  h.step(Started{});
  h.step(WorkerConnected{{ReplicaId{1}}, 77});
  h.advance(9 * kSecond);
  EXPECT_EQ(h.core.deployments()[0].replicas[0].state, ReplicaState::kLoading);
  h.advance(kSecond);
  EXPECT_EQ(h.stopped.size(), 1u);
  EXPECT_NE(h.core.deployments()[0].replicas[0].message.find("startup_timeout_s"),
            std::string::npos);
}

TEST(CoreReplicas, AReplicaThatLeavesOutTokensIsGivenUp) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed placed = h.one(h.spec());
  h.tokens(h.runs[0], 0, {1});
  h.tokens(h.runs[0], 2, {3});
  ASSERT_EQ(h.stopped.size(), 1u);
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kQueued);
}

TEST(CoreReplicas, RestoredTasksGoOnAndFinishedOnesAreKept) {
  CoreHarness first(test_setup(2));
  first.start();
  TaskSpec keyed = first.spec();
  keyed.idempotency_key = "k";
  const Placed done = first.one(keyed), cut = first.one(first.spec()),
               queued = first.one(first.spec());
  first.finish(first.runs[0]);
  first.tokens(first.runs[1], 0, {4, 5});
  first.advance(kTokenFlushUs);
  // After a power loss another process replays what was durable.
  journal::Replay replay;
  for (const journal::TaskEvent& event : first.journal) ASSERT_TRUE(replay.add(event).ok());
  CoreHarness second(test_setup(2));
  second.step(TasksRestored{replay.take()});
  EXPECT_EQ(second.view(done.task).status, TaskStatus::kCompleted);
  EXPECT_EQ(second.view(done.task).result->tokens, 10u);
  EXPECT_EQ(second.view(cut.task).status, TaskStatus::kQueued);
  second.start();
  ASSERT_EQ(second.runs.size(), 2u);
  bool continued = false;
  for (const auto& run : second.runs)
    continued |= run.command.generated == std::vector<int32_t>{4, 5};
  EXPECT_TRUE(continued);
  second.finish(second.runs[0]);
  second.finish(second.runs[1]);
  EXPECT_EQ(second.view(cut.task).status, TaskStatus::kCompleted);
  EXPECT_EQ(second.view(queued.task).status, TaskStatus::kCompleted);
  EXPECT_EQ(second.ends[done.task], 0);
  // The key still stands for the task.
  keyed.id = TaskId{8, 1};
  EXPECT_EQ(second.one(keyed).task, done.task);
}

// Makes deployments of one replica on each of the given devices.
CoreSetup setup_of(int devices, const std::vector<std::pair<std::string, std::vector<int>>>& list) {
  CoreSetup setup = test_setup(devices);
  const DeploymentSetup pattern = setup.deployments[0];
  const DeploymentSetup echo = setup.deployments[1];
  setup.deployments.clear();
  for (const auto& [name, on] : list) {
    DeploymentSetup one = pattern;
    one.name = one.model = name;
    one.replicas.clear();
    for (const int device : on) one.replicas.push_back({DeviceId{device}});
    setup.deployments.push_back(one);
  }
  setup.deployments.push_back(echo);
  setup.default_deployment = list.front().first;
  return setup;
}

// Goal: a task runs on its own deployment's model or not at all, and one that is over is shown
// where it ran. Method: tasks of two deployments, finished, running and waiting, are restored under
// other configurations.
TEST(CoreReplicas, ARestoredTaskStaysWithItsDeployment) {
  struct Case {
    const char* name;
    CoreSetup then;
    bool b_runs;
    ErrorCode error;  // The error of b's tasks where they can't run.
  };
  using Code = ErrorCode;
  const Case cases[] = {
      {"as before", setup_of(3, {{"a", {0}}, {"b", {1}}}), true, Code::kInternal},
      {"on another device", setup_of(3, {{"a", {0}}, {"b", {2}}}), true, Code::kInternal},
      {"in another order", setup_of(3, {{"b", {0}}, {"a", {1}}}), true, Code::kInternal},
      {"no replica", setup_of(3, {{"a", {0}}, {"b", {}}}), false, Code::kUnavailable},
      {"no replica, first", setup_of(3, {{"b", {}}, {"a", {0, 1, 2}}}), false, Code::kUnavailable},
      {"none has a replica", setup_of(3, {{"a", {}}, {"b", {}}}), false, Code::kUnavailable},
      {"not served", setup_of(3, {{"a", {0}}}), false, Code::kNotFound},
      {"not served, default without replica", setup_of(3, {{"c", {}}, {"a", {2}}}), false,
       Code::kNotFound},
      {"fewer devices", setup_of(1, {{"a", {0}}, {"b", {}}}), false, Code::kUnavailable},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    CoreHarness first(setup_of(3, {{"a", {0}}, {"b", {1}}}));
    first.start();
    std::vector<TaskId> ids;
    // Among b's tasks one is over, four run, the others wait.
    for (int i = 0; i < 7; ++i) {
      TaskSpec spec = first.spec();
      spec.deployment = "b";
      ids.push_back(first.one(spec).task);
    }
    first.finish(first.runs[0]);
    journal::Replay replay;
    for (const journal::TaskEvent& event : first.journal) ASSERT_TRUE(replay.add(event).ok());
    CoreHarness second(one.then);
    second.step(TasksRestored{replay.take()});
    second.core.check_integrity();
    EXPECT_EQ(second.view(ids[0]).status, TaskStatus::kCompleted);
    if (one.then.devices.size() == 3) {
      EXPECT_EQ(second.view(ids[0]).device, DeviceId{1}) << "where it ran";
      EXPECT_EQ(second.view(ids[0]).note, "");
    }
    second.start();
    std::map<std::string, uint32_t> running;
    for (const DeploymentView& deployment : second.core.deployments())
      for (const ReplicaView& replica : deployment.replicas)
        if (replica.running > 0) running[deployment.name] += replica.running;
    using Running = std::map<std::string, uint32_t>;
    EXPECT_EQ(running, one.b_runs ? Running({{"b", 4}}) : Running());
    for (size_t i = 1; i < ids.size(); ++i) {
      const TaskView view = second.view(ids[i]);
      EXPECT_EQ(view.status == TaskStatus::kFailed, !one.b_runs);
      if (view.status == TaskStatus::kFailed) EXPECT_EQ(view.error_code, one.error) << view.error;
    }
  }
}

// A replica of three ranks on two machines: ranks 0 and 2 in the first worker, rank 1 in the other.
CoreSetup over_two_machines() {
  CoreSetup setup = test_setup(3);
  setup.devices[1].node = 1;
  setup.deployments[0].load.pipeline_parallel_size = 3;
  setup.deployments[0].replicas = {{DeviceId{0}, DeviceId{1}, DeviceId{2}}};
  return setup;
}

struct TwoWorkers : testing::Test {
  TwoWorkers() {
    h.step(Started{});
    for (const auto& [worker, load] : h.started)
      if (load.kind != "echo") loads[worker.index] = load, replica = worker.replica;
    h.started.clear();
  }
  WorkerId worker(uint32_t index) const { return {replica, index}; }
  ReplicaView view() { return h.core.deployments()[0].replicas[0]; }
  void load() {
    for (const auto& [index, load] : loads) h.step(WorkerConnected{worker(index), 7});
    for (const auto& [index, load] : loads) h.step(WorkerReported{worker(index), h.loaded(load)});
  }
  CoreHarness h{over_two_machines()};
  ReplicaId replica;
  std::map<uint32_t, engine::LoadReplica> loads;
};

// Goal: with distributed_executor_backend mp every rank has a worker, on one machine too.
TEST(Workers, EachRankHasOneWhereProcessesAreWanted) {
  CoreSetup setup = over_two_machines();
  setup.devices[1].node = 0;
  setup.deployments[0].load.distributed_executor_backend = ExecutorBackend::kMp;
  CoreHarness h(setup);
  h.step(Started{});
  std::erase_if(h.started, [](const auto& one) { return one.second.kind == "echo"; });
  ASSERT_EQ(h.started.size(), 3u);
  for (uint32_t worker = 0; worker < 3; ++worker) {
    EXPECT_EQ(h.started[worker].first.index, worker);
    EXPECT_EQ(h.started[worker].second.own_ranks(), std::vector<uint32_t>{worker});
    EXPECT_EQ(h.started[worker].second.workers(), 3u);
  }
}

TEST_F(TwoWorkers, EachIsToldOfAllRanks) {
  ASSERT_EQ(loads.size(), 2u);
  EXPECT_EQ(loads[0].own_ranks(), (std::vector<uint32_t>{0, 2}));
  EXPECT_EQ(loads[1].own_ranks(), std::vector<uint32_t>{1});
  EXPECT_EQ(loads[0].ranks, loads[1].ranks);
  EXPECT_EQ(loads[1].ranks[1].node, 1u);
  EXPECT_EQ(loads[1].ranks[2].device_id, 2u);
}

TEST_F(TwoWorkers, TheReplicaRunsOnceBothHaveLoaded) {
  h.weight_bytes = {{1, 1 << 17}};  // This rank's share is smaller than the others'.
  h.step(WorkerConnected{worker(1), 8});
  EXPECT_EQ(view().state, ReplicaState::kStarting);
  h.step(WorkerConnected{worker(0), 7});
  EXPECT_EQ(view().state, ReplicaState::kLoading);
  h.step(WorkerReported{worker(0), h.loaded(loads[0])});
  EXPECT_EQ(view().state, ReplicaState::kLoading);
  h.step(WorkerReported{worker(1), h.loaded(loads[1])});
  EXPECT_EQ(view().state, ReplicaState::kRunning);
  EXPECT_EQ(view().pid, 7);
  EXPECT_EQ(h.core.devices()[1].memory_used, (1u << 17) + (1u << 10));
  EXPECT_EQ(h.core.devices()[2].memory_used, (1u << 18) + (1u << 10));
  h.one(h.spec());
  ASSERT_EQ(h.runs.size(), 1u);
  EXPECT_EQ(h.runs[0].replica, replica) << "commands go to the leading worker";
}

TEST_F(TwoWorkers, TheReplicaIsLostWithAnyOfThem) {
  for (const uint32_t lost : {0u, 1u}) {
    SCOPED_TRACE(lost);
    load();
    h.stopped.clear();
    const Placed placed = h.one(h.spec());
    h.step(WorkerLost{worker(lost), "killed by signal 9"});
    ASSERT_EQ(h.stopped.size(), 1u) << "only the other one is still there";
    EXPECT_EQ(h.stopped[0].worker, worker(1 - lost));
    EXPECT_TRUE(h.stopped[0].kill);
    EXPECT_EQ(view().state, ReplicaState::kBackoff);
    // The second loss is too late to count.
    h.step(WorkerLost{worker(1 - lost), "killed by signal 9"});
    h.advance(kBackoffMaxUs);
    ASSERT_EQ(h.started.size(), 2u);
    EXPECT_NE(h.started[0].first.replica, replica);
    replica = h.started[0].first.replica;
    h.started.clear();
    load();
    EXPECT_EQ(h.view(placed.task).status, TaskStatus::kRunning) << "it goes on";
    h.finish(h.runs.back());
  }
}

TEST_F(TwoWorkers, OneThatIsSilentCounts) {
  load();
  const int64_t timeout = over_two_machines().deployments[0].health_check_timeout_us;
  for (uint64_t step = 1; step <= 30; ++step) {
    EXPECT_EQ(view().state, ReplicaState::kRunning);
    h.now += timeout / 30;
    h.step(WorkerReported{worker(0), engine::ReplicaStats{.steps = step}});
    h.step(Tick{});
  }
  EXPECT_EQ(view().state, ReplicaState::kBackoff);
  EXPECT_THAT(view().message, ::testing::HasSubstr("no report"));
  EXPECT_EQ(h.stopped.size(), 2u);
}

TEST_F(TwoWorkers, AFollowerThatCannotLoadEndsTheReplica) {
  h.step(WorkerReported{worker(1), engine::LoadFailed{ErrorCode::kNotFound, "no such file"}});
  EXPECT_EQ(view().state, ReplicaState::kStopped);
  EXPECT_EQ(view().message, "no such file");
  EXPECT_EQ(h.stopped.size(), 2u);
}

TEST_F(TwoWorkers, WhatAFollowerSaysOfTasksIsIgnored) {
  load();
  const Placed placed = h.one(h.spec());
  const SequenceId sequence = h.runs.back().command.sequence;
  h.step(WorkerReported{worker(1), engine::SequenceFailed{sequence, ErrorCode::kInternal, "no"}});
  h.step(WorkerReported{worker(5), engine::SequenceFailed{sequence, ErrorCode::kInternal, "no"}});
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kRunning);
}

TEST_F(TwoWorkers, AStopWaitsForBoth) {
  load();
  h.stopped.clear();
  h.step(StopRequested{});
  size_t told = 0;
  for (const StopWorker& stop : h.stopped) told += stop.worker.replica == replica && !stop.kill;
  EXPECT_EQ(told, 2u);
  h.step(WorkerLost{worker(1), "exit code 0"});
  EXPECT_EQ(view().state, ReplicaState::kDraining);
  h.step(WorkerLost{worker(0), "exit code 0"});
  EXPECT_EQ(view().state, ReplicaState::kStopped);
}

}  // namespace
}  // namespace altlas::control
