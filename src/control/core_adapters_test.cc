// Goal: LoRA adapters come to every replica or to none, again after restarts, and leave once their
// last task has ended; tasks never reach a replica without their adapter.
#include <gtest/gtest.h>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

class CoreAdapters : public testing::Test {
 protected:
  explicit CoreAdapters(int devices = 2) : h(test_setup(devices)) { h.start(); }

  uint64_t load(const std::string& name) {
    h.step(AdapterLoadRequested{++ticket, "model", {name, "/adapters/" + name}});
    return ticket;
  }
  uint64_t unload(const std::string& name) {
    h.step(AdapterUnloadRequested{++ticket, "model", name});
    return ticket;
  }
  // Carries out the oldest command to load, or fails it with `message`.
  void answer(const std::string& message = "") {
    ASSERT_FALSE(h.adapter_loads.empty());
    const auto [replica, load] = h.adapter_loads.front();
    h.adapter_loads.pop_front();
    h.step(WorkerReported{
        {replica},
        engine::AdapterLoaded{load.adapter.name, 4096, message, ErrorCode::kInvalid, load.load}});
  }
  bool answered(uint64_t which) const { return h.changes.contains(which); }
  const Result<void>& outcome(uint64_t which) const { return h.changes.at(which); }
  TaskSpec task(const std::string& adapter) {
    TaskSpec out = h.spec();
    out.adapter = adapter;
    return out;
  }
  std::vector<std::string> shown() { return h.core.deployments().at(0).adapters; }
  void crash(ReplicaId replica) {
    h.live.erase(replica);
    h.step(WorkerLost{{replica}, "killed by signal 9"});
  }

  CoreHarness h;
  uint64_t ticket = 1000;
};

