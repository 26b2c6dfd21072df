// Goal: an idempotency key stands for its task for its whole time: even if the result is forgotten,
// others make many tasks, or the server restarts. Then it is free. The results that are kept are
// limited by their bytes. Method: the core alone; the journal is what it asked for.
#include <gtest/gtest.h>

#include <algorithm>

#include "control/test_harness.h"
#include "journal/replay.h"

namespace altlas::control {
namespace {

CoreSetup few_kept(uint64_t kept, int64_t ttl_us = 100 * kSecond) {
  CoreSetup setup = test_setup(1);
  setup.tasks_kept_max = kept;
  setup.idempotency_key_ttl_us = ttl_us;
  return setup;
}

TaskSpec keyed(CoreHarness& h, const std::string& owner, const std::string& key,
               uint64_t body = 1) {
  TaskSpec spec = h.spec();
  spec.owner = owner;
  spec.idempotency_key = key;
  spec.body_hash = body;
  return spec;
}

TaskId run(CoreHarness& h, TaskSpec spec, uint32_t tokens = 10) {
  const TaskId id = h.one(std::move(spec)).task;
  h.finish(h.runs.back(), tokens);
  return id;
}

void run_many(CoreHarness& h, const std::string& owner, int count) {
  for (int i = 0; i < count; ++i) {
    TaskSpec spec = h.spec();
    spec.owner = owner;
    run(h, std::move(spec));
  }
}

// What is in the journal, without what the core had it forget.
std::vector<journal::RestoredTask> journal_of(const CoreHarness& h) {
  journal::Replay replay;
  for (const journal::TaskEvent& event : h.journal)
    if (std::ranges::find(h.forgotten, event.task) == h.forgotten.end())
      EXPECT_TRUE(replay.add(event).ok());
  return replay.take();
}

TEST(CoreKeys, OutliveTheResult) {
  CoreHarness h(few_kept(2));
  h.start();
  const TaskId first = run(h, keyed(h, "ada", "k"));
  run_many(h, "ada", 5);
  EXPECT_FALSE(h.core.task(first).ok());
  const size_t runs = h.runs.size();
  const Placed again = h.one(keyed(h, "ada", "k"));
  EXPECT_EQ(again.task, first);
  EXPECT_EQ(again.status, TaskStatus::kCompleted);
  // In one batch beside a new task, each answer is in its place.
  const TaskSpec beside = h.spec();
  const uint64_t both = h.submit({beside, keyed(h, "ada", "k")});
  EXPECT_EQ(h.submissions.at(both)->at(0).task, beside.id);
  EXPECT_EQ(h.submissions.at(both)->at(1).task, first);
  EXPECT_EQ(h.runs.size(), runs + 1);
  const uint64_t other_body = h.submit({keyed(h, "ada", "k", 2)});
  EXPECT_EQ(h.submissions.at(other_body).error().code(), ErrorCode::kConflict);
  EXPECT_NE(h.one(keyed(h, "bob", "k")).task, first) << "a key is its owner's";
}

TEST(CoreKeys, EndWithTheirTime) {
  for (const uint64_t kept : {0, 1, 10}) {
    CoreHarness h(few_kept(kept));
    h.start();
    const TaskId first = run(h, keyed(h, "ada", "k"));
    h.advance(99 * kSecond);
    EXPECT_EQ(h.one(keyed(h, "ada", "k")).task, first) << kept;
    h.advance(2 * kSecond);
    const TaskSpec next = keyed(h, "ada", "k", 5);
    EXPECT_EQ(h.one(next).task, next.id) << kept;
    h.finish(h.runs.back());
    EXPECT_EQ(h.one(keyed(h, "ada", "k", 5)).task, next.id) << kept;
    run_many(h, "ada", 12);
    EXPECT_EQ(h.one(keyed(h, "ada", "k", 5)).task, next.id)
        << "the older task's going frees no key";
    h.advance(200 * kSecond);
    EXPECT_EQ(std::ranges::count(h.forgotten, first), 1) << kept;
    EXPECT_EQ(std::ranges::count(h.forgotten, next.id), 1) << kept;
  }
}

TEST(CoreKeys, OfATaskThatStillRunsNeverEnd) {
  CoreHarness h(few_kept(1, 0));
  h.start();
  const TaskId first = h.one(keyed(h, "ada", "k")).task;
  EXPECT_EQ(h.one(keyed(h, "ada", "k")).task, first);
  h.finish(h.runs.back());
  EXPECT_NE(h.one(keyed(h, "ada", "k")).task, first) << "a time of 0: only while it goes on";
}

TEST(CoreKeys, OutliveARestart) {
  CoreHarness before(few_kept(3));
  before.start();
  const TaskId first = run(before, keyed(before, "ada", "k"));
  const TaskId second = run(before, keyed(before, "bob", "k", 9));
  run_many(before, "mallory", 30);
  run_many(before, "ada", 5);
  run_many(before, "bob", 5);
  ASSERT_FALSE(before.core.task(first).ok());
  CoreHarness after(few_kept(3));
  after.now = before.now + kSecond;
  after.next_id = 1000;
  after.step(TasksRestored{journal_of(before)});
  after.start();
  EXPECT_EQ(after.one(keyed(after, "ada", "k")).task, first);
  EXPECT_EQ(after.one(keyed(after, "bob", "k", 9)).task, second);
  EXPECT_TRUE(after.runs.empty());
  after.advance(100 * kSecond);
  EXPECT_NE(after.one(keyed(after, "ada", "k")).task, first);
}

TEST(CoreKeys, ManyTasksOfOneTakeNoKeyOfAnother) {
  CoreHarness h(few_kept(5));
  h.start();
  std::vector<TaskId> own;
  for (int i = 0; i < 8; ++i) own.push_back(run(h, keyed(h, "ada", std::to_string(i))));
  for (int i = 0; i < 500; ++i) run(h, keyed(h, "mallory", std::to_string(i)));
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(h.one(keyed(h, "ada", std::to_string(i))).task, own[static_cast<size_t>(i)]);
}

TEST(CoreKeys, ResultsAreBoundedByWhatTheyHold) {
  CoreSetup setup = few_kept(1000);
  setup.tasks_kept_bytes_max = 1000;
  CoreHarness h(setup);
  h.start();
  const auto make = [&](const std::string& owner, uint32_t tokens) {
    TaskSpec spec = h.spec();
    spec.owner = owner;
    spec.tokens_max = 600;
    return run(h, std::move(spec), tokens);
  };
  const TaskId small = make("ada", 10);
  std::vector<TaskId> large;
  for (int i = 0; i < 10; ++i) large.push_back(make("mallory", 300));
  h.step(Tick{});
  EXPECT_TRUE(h.core.task(small).ok());
  EXPECT_EQ(h.forgotten, std::vector<TaskId>(large.begin(), large.begin() + 7));
  const TaskId next = make("ada", 400);
  h.step(Tick{});
  EXPECT_TRUE(h.core.task(next).ok());
  EXPECT_TRUE(h.core.task(small).ok());
  EXPECT_FALSE(h.core.task(large[8]).ok());
}

}  // namespace
}  // namespace altlas::control
