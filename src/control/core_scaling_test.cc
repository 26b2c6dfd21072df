// Goal: the number of replicas follows the load, or what a person says, and no task notices.
// Method: as core_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/core.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

using ::testing::HasSubstr;

// Three places; one replica at the start; decisions each second, without delays.
CoreSetup scaled_setup(uint32_t min_replicas = 1, uint32_t sequences_max = 2) {
  CoreSetup setup = test_setup(3, sequences_max);
  scheduler::AutoscalerSettings scaling;
  scaling.min_replicas = min_replicas;
  scaling.max_replicas = 3;
  scaling.target_ongoing_requests = 2;
  scaling.upscale_delay_us = scaling.downscale_delay_us = 0;
  scaling.look_back_us = scaling.interval_us = kSecond;
  setup.deployments[0].autoscaling = scaling;
  return setup;
}

// A second passes, and every replica says that it lives.
void second(CoreHarness& h) {
  h.advance(kSecond);
  h.alive();
}

DeploymentView model(const CoreHarness& h) { return h.core.deployments()[0]; }

size_t running(const CoreHarness& h) {
  const auto replicas = model(h).replicas;
  return static_cast<size_t>(
      std::ranges::count(replicas, ReplicaState::kRunning, &ReplicaView::state));
}

TEST(CoreScaling, OnlyTheFirstReplicasStart) {
  CoreHarness h(scaled_setup());
  h.step(Started{});
  EXPECT_EQ(h.started.size(), 2u);  // And echo's.
  h.load_all();
  EXPECT_EQ(model(h).target_replicas, 1u);
  EXPECT_EQ(model(h).max_replicas, 3u);
  EXPECT_EQ(model(h).replicas.size(), 1u);
  EXPECT_EQ(model(h).status, "HEALTHY");
}

TEST(CoreScaling, MoreReplicasComeWithTheLoadAndTakeItsTasks) {
  CoreHarness h(scaled_setup());
  h.start();
  for (int i = 0; i < 6; ++i) h.one(h.spec());
  EXPECT_EQ(h.runs.size(), 2u);
  second(h);
  second(h);
  EXPECT_EQ(model(h).target_replicas, 3u);
  EXPECT_EQ(model(h).status, "UPSCALING");
  h.load_all();
  EXPECT_EQ(h.runs.size(), 6u);  // What waited has moved to the new ones.
  EXPECT_EQ(running(h), 3u);
  ASSERT_FALSE(h.scaled.empty());
  EXPECT_THAT(h.scaled.back().reason, HasSubstr("ongoing requests"));
  const auto decisions = h.core.scale_decisions("model");
  ASSERT_TRUE(decisions.ok());
  EXPECT_TRUE(std::ranges::any_of(*decisions, [](const auto& one) { return one.to == 3; }));
  EXPECT_EQ(h.core.scale_decisions("other").error().code(), ErrorCode::kNotFound);
}

// A replica that is not wanted any more takes no new task, ends with its last one, and stays away.
TEST(CoreScaling, FewerReplicasEndTheirTasksFirst) {
  CoreHarness h(scaled_setup());
  h.start();
  std::vector<Placed> placed;
  for (int i = 0; i < 6; ++i) placed.push_back(h.one(h.spec()));
  second(h);
  second(h);
  h.load_all();
  ASSERT_EQ(h.runs.size(), 6u);
  for (int i = 0; i < 5; ++i) h.finish(h.runs[i]);
  const CoreHarness::Run last = h.runs[5];
  second(h);
  second(h);
  EXPECT_EQ(model(h).target_replicas, 1u);
  // The replica with the task stays: the others have nothing to end.
  EXPECT_EQ(h.stopped.size(), 2u);
  for (const StopWorker& stop : h.stopped) {
    EXPECT_FALSE(stop.kill);
    EXPECT_NE(stop.worker.replica, last.replica);
    h.step(WorkerLost{stop.worker, "it ended"});
  }
  EXPECT_EQ(model(h).replicas.size(), 1u);
  EXPECT_EQ(model(h).status, "HEALTHY");
  second(h);
  EXPECT_TRUE(h.started.empty());
  EXPECT_TRUE(h.warnings.empty());
  h.finish(last);
  for (const Placed& one : placed) EXPECT_EQ(h.view(one.task).status, TaskStatus::kCompleted);
}