TEST_F(CoreAdapters, EveryReplicaLoadsBeforeTasksMayNameIt) {
  const uint64_t asked = load("poet");
  ASSERT_EQ(h.adapter_loads.size(), 2u);
  EXPECT_EQ(h.adapter_loads[0].second.adapter.path, "/adapters/poet");
  answer();
  EXPECT_FALSE(answered(asked));
  const uint64_t early = h.submit({task("poet")});
  EXPECT_EQ(h.submissions.at(early).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(h.submissions.at(early).error().field(), "model");
  const uint64_t memory = h.core.devices()[0].memory_used;
  answer();
  ASSERT_TRUE(answered(asked));
  EXPECT_TRUE(outcome(asked).ok());
  EXPECT_EQ(h.core.devices()[1].memory_used, memory);
  EXPECT_EQ(shown(), std::vector<std::string>{"poet"});
  h.one(task("poet"));
  EXPECT_EQ(h.runs.back().command.adapter, "poet");
  EXPECT_FALSE(outcome(load("poet")).ok());
}

TEST_F(CoreAdapters, OneThatFitsNoReplicaIsLoadedByNone) {
  const uint64_t asked = load("wide");
  answer();
  answer("'blk.0.attn_q.weight.lora_a' is [4, 512]");
  ASSERT_TRUE(answered(asked));
  EXPECT_EQ(outcome(asked).error().code(), ErrorCode::kInvalid);
  EXPECT_NE(outcome(asked).error().message().find("[4, 512]"), std::string::npos);
  ASSERT_EQ(h.adapter_unloads.size(), 1u);
  EXPECT_TRUE(shown().empty());
  load("wide");  // The name is free again.
  EXPECT_EQ(h.adapter_loads.size(), 2u);
}

// Goal: a replica's answer to an earlier load of the same name is not taken for one to the later
// load.
struct LateAnswer {
  const char* message;  // The answer to the first load; empty: it succeeded.
  ErrorCode code;
};
class CoreAdaptersLate : public CoreAdapters, public testing::WithParamInterface<LateAnswer> {};

TEST_P(CoreAdaptersLate, IsIgnored) {
  load("poet");
  answer(), answer();
  crash(*h.live.begin());
  h.advance(kBackoffMinUs);
  h.load_all();
  ASSERT_EQ(h.adapter_loads.size(), 1u);  // The replica restarted, and reads the file again.
  const auto [reader, first] = h.adapter_loads.front();
  h.adapter_loads.pop_front();
  EXPECT_TRUE(outcome(unload("poet")).ok());
  const uint64_t again = load("poet");
  h.step(WorkerReported{
      {reader},
      engine::AdapterLoaded{"poet", 4096, GetParam().message, GetParam().code, first.load}});
  EXPECT_FALSE(answered(again));
  ASSERT_EQ(h.adapter_loads.size(), 2u);
  answer();
  EXPECT_FALSE(answered(again));
  answer();
  EXPECT_TRUE(outcome(again).ok());
}

INSTANTIATE_TEST_SUITE_P(All, CoreAdaptersLate,
                         testing::Values(LateAnswer{"it was unloaded while it was read",
                                                    ErrorCode::kCanceled},
                                         LateAnswer{"the file can't be read", ErrorCode::kIo},
                                         LateAnswer{"", ErrorCode::kInternal}));

TEST_F(CoreAdapters, UnloadWaitsForItsTasks) {
  load("poet");
  answer(), answer();
  h.one(task("poet"));
  const auto run = h.runs.back();
  const uint64_t asked = unload("poet");
  EXPECT_FALSE(answered(asked));
  EXPECT_TRUE(h.adapter_unloads.empty());
  EXPECT_EQ(h.submissions.at(h.submit({task("poet")})).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(outcome(load("poet")).error().code(), ErrorCode::kConflict);
  h.finish(run, 3);
  ASSERT_TRUE(answered(asked));
  EXPECT_TRUE(outcome(asked).ok());
  EXPECT_EQ(h.adapter_unloads.size(), 2u);
  EXPECT_EQ(outcome(unload("poet")).error().code(), ErrorCode::kNotFound);
}

TEST_F(CoreAdapters, ARestartedReplicaLoadsItBeforeItsTasks) {
  load("poet");
  answer(), answer();
  h.one(task("poet"));
  h.one(task("poet"));
  ASSERT_EQ(h.runs.size(), 2u);
  const ReplicaId first = h.runs[0].replica, second = h.runs[1].replica;
  ASSERT_NE(first, second);
  crash(first);
  EXPECT_EQ(h.runs.size(), 3u);  // It goes on at the other one.
  crash(second);
  const size_t before = h.runs.size();
  h.advance(kBackoffMinUs);
  EXPECT_TRUE(h.started.front().second.adapters.empty());
  h.load_all();
  EXPECT_EQ(h.runs.size(), before);  // Nobody has the adapter yet.
  ASSERT_EQ(h.adapter_loads.size(), 2u);
  answer();
  EXPECT_GT(h.runs.size(), before);
  answer();
  EXPECT_EQ(h.runs.size(), before + 2);
  for (const auto& run : h.runs) EXPECT_EQ(run.command.adapter, "poet");
}

TEST_F(CoreAdapters, OneThatCanNotBeLoadedAgainFailsItsTasks) {
  load("poet");
  answer(), answer();
  const Placed placed = h.one(task("poet"));
  for (const ReplicaId replica : std::set<ReplicaId>(h.live))
    if (h.core.running(replica) > 0 || replica.value <= 2) crash(replica);
  h.advance(kBackoffMinUs);
  h.load_all();
  answer("the file is gone");
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kQueued);
  answer("the file is gone");
  EXPECT_EQ(h.view(placed.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(placed.task).error.find("the file is gone"), std::string::npos);
  EXPECT_TRUE(shown().empty());
}

TEST_F(CoreAdapters, LimitsAndWrongPlaces) {
  h.step(AdapterLoadRequested{1, "none", {"a", "b"}});
  EXPECT_EQ(outcome(1).error().code(), ErrorCode::kNotFound);
  h.step(AdapterLoadRequested{2, "echo", {"a", "b"}});
  EXPECT_EQ(outcome(2).error().code(), ErrorCode::kInvalid);
  for (int i = 0; i < 32; ++i) load("a" + std::to_string(i));
  EXPECT_EQ(outcome(load("more")).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(outcome(unload("a1")).error().code(), ErrorCode::kConflict);  // It is being loaded.
  for (const ReplicaId replica : std::set<ReplicaId>(h.live)) crash(replica);
  EXPECT_EQ(outcome(1001).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(outcome(load("late")).error().code(), ErrorCode::kUnavailable);
}

TEST_F(CoreAdapters, AStopAnswersWhoWaits) {
  const uint64_t asked = load("poet");
  h.step(StopRequested{});
  EXPECT_EQ(outcome(asked).error().code(), ErrorCode::kUnavailable);
}

// Goal: adapters of the configuration are in LoadReplica, and can be unloaded for good.
TEST(CoreConfiguredAdapters, AreThereFromTheStart) {
  CoreSetup setup = test_setup(1);
  setup.deployments[0].load.adapters = {{"poet", "/poet"}};
  CoreHarness h(std::move(setup));
  h.start();
  EXPECT_TRUE(h.adapter_loads.empty());
  TaskSpec spec = h.spec();
  spec.adapter = "poet";
  h.one(spec);
  h.finish(h.runs.back());
  h.step(AdapterUnloadRequested{5, "model", "poet"});
  EXPECT_TRUE(h.changes.at(5).ok());
  ASSERT_EQ(h.adapter_unloads.size(), 1u);
  const ReplicaId replica = h.runs.back().replica;
  h.live.erase(replica);
  h.step(WorkerLost{{replica}, "gone"});
  h.advance(kBackoffMinUs);
  EXPECT_TRUE(h.started.front().second.adapters.empty());
}

}  // namespace
}  // namespace altlas::control
