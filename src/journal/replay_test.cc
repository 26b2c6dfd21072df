#include "journal/replay.h"

#include <gtest/gtest.h>

#include "journal/test_events.h"

namespace altlas::journal {
namespace {

std::vector<TaskEvent> life(uint64_t number) {
  return {event_of(number, 100, TaskAccepted{full_spec(number), DeviceId{0}}),
          event_of(number, 200, TaskStarted{DeviceId{1}}),
          event_of(number, 300, TaskTokens{0, {5, 6}}), event_of(number, 400, TaskTokens{2, {7}}),
          event_of(number, 500, TaskCompleted{full_result(number)})};
}

Result<std::vector<RestoredTask>> fold(const std::vector<TaskEvent>& events) {
  Replay replay;
  for (const TaskEvent& event : events) ALTLAS_TRY_VOID(replay.add(event));
  return replay.take();
}

TEST(Replay, FoldsAWholeLife) {
  const auto tasks = fold(life(1)).value();
  ASSERT_EQ(tasks.size(), 1u);
  const RestoredTask& task = tasks[0];
  EXPECT_EQ(task.spec.id, task_id(1));
  EXPECT_EQ(task.spec.prompt, full_spec(1).prompt);
  EXPECT_EQ(task.status, TaskStatus::kCompleted);
  EXPECT_EQ(task.device, DeviceId{1});
  EXPECT_EQ(task.generated, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(task.accepted_at, 100);
  EXPECT_EQ(task.started_at, 200);
  EXPECT_EQ(task.first_token_at, 300);
  EXPECT_EQ(task.finished_at, 500);
  EXPECT_EQ(task.starts, 1u);
  EXPECT_EQ(task.result.text, full_result(1).text);
}

// Goal: any torn tail gives a state that the task had. Method: every prefix of a life.
TEST(Replay, ToleratesATornTail) {
  const std::vector<TaskEvent> events = life(1);
  const TaskStatus want[] = {TaskStatus::kQueued, TaskStatus::kRunning, TaskStatus::kRunning,
                             TaskStatus::kRunning, TaskStatus::kCompleted};
  const size_t tokens[] = {0, 0, 2, 3, 3};
  for (size_t size = 1; size <= events.size(); ++size) {
    const auto tasks =
        fold({events.begin(), events.begin() + static_cast<ptrdiff_t>(size)}).value();
    ASSERT_EQ(tasks.size(), 1u);
    EXPECT_EQ(tasks[0].status, want[size - 1]);
    EXPECT_EQ(tasks[0].generated.size(), tokens[size - 1]);
  }
}

TEST(Replay, NamesGaps) {
  std::vector<TaskEvent> events = life(1);
  events.erase(events.begin() + 2);
  auto got = fold(events);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(got.error().message().find("has 0 tokens, the next ones start at index 2"),
            std::string::npos);
  events = life(1);
  events.erase(events.begin());
  got = fold(events);
  ASSERT_FALSE(got.ok());
  EXPECT_NE(got.error().message().find(to_string(task_id(1)) + ", which was never accepted"),
            std::string::npos);
}

// Goal: a task ends once. Method: every pair of ends, the first one holds and the second is
// counted.
TEST(Replay, SecondEndIsIgnoredAndCounted) {
  const decltype(TaskEvent::what) ends[] = {TaskCompleted{full_result(1)},
                                            TaskFailed{ErrorCode::kDevice, "lost"}, TaskCanceled{}};
  const TaskStatus want[] = {TaskStatus::kCompleted, TaskStatus::kFailed, TaskStatus::kCanceled};
  for (size_t first = 0; first < 3; ++first)
    for (size_t second = 0; second < 3; ++second) {
      Replay replay;
      ASSERT_TRUE(replay.add(life(1)[0]).ok());
      ASSERT_TRUE(replay.add(event_of(1, 10, ends[first])).ok());
      ASSERT_TRUE(replay.add(event_of(1, 20, ends[second])).ok());
      ASSERT_TRUE(replay.add(event_of(1, 30, TaskStarted{DeviceId{5}})).ok());
      ASSERT_TRUE(replay.add(event_of(1, 40, TaskTokens{0, {1}})).ok());
      EXPECT_EQ(replay.counts().ended_again, 1u);
      EXPECT_EQ(replay.counts().after_end, 2u);
      const auto tasks = replay.take();
      ASSERT_EQ(tasks.size(), 1u);
      EXPECT_EQ(tasks[0].status, want[first]);
      EXPECT_EQ(tasks[0].finished_at, 10);
      EXPECT_TRUE(tasks[0].generated.empty());
    }
}

TEST(Replay, RepeatedTokensMustAgree) {
  std::vector<TaskEvent> events = life(1);
  events.pop_back();
  events.push_back(event_of(1, 450, TaskStarted{DeviceId{2}}));
  events.push_back(event_of(1, 460, TaskTokens{1, {6, 7, 8}}));
  Replay replay;
  for (const TaskEvent& event : events) ASSERT_TRUE(replay.add(event).ok());
  EXPECT_EQ(replay.counts().tokens_again, 2u);
  const auto tasks = replay.take();
  EXPECT_EQ(tasks[0].generated, (std::vector<int32_t>{5, 6, 7, 8}));
  EXPECT_EQ(tasks[0].starts, 2u);
  EXPECT_EQ(tasks[0].started_at, 200);
  events.push_back(event_of(1, 470, TaskTokens{3, {9}}));
  const auto got = fold(events);
  ASSERT_FALSE(got.ok());
  EXPECT_NE(got.error().message().find("two tokens at index 3"), std::string::npos);
}

// Goal: deterministic, whatever else is interleaved. Method: two tasks interleaved in two ways.
TEST(Replay, SameEventsSameHash) {
  const auto hash = [](const std::vector<TaskEvent>& events) {
    Replay replay;
    for (const TaskEvent& event : events) EXPECT_TRUE(replay.add(event).ok());
    return replay.hash();
  };
  const auto a = life(1), b = life(2);
  const std::vector<TaskEvent> first{a[0], b[0], a[1], a[2], b[1], b[2], a[3], b[3], b[4], a[4]};
  const std::vector<TaskEvent> second{a[0], b[0], b[1], b[2], b[3], b[4], a[1], a[2], a[3], a[4]};
  EXPECT_EQ(hash(first), hash(second));
  EXPECT_NE(hash(first), hash({b[0], a[0]}));
  EXPECT_NE(hash({a[0]}), hash({a[0], a[1]}));
}

}  // namespace
}  // namespace altlas::journal