// Both replicas have a task; the one that has to go has graceful_shutdown_timeout_s for it.
TEST(CoreScaling, ATaskThatOutlastsItsReplicaGoesOnElsewhere) {
  CoreSetup setup = test_setup(2);
  setup.deployments[0].graceful_shutdown_timeout_us = 5 * kSecond;
  setup.crashes_max = 1;  // Any crash would end the task.
  CoreHarness h(setup);
  h.start();
  h.one(h.spec());
  const Placed placed = h.one(h.spec());
  ASSERT_EQ(h.runs.size(), 2u);
  h.tokens(h.runs[0], 0, {4});
  h.tokens(h.runs[1], 0, {5, 6});
  h.step(ScaleRequested{1, "model", 1});
  ASSERT_TRUE(h.changes.at(1).ok());
  for (int i = 0; i < 4; ++i) second(h);
  EXPECT_TRUE(h.stopped.empty());
  // New tasks go to the other one only.
  h.one(h.spec());
  EXPECT_EQ(h.runs.back().replica, h.runs[0].replica);
  second(h);
  ASSERT_EQ(h.stopped.size(), 1u);
  EXPECT_EQ(h.stopped[0].worker.replica, h.runs[1].replica);
  h.step(WorkerLost{h.stopped[0].worker, "it ended"});
  ASSERT_EQ(h.runs.size(), 4u);
  EXPECT_EQ(h.runs[3].replica, h.runs[0].replica);
  EXPECT_EQ(h.runs[3].command.generated, (std::vector<int32_t>{5, 6}));
  EXPECT_TRUE(h.warnings.empty());
  h.tokens(h.runs[3], 2, {7, 8});
  h.finish(h.runs[3]);
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kCompleted);
}

TEST(CoreScaling, AReplicaThatDoesNotEndIsKilled) {
  CoreHarness h(test_setup(2));
  h.start();
  h.step(ScaleRequested{1, "model", 1});
  h.advance(1);
  ASSERT_EQ(h.stopped.size(), 1u);
  h.advance(kStopUs - 2);
  ASSERT_EQ(h.stopped.size(), 1u);
  h.advance(2);
  ASSERT_EQ(h.stopped.size(), 2u);
  EXPECT_TRUE(h.stopped[1].kill);
  EXPECT_EQ(h.stopped[0].worker, h.stopped[1].worker);
  EXPECT_EQ(model(h).replicas.size(), 1u);
}

TEST(CoreScaling, WantedAgainWhileItEndsItStartsAnew) {
  CoreHarness h(test_setup(2));
  h.start();
  h.step(ScaleRequested{1, "model", 1});
  h.advance(1);
  ASSERT_EQ(h.stopped.size(), 1u);
  h.step(ScaleRequested{2, "model", 2});
  EXPECT_TRUE(h.started.empty());
  h.step(WorkerLost{h.stopped[0].worker, "it ended"});
  ASSERT_EQ(h.started.size(), 1u);
  h.load_all();
  EXPECT_EQ(running(h), 2u);
  EXPECT_EQ(model(h).replicas[0].restarts + model(h).replicas[1].restarts, 1u);
}

// One that still has a task when it is wanted again goes on as if nothing had been said.
TEST(CoreScaling, WantedAgainBeforeItsLastTaskEndsItStays) {
  CoreHarness h(test_setup(2));
  h.start();
  h.one(h.spec());
  h.one(h.spec());
  h.step(ScaleRequested{1, "model", 1});
  h.step(ScaleRequested{2, "model", 2});
  for (int i = 0; i < 40; ++i) second(h);
  EXPECT_TRUE(h.stopped.empty());
  EXPECT_EQ(running(h), 2u);
}

