// Goal: the loop keeps as many steps in flight as the executor takes, reports statistics in time,
// and drops an adapter only once no step in flight can name it. Method: an executor that the test
// controls.
#include "engine/replica_loop.h"

#include <gtest/gtest.h>

#include <deque>

#include "engine/test_limits.h"
#include "scheduler/test_ranks.h"

namespace altlas::engine {
namespace {

using Next = ReplicaLoop::Next;

class ExecutorByHand final : public Executor {
 public:
  explicit ExecutorByHand(int depth) : depth_(depth) {}
  const ReplicaLimits& limits() const override { return limits_; }
  void launch(StepPlan plan) override { flying_.push_back(std::move(plan)); }
  Result<StepResult> collect() override {
    if (broken) return Error(ErrorCode::kDevice, "the device is gone");
    StepResult result = ranks_.run(flying_.front());
    flying_.pop_front();
    return result;
  }
  int in_flight() const override { return static_cast<int>(flying_.size()); }
  int depth() const override { return depth_; }
  Result<uint64_t> load_adapter(uint32_t, const std::string&) override { return uint64_t{10}; }
  void drop_adapter(uint32_t id) override { dropped.push_back(id); }

  bool broken = false;
  std::vector<uint32_t> dropped;

 private:
  const ReplicaLimits limits_ = test_limits();
  const int depth_;
  scheduler::TestRanks ranks_{4, 4, test_limits().groups, 100};
  std::deque<StepPlan> flying_;
};

struct Bench {
  explicit Bench(int depth) : executor(depth) {}
  void submit(uint64_t id, int32_t tokens, const std::string& adapter = "") {
    SubmitSequence s;
    s.sequence = SequenceId{id};
    s.prompt = {1, 2, 3};
    s.tokens_max = tokens;
    s.adapter = adapter;
    loop.handle(std::move(s));
  }
  ExecutorByHand executor;
  ReplicaCore core{test_limits(), {.adapters = {"first"}}, nullptr};
  ReplicaLoop loop{core, executor};
};

TEST(ReplicaLoop, KeepsTheExecutorFull) {
  for (const int depth : {1, 2, 3}) {
    SCOPED_TRACE(depth);
    Bench b(depth);
    b.loop.handle(LoadReplica());  // It is loaded already.
    EXPECT_EQ(b.loop.turn(), Next::kWait);
    b.submit(1, 8);
    for (int step = 1; step < depth; ++step) {
      EXPECT_EQ(b.loop.turn(), Next::kAgain);
      EXPECT_EQ(b.executor.in_flight(), step);
    }
    EXPECT_EQ(b.loop.turn(), Next::kCollect);
    EXPECT_EQ(b.executor.in_flight(), depth);
    int collected = 0;
    for (Next next = Next::kCollect; next != Next::kWait; next = b.loop.turn()) {
      EXPECT_LE(b.executor.in_flight(), depth);
      if (next != Next::kCollect) continue;
      ASSERT_TRUE(b.loop.collect().ok());
      ASSERT_LE(++collected, 100);
    }
    EXPECT_EQ(b.executor.in_flight(), 0);
    bool finished = false;
    for (const Report& report : b.loop.take_reports())
      if (const auto* done = std::get_if<SequenceFinished>(&report))
        finished = done->result.tokens == 8;
    EXPECT_TRUE(finished);
  }
}

TEST(ReplicaLoop, SaysStatisticsAtOnceAndThenInTime) {
  Bench b(1);
  const TimeUs now = 5 * kSecond;
  ASSERT_TRUE(b.loop.stats(now));
  EXPECT_EQ(b.loop.stats_due(), now + kStatsPeriodUs);
  EXPECT_FALSE(b.loop.stats(now + kStatsPeriodUs - 1));
  EXPECT_TRUE(b.loop.stats(now + kStatsPeriodUs));
}

TEST(ReplicaLoop, AnAdapterLeavesBehindTheStepsInFlight) {
  Bench b(2);
  b.submit(1, 1, "first");
  EXPECT_EQ(b.loop.turn(), Next::kAgain);
  b.submit(2, 8);
  EXPECT_EQ(b.loop.turn(), Next::kCollect);
  b.loop.handle(UnloadAdapter{"first"});
  b.loop.drop_adapters();
  EXPECT_TRUE(b.executor.dropped.empty()) << "a step in flight names it";
  // The sequence ends in this step; another one is still in flight.
  ASSERT_TRUE(b.loop.collect().ok());
  EXPECT_TRUE(b.executor.dropped.empty());
  ASSERT_TRUE(b.loop.collect().ok());
  EXPECT_EQ(b.executor.dropped, std::vector<uint32_t>{1});
  Bench idle(2);
  idle.loop.handle(UnloadAdapter{"first"});
  idle.loop.drop_adapters();
  EXPECT_EQ(idle.executor.dropped, std::vector<uint32_t>{1}) << "nothing is in flight";
}

TEST(ReplicaLoop, ADeviceThatFailsEndsIt) {
  Bench b(1);
  b.submit(1, 4);
  EXPECT_EQ(b.loop.turn(), Next::kCollect);
  b.executor.broken = true;
  const Result<void> collected = b.loop.collect();
  ASSERT_FALSE(collected.ok());
  EXPECT_EQ(collected.error().code(), ErrorCode::kDevice);
}

}  // namespace
}  // namespace altlas::engine
