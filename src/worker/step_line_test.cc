// Goal: a leader and its followers go through the same steps: plans arrive as they were, results
// come from the worker that has them, and what goes wrong anywhere ends the replica with words.
// Method: executors that compute nothing, a thread for each follower, groups of threads.
#include "worker/step_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <thread>
#include <utility>

#include "collective/join.h"

namespace altlas::worker {
namespace {

using engine::Executor;

// Answers each step with its id and the number of the worker; keeps what it was told.
class PretendedExecutor final : public Executor {
 public:
  explicit PretendedExecutor(uint32_t worker) : worker_(worker) {}

  const engine::ReplicaLimits& limits() const override { return limits_; }
  void launch(StepPlan plan) override {
    plans.push_back(plan);
    ++launched_;
    ++in_flight_;
  }
  Result<StepResult> collect() override {
    --in_flight_;
    const auto step = collected_++;
    if (step == fails_at) return Error(ErrorCode::kDevice, "the rank fell over");
    StepResult out{.id = StepId{10 + step}, .busy_us = 100 * worker_ + 1};
    out.sampled.push_back({.slot = 0, .token = static_cast<int32_t>(worker_)});
    if (worker_ == 1) out.rank_busy_us = {7, 8};
    return out;
  }
  int in_flight() const override { return in_flight_; }
  int depth() const override { return 2; }
  Result<uint64_t> load_adapter(uint32_t, const std::string&) override { return uint64_t{1}; }
  void drop_adapter(uint32_t id) override { dropped.push_back(id); }

  std::vector<StepPlan> plans;
  std::vector<uint32_t> dropped;
  uint64_t fails_at = UINT64_MAX;

 private:
  const uint32_t worker_;
  const engine::ReplicaLimits limits_;
  std::atomic<int> in_flight_ = 0;
  std::atomic<uint64_t> launched_ = 0;
  uint64_t collected_ = 0;
};

// Two followers of a leader: worker 1 has ranks 1 and 2, worker 2 has rank 3, which gives results.
class StepLineTest : public ::testing::Test {
 protected:
  void open(std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
    plans = collective::make_thread_groups(3, {.timeout = std::chrono::hours(1)}).value();
    results = collective::make_thread_groups(3, {.timeout = timeout}).value();
    auto own = std::make_unique<PretendedExecutor>(0);
    leader_own = own.get();
    leader = std::make_unique<LeadingExecutor>(std::move(own),
                                               StepLine{std::move(plans[0]), std::move(results[0])},
                                               std::vector<uint32_t>{0, 1, 1, 2}, 3);
  }
  void start(uint32_t worker) {
    StepLine line{std::move(plans[worker]), std::move(results[worker])};
    threads.emplace_back(
        [this, worker, line = std::move(line)] { ends[worker] = follow(followers[worker], line); });
  }
  static StepPlan plan(uint64_t id) {
    StepPlan out;
    out.id = StepId{id};
    out.entries.push_back({.slot = 3, .position = 5, .tokens = {4, 9}, .samples = true});
    out.ends = {2};
    return out;
  }