TEST(CoreScaling, AReplicaThatStillLoadsIsStoppedAtOnce) {
  CoreHarness h(test_setup(2));
  h.step(Started{});
  h.step(ScaleRequested{1, "model", 1});
  ASSERT_EQ(h.stopped.size(), 1u);
  EXPECT_TRUE(h.stopped[0].kill);
  EXPECT_TRUE(h.warnings.empty());
}

TEST(CoreScaling, FromNoneTheFirstRequestStartsOneAtOnce) {
  CoreHarness h(scaled_setup(/*min_replicas=*/0));
  h.start();
  EXPECT_EQ(h.live.size(), 1u);  // Echo's.
  EXPECT_EQ(h.core.health().status, HealthStatus::kOk);
  const Placed placed = h.one(h.spec());
  EXPECT_EQ(placed.status, TaskStatus::kQueued);
  ASSERT_EQ(h.started.size(), 1u);
  h.load_all();
  ASSERT_EQ(h.runs.size(), 1u);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kCompleted);
  for (int i = 0; i < 5; ++i) second(h);
  EXPECT_EQ(model(h).target_replicas, 0u);
  ASSERT_EQ(h.stopped.size(), 1u);
  h.step(WorkerLost{h.stopped[0].worker, "it ended"});
  EXPECT_TRUE(model(h).replicas.empty());
  EXPECT_EQ(h.core.devices()[0].memory_used + h.core.devices()[1].memory_used, 0u);
  h.one(h.spec());
  EXPECT_EQ(h.started.size(), 1u);
}

// The place that is taken first is where tasks wait, wherever placement has put them.
TEST(CoreScaling, TasksThatWaitWhereNoReplicaComesMoveToWhereOneDoes) {
  CoreHarness h(scaled_setup(/*min_replicas=*/0, /*sequences_max=*/8));
  h.start();
  h.step(ScaleRequested{1, "model", 0});
  TaskSpec spec = h.spec();
  EXPECT_FALSE(h.admissions.at(h.submit({spec})).ok());  // Nobody would start a replica.
  h.step(ScaleRequested{2, "model", std::nullopt});
  std::vector<Placed> placed;
  for (int i = 0; i < 6; ++i) placed.push_back(h.one(h.spec()));
  EXPECT_EQ(h.started.size(), 1u);
  h.load_all();
  EXPECT_EQ(h.runs.size(), 6u);
}

TEST(CoreScaling, APersonsNumberStandsUntilItIsGivenBack) {
  CoreHarness h(scaled_setup());
  h.start();
  h.step(ScaleRequested{1, "model", 3});
  ASSERT_TRUE(h.changes.at(1).ok());
  h.load_all();
  for (int i = 0; i < 10; ++i) second(h);
  EXPECT_EQ(model(h).target_replicas, 3u);
  EXPECT_TRUE(model(h).held);
  h.step(ScaleRequested{2, "model", std::nullopt});
  for (int i = 0; i < 3; ++i) second(h);
  EXPECT_EQ(model(h).target_replicas, 1u);
  EXPECT_FALSE(model(h).held);
  h.step(ScaleRequested{3, "model", 4});
  EXPECT_THAT(h.changes.at(3).error().message(), HasSubstr("places for 3 replicas"));
  h.step(ScaleRequested{4, "echo", std::nullopt});
  EXPECT_THAT(h.changes.at(4).error().message(), HasSubstr("no autoscaling_config"));
  h.step(ScaleRequested{5, "nobody", 1});
  EXPECT_EQ(h.changes.at(5).error().code(), ErrorCode::kNotFound);
  h.step(DrainRequested{});
  h.step(ScaleRequested{6, "model", 1});
  EXPECT_EQ(h.changes.at(6).error().code(), ErrorCode::kUnavailable);
}

TEST(CoreScaling, ScaledToNoneItSaysSo) {
  CoreHarness h(test_setup(1));
  h.start();
  h.step(ScaleRequested{1, "model", 0});
  const auto refused = h.admissions.at(h.submit({h.spec()}));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("scaled to no replica"));
  EXPECT_EQ(h.core.health().status, HealthStatus::kUnavailable);
}

