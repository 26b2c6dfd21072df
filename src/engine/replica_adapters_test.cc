// Goal: adapters come and go at a replica. They can be named only while they are there, are gone
// once no sequence has them, and their ids are never given twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/replica_core.h"
#include "engine/test_limits.h"
#include "scheduler/test_ranks.h"

namespace altlas::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReplicaAdapters : public testing::Test {
 protected:
  ReplicaAdapters()
      : core(test_limits(), {.adapters = {"first"}}, nullptr),
        ranks(4, 4, test_limits().groups, 20) {}

  void load(const std::string& name) { core.handle(LoadAdapter{{name, "/" + name}}); }
  // Submits a sequence of `tokens` tokens. Returns false if it was refused.
  bool submit(uint64_t id, const std::string& adapter, int32_t tokens = 4) {
    SubmitSequence s;
    s.sequence = SequenceId{id};
    s.prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    s.tokens_max = tokens;
    s.adapter = adapter;
    core.handle(std::move(s));
    for (Report& report : core.take_reports())
      if (auto* failed = std::get_if<SequenceFailed>(&report)) {
        refusal = failed->message;
        return false;
      }
    return true;
  }
  // Carries out the next plan. Returns the adapter of its first new sequence.
  uint32_t step() {
    const StepPlan plan = core.plan();
    uint32_t adapter = UINT32_MAX;
    for (const SlotStart& start : plan.starts) adapter = start.request->adapter;
    if (!plan.empty()) core.commit(ranks.run(plan));
    core.check_integrity();
    return adapter;
  }
  std::vector<AdapterLoaded> said() {
    std::vector<AdapterLoaded> out;
    for (Report& report : core.take_reports())
      if (auto* one = std::get_if<AdapterLoaded>(&report)) out.push_back(*one);
    return out;
  }

  ReplicaCore core;
  scheduler::TestRanks ranks;
  std::string refusal;
};

TEST_F(ReplicaAdapters, NamedOnceTheyAreRead) {
  const uint64_t used = core.stats().device_memory_used[0];
  load("late");
  const auto jobs = core.take_adapter_jobs();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].id, 2u);
  EXPECT_EQ(jobs[0].path, "/late");
  EXPECT_FALSE(submit(1, "late"));
  EXPECT_THAT(refusal, HasSubstr("there are: first"));
  core.adapter_read(2, uint64_t{4096});
  const auto answers = said();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].name, "late");
  EXPECT_EQ(answers[0].bytes, 4096u);
  EXPECT_EQ(answers[0].message, "");
  EXPECT_EQ(core.stats().device_memory_used[0], used + 4096);
  ASSERT_TRUE(submit(2, "late"));
  EXPECT_EQ(step(), 2u);
  ASSERT_TRUE(submit(3, "first"));
  EXPECT_EQ(step(), 1u);
}

TEST_F(ReplicaAdapters, WhatCanNotBeReadIsDropped) {
  load("bad");
  EXPECT_EQ(core.take_adapter_jobs().size(), 1u);
  core.adapter_read(2, invalid("it is cut short"));
  const auto answers = said();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].message, "it is cut short");
  EXPECT_EQ(answers[0].code, ErrorCode::kInvalid);
  EXPECT_THAT(core.take_dropped_adapters(), ElementsAre(2u));
  load("first");
  EXPECT_THAT(said()[0].message, HasSubstr("loaded already"));
  EXPECT_THAT(core.take_adapter_jobs(), IsEmpty());
}

TEST_F(ReplicaAdapters, LeaveWhenTheirLastSequenceEnds) {
  ASSERT_TRUE(submit(1, "first", 3));
  step();
  core.handle(UnloadAdapter{"first"});
  EXPECT_THAT(core.take_dropped_adapters(), IsEmpty());
  EXPECT_FALSE(submit(2, "first"));
  load("first");  // The name is free: another file gets another id.
  EXPECT_EQ(core.take_adapter_jobs()[0].id, 2u);
  while (core.sequences() > 0) {
    EXPECT_THAT(core.take_dropped_adapters(), IsEmpty());
    step();
  }
  EXPECT_THAT(core.take_dropped_adapters(), ElementsAre(1u));
  core.adapter_read(2, uint64_t{1});
  ASSERT_TRUE(submit(3, "first"));
  EXPECT_EQ(step(), 2u);
  core.handle(CancelSequence{SequenceId{3}});
  core.handle(UnloadAdapter{"first"});
  EXPECT_THAT(core.take_dropped_adapters(), ElementsAre(2u));
  core.handle(UnloadAdapter{"first"});  // An unknown adapter is ignored.
  EXPECT_THAT(core.take_dropped_adapters(), IsEmpty());
}

TEST_F(ReplicaAdapters, OneThatIsUnloadedWhileItIsReadGoesAtItsEnd) {
  load("late");
  core.handle(UnloadAdapter{"late"});
  EXPECT_THAT(core.take_dropped_adapters(), IsEmpty());
  core.adapter_read(2, uint64_t{4096});
  EXPECT_THAT(said()[0].message, HasSubstr("unloaded while"));
  EXPECT_THAT(core.take_dropped_adapters(), ElementsAre(2u));
}

// Goal: equal prompts share no KV if their adapters differ, or if the adapter was loaded again.
TEST_F(ReplicaAdapters, PrefixesAreTheirOwn) {
  const auto found = [&] { return core.stats().prefix_hit_tokens; };
  const auto run = [&](uint64_t id, const std::string& adapter) {
    ASSERT_TRUE(submit(id, adapter));
    while (core.sequences() > 0) step();
  };
  run(1, "first");
  EXPECT_EQ(found(), 0u);
  run(2, "first");
  const uint64_t shared = found();
  EXPECT_GT(shared, 0u);
  core.handle(UnloadAdapter{"first"});
  load("first");
  core.adapter_read(2, uint64_t{1});
  run(3, "first");
  EXPECT_EQ(found(), shared);
}

TEST(ReplicaAdaptersLimits, SoManyAndNoMore) {
  ReplicaCore core(test_limits(), {}, nullptr);
  for (size_t i = 0; i <= kAdaptersMax; ++i)
    core.handle(LoadAdapter{{"a" + std::to_string(i), "/a"}});
  EXPECT_EQ(core.take_adapter_jobs().size(), kAdaptersMax);
  const auto reports = core.take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(std::get<AdapterLoaded>(reports[0]).code, ErrorCode::kBusy);
}

}  // namespace
}  // namespace altlas::engine