  collective::Groups plans, results;
  PretendedExecutor* leader_own = nullptr;
  PretendedExecutor followers[3] = {PretendedExecutor(0), PretendedExecutor(1),
                                    PretendedExecutor(2)};
  Result<void> ends[3];
  std::unique_ptr<LeadingExecutor> leader;
  std::vector<std::jthread> threads;
};

TEST_F(StepLineTest, EveryWorkerTakesTheSameStepsAndOneGivesTheResult) {
  open();
  start(1);
  start(2);
  leader->launch(plan(10));
  leader->launch(plan(11));
  EXPECT_EQ(leader->in_flight(), 2);
  for (const uint64_t id : {10u, 11u}) {
    const auto result = leader->collect();
    ASSERT_TRUE(result.ok()) << result.error().message();
    EXPECT_EQ(result->id.value, id);
    ASSERT_EQ(result->sampled.size(), 1u);
    EXPECT_EQ(result->sampled[0].token, 2);
    EXPECT_EQ(result->busy_us, 1);
    EXPECT_EQ(result->rank_busy_us, (std::vector<int64_t>{1, 7, 8, 201}));
  }
  leader->drop_adapter(77);
  leader.reset();
  threads.clear();
  for (const uint32_t worker : {1u, 2u}) {
    EXPECT_TRUE(ends[worker].ok());
    ASSERT_EQ(followers[worker].plans.size(), 2u);
    const StepPlan& got = followers[worker].plans[0];
    EXPECT_EQ(got.id.value, 10u);
    EXPECT_EQ(got.entries.at(0).tokens, (std::vector<int32_t>{4, 9}));
    EXPECT_EQ(got.ends, std::vector<int32_t>{2});
    EXPECT_EQ(followers[worker].dropped, std::vector<uint32_t>{77});
  }
}

TEST_F(StepLineTest, AStepThatFailsAnywhereFailsForAll) {
  open();
  followers[2].fails_at = 1;
  start(1);
  start(2);
  leader->launch(plan(10));
  ASSERT_TRUE(leader->collect().ok());
  leader->launch(plan(11));
  const auto failed = leader->collect();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kDevice);
  leader->launch(plan(12));
  EXPECT_FALSE(leader->collect().ok());
  leader.reset();
  threads.clear();
  EXPECT_FALSE(ends[2].ok());
  EXPECT_NE(ends[2].error().message().find("fell over"), std::string::npos);
  EXPECT_FALSE(ends[1].ok());  // The replica is lost for it too.
}

TEST_F(StepLineTest, AFollowerThatDoesNotAnswerIsNamed) {
  open(std::chrono::milliseconds(200));
  start(1);  // Worker 2 takes its plans out of nobody's hand.
  leader->launch(plan(10));
  const auto failed = leader->collect();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kDevice);
  for (const char* words : {"worker 2", "step 10", "rank 2", "timeout"})
    EXPECT_NE(failed.error().message().find(words), std::string::npos) << failed.error().message();
  leader.reset();
}

TEST_F(StepLineTest, ALeaderThatIsGoneEndsItsFollowers) {
  open();
  start(1);
  start(2);
  plans.clear();
  leader->launch(plan(10));
  ASSERT_TRUE(leader->collect().ok());
  leader.reset();  // It says that it goes.
  threads.clear();
  EXPECT_TRUE(ends[1].ok());
  EXPECT_TRUE(ends[2].ok());
}

TEST_F(StepLineTest, AdaptersComeWithTheReplica) {
  open();
  const auto refused = leader->load_adapter(1, "a.gguf");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message().find("engine.lora_modules"), std::string::npos);
}

// Goal: a follower refuses what is no plan, too many plans, and messages that are none; nothing
// hangs.
TEST(StepLine, WhatDoesNotBelongIsRefused) {
  StepPlan plan;
  const StepMessage wrong[] = {{StepMessage::Kind::kResult, "x"},
                               {StepMessage::Kind::kPlan, "\xff\xff\xff"},
                               {StepMessage::Kind::kDropAdapter, "12345"},
                               {static_cast<StepMessage::Kind>(99), ""}};
  for (const StepMessage& message : wrong) {
    auto plans = collective::make_thread_groups(2, {}).value();
    auto results = collective::make_thread_groups(2, {}).value();
    Result<void> end;
    PretendedExecutor own(1);
    std::jthread follower([&] {
      end = follow(own,
                   {std::shared_ptr(std::move(plans[1])), std::shared_ptr(std::move(results[1]))});
    });
    ASSERT_TRUE(send_message(*plans[0], 1, message).ok());
    follower.join();
    ASSERT_FALSE(end.ok());
    EXPECT_EQ(end.error().code(), ErrorCode::kInvalid) << end.error().message();
    EXPECT_TRUE(own.plans.empty());
  }
}

}  // namespace
}  // namespace altlas::worker
