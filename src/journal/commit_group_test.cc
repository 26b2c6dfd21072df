// Goal: calls that are written together keep their order and their limit, and each call is told its
// outcome. Method: a store that notes the calls and fails where the test says so.
#include "journal/commit_group.h"

#include <gtest/gtest.h>

#include <set>

#include "journal/test_events.h"

namespace altlas::journal {
namespace {

class NotingStore final : public Store {
 public:
  explicit NotingStore(std::set<std::string> failing = {}) : failing_(std::move(failing)) {}
  Result<void> append(std::span<const TaskEvent> events) override {
    appended.insert(appended.end(), events.begin(), events.end());
    return note("append");
  }
  Result<void> replay(const std::function<Result<void>(TaskEvent)>&) override { return {}; }
  Result<void> forget(std::span<const TaskId> tasks) override {
    forgotten.assign(tasks.begin(), tasks.end());
    return note("forget");
  }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    return note(std::string(name) + "=" + std::string(value));
  }
  Result<std::string> get_value(std::string_view) override { return not_found("no value"); }

  std::vector<std::string> calls;
  std::vector<TaskEvent> appended;
  std::vector<TaskId> forgotten;

 private:
  Result<void> note(const std::string& call) {
    calls.push_back(call);
    if (failing_.contains(call)) return io_error("disk full");
    return {};
  }
  const std::set<std::string> failing_;
};

WriteRequest with_events(uint64_t first, uint64_t count) {
  WriteRequest out;
  for (uint64_t i = first; i < first + count; ++i)
    out.events.push_back({task_id(i), static_cast<TimeUs>(i), TaskAccepted{}});
  return out;
}

TEST(CommitGroup, TakesAsManyEventsAsACommitHolds) {
  CommitGroup group(5);
  EXPECT_TRUE(group.empty());
  WriteRequest first = with_events(1, 3), second = with_events(4, 2), third = with_events(6, 1);
  EXPECT_TRUE(group.add(first));
  EXPECT_TRUE(group.add(second));
  EXPECT_FALSE(group.add(third));
  EXPECT_EQ(third.events.size(), 1u) << "what was not taken is untouched";
  WriteRequest nothing;
  EXPECT_TRUE(group.add(nothing)) << "a call without events needs no room";
  EXPECT_EQ(group.events(), 5u);
  CommitGroup other(5);
  WriteRequest large = with_events(1, 9);
  EXPECT_TRUE(other.add(large)) << "the first one always has room";
  EXPECT_EQ(other.events(), 9u);
}

TEST(CommitGroup, WritesEventsThenForgetsThenPutsTheLastValues) {
  CommitGroup group(100);
  WriteRequest one = with_events(1, 2), two = with_events(3, 1), three;
  one.forgotten = {task_id(8)};
  one.name = "tokens";
  one.value = "1";
  three.forgotten = {task_id(9)};
  three.name = "tokens";
  three.value = "2";
  for (WriteRequest* request : {&one, &two, &three}) ASSERT_TRUE(group.add(*request));
  NotingStore store;
  EXPECT_EQ(group.write(store).failures(), 0u);
  EXPECT_EQ(store.calls, (std::vector<std::string>{"append", "forget", "tokens=2"}));
  ASSERT_EQ(store.appended.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(store.appended[i].task, task_id(i + 1));
  EXPECT_EQ(store.forgotten, (std::vector<TaskId>{task_id(8), task_id(9)}));
}

TEST(CommitGroup, SaysWhichPartFailed) {
  for (const std::string failing : {"append", "forget", "tokens=1"}) {
    SCOPED_TRACE(failing);
    CommitGroup group(100);
    WriteRequest one = with_events(1, 1);
    one.forgotten = {task_id(8)};
    one.name = "tokens";
    one.value = "1";
    ASSERT_TRUE(group.add(one));
    NotingStore store({failing});
    const CommitGroup::Outcome outcome = group.write(store);
    EXPECT_EQ(store.calls.size(), 3u) << "the others are tried all the same";
    EXPECT_EQ(outcome.failures(), 1u);
    EXPECT_EQ(outcome.appended.ok(), failing != "append");
    EXPECT_EQ(outcome.forgot.ok(), failing != "forget");
    EXPECT_EQ(outcome.valued.ok(), failing != "tokens=1");
  }
}

TEST(CommitGroup, AsksNothingOfTheStoreForNothing) {
  CommitGroup group(100);
  WriteRequest nothing;
  ASSERT_TRUE(group.add(nothing));
  NotingStore store;
  EXPECT_EQ(group.write(store).failures(), 0u);
  EXPECT_TRUE(store.calls.empty());
}

}  // namespace
}  // namespace altlas::journal