// A replica that crashes while it ends its last task is a crash like any other.
TEST(CoreScaling, ACrashOfALeavingReplicaCounts) {
  CoreSetup setup = test_setup(2);
  setup.crashes_max = 1;
  CoreHarness h(setup);
  h.start();
  h.one(h.spec());
  const Placed placed = h.one(h.spec());
  h.step(ScaleRequested{1, "model", 1});
  h.step(WorkerLost{{h.runs[1].replica}, "killed by signal 11"});
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kFailed);
  EXPECT_TRUE(h.started.empty());
}

TEST(CoreScaling, ASavedCoreScalesOn) {
  CoreHarness h(scaled_setup());
  h.start();
  for (int i = 0; i < 6; ++i) h.one(h.spec());
  second(h);
  Core other(scaled_setup());
  ASSERT_TRUE(other.load(h.core.save()).ok());
  EXPECT_EQ(other.hash(), h.core.hash());
  std::vector<Action> actions;
  h.now += kSecond;
  other.step(Tick{}, h.now, actions);
  h.step(Tick{});
  EXPECT_EQ(other.hash(), h.core.hash());
}

// Goal: whatever is asked and crashes, each task ends once, and what is wanted comes to be.
TEST(CoreScaling, AnyOrderOfScalingAndCrashesKeepsItsPromises) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    CoreSetup setup = scaled_setup(static_cast<uint32_t>(seed % 2));
    setup.crashes_max = 100;
    setup.deployments[0].graceful_shutdown_timeout_us = 2 * kSecond;
    CoreHarness h(setup);
    h.start();
    uint64_t state = seed;
    const auto draw = [&state](uint64_t below) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return (state >> 33) % below;
    };
    std::vector<Placed> placed;
    for (int i = 0; i < 120; ++i) {
      switch (draw(8)) {
        case 0:
        case 1:
          if (const uint64_t ticket = h.submit({h.spec()}); h.admissions.at(ticket).ok())
            placed.push_back(h.submissions.at(ticket)->at(0));
          break;
        case 2:
          h.step(ScaleRequested{h.next_ticket++, "model", static_cast<uint32_t>(draw(4))});
          break;
        case 3:
          h.step(ScaleRequested{h.next_ticket++, "model", std::nullopt});
          break;
        case 4:
          if (!h.live.empty()) {
            const ReplicaId dead = *std::next(h.live.begin(), draw(h.live.size()));
            h.live.erase(dead);
            h.step(WorkerLost{{dead}, "killed by signal 9"});
          }
          break;
        case 5:
          for (const StopWorker& stop : std::exchange(h.stopped, {}))
            h.step(WorkerLost{stop.worker, "it ended"});
          break;
        case 6:
          if (!h.runs.empty()) {
            const auto& run = h.runs[draw(h.runs.size())];
            if (h.live.contains(run.replica)) h.finish(run);
          }
          break;
        default:
          second(h);
      }
      if (draw(2) == 0) h.load_all();
    }
    h.step(ScaleRequested{h.next_ticket++, "model", 3});
    for (int i = 0; i < 200 && h.core.unfinished() > 0; ++i) {
      h.load_all();
      second(h);
      for (const StopWorker& stop : std::exchange(h.stopped, {}))
        h.step(WorkerLost{stop.worker, "it ended"});
      for (size_t run = 0; run < h.runs.size(); ++run)
        if (h.live.contains(h.runs[run].replica)) h.finish(CoreHarness::Run(h.runs[run]));
    }
    ASSERT_EQ(h.core.unfinished(), 0u) << "seed " << seed;
    for (const Placed& one : placed) {
      ASSERT_EQ(h.ends[one.task], 1) << "seed " << seed;
      ASSERT_EQ(h.view(one.task).status, TaskStatus::kCompleted) << "seed " << seed;
    }
    for (int i = 0; i < 100 && running(h) < 3; ++i) {
      h.load_all();
      second(h);
    }
    ASSERT_EQ(running(h), 3u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace altlas::control
