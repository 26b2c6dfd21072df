// Goal: tasks are found by everything they can be found by, and by nothing once they are removed.
#include "control/core/task_table.h"

#include "control/core/core_parts_test.h"

namespace altlas::control {
namespace {

TaskSpec spec(uint64_t id, std::string owner = "ada", std::string key = "") {
  TaskSpec out;
  out.id = TaskId{1, id};
  out.owner = std::move(owner);
  out.idempotency_key = std::move(key);
  out.body_hash = 5;
  return out;
}

void end(TaskTable& tasks, Task& task) {
  task.phase = TaskPhase::kWaiting;
  tasks.leave_group(task);
  task.end = TaskStatus::kCompleted;
  tasks.show(task, TaskStatus::kCompleted);
  tasks.keep(task);
}

constexpr TimeUs kNow = kSecond;
constexpr int64_t kTtl = 1000 * kSecond;

uint64_t known(const TaskTable& tasks, const TaskSpec& one) {
  return tasks.known(one, kNow, kTtl).value().number;
}

// Forgets old tasks, with and without keys.
std::vector<TaskId> forget_old(TaskTable& tasks, uint64_t tasks_max) {
  auto out = tasks.forget_old({tasks_max, UINT64_MAX, kTtl}, kNow,
                              [](const Task&) { return DeviceId{0}; });
  out.tasks.insert(out.tasks.end(), out.with_key.begin(), out.with_key.end());
  return out.tasks;
}

TEST(TaskTable, FindsTasksByIdKeyGroupAndDeadline) {
  TaskTable tasks;
  TaskSpec first = spec(1, "ada", "k");
  first.batch_group = 9;
  first.deadline = 500;
  Task& task = tasks.add(first, 100);
  EXPECT_EQ(tasks.find(TaskId{1, 1}), &task);
  EXPECT_EQ(tasks.find(task.number), &task);
  EXPECT_EQ(known(tasks, spec(2, "ada", "k")), task.number);
  EXPECT_EQ(known(tasks, spec(2, "eve", "k")), 0u);
  TaskSpec other = spec(2, "ada", "k");
  other.body_hash = 6;
  EXPECT_EQ(tasks.known(other, kNow, kTtl).error().code(), ErrorCode::kConflict);
  EXPECT_EQ(tasks.known(spec(1), kNow, kTtl).error().code(), ErrorCode::kInternal);
  EXPECT_EQ(tasks.group(9).size(), 1u);
  EXPECT_TRUE(tasks.group(8).empty());
  task.phase = TaskPhase::kRunning;
  tasks.watch_deadline(task);
  EXPECT_EQ(tasks.next_deadline(), 500);
  EXPECT_EQ(tasks.past_deadline(499), nullptr);
  EXPECT_EQ(tasks.past_deadline(500), &task);
  tasks.check_integrity();
  tasks.unwatch_deadline(task);
  task.phase = TaskPhase::kJournaling;
  tasks.remove(task);
  EXPECT_EQ(tasks.find(TaskId{1, 1}), nullptr);
  EXPECT_EQ(known(tasks, spec(1, "ada", "k")), 0u);
  EXPECT_TRUE(tasks.group(9).empty());
  EXPECT_EQ(tasks.unfinished(), 0u);
  tasks.check_integrity();
}

TEST(TaskTable, ListsNewestFirstAndForgetsTheOldest) {
  TaskTable tasks;
  for (uint64_t id = 1; id <= 6; ++id) {
    Task& task = tasks.add(spec(id, id % 2 == 0 ? "ada" : "eve"), 0);
    if (id <= 4) end(tasks, task);
  }
  EXPECT_EQ(tasks.list({.limit = 2, .offset = 1}).first, (std::vector<uint64_t>{5, 4}));
  EXPECT_EQ(tasks.list({.owner = "eve"}).first, (std::vector<uint64_t>{5, 3, 1}));
  EXPECT_EQ(tasks.list({.status = TaskStatus::kQueued}).second, 2u);
  EXPECT_EQ(tasks.unfinished(), 2u);
  EXPECT_EQ(forget_old(tasks, 4).size(), 0u);
  EXPECT_EQ(forget_old(tasks, 1).size(), 3u);
  EXPECT_EQ(tasks.list({}).second, 3u);
  tasks.check_integrity();
}

TEST(TaskTable, IsSaved) {
  TaskTable tasks;
  Task& running = tasks.add(spec(1, "ada", "k"), 100);
  running.phase = TaskPhase::kRunning;
  running.spec.deadline = 700;
  running.generated = {1, 2, 3};
  running.text = "abc";
  tasks.watch_deadline(running);
  TaskSpec grouped = spec(2);
  grouped.batch_group = 4;
  tasks.add(grouped, 100);
  end(tasks, tasks.add(spec(3, "eve", "key"), 100));
  expect_saved(tasks, [] { return std::make_unique<TaskTable>(); });
  TaskTable again;
  ASSERT_TRUE(again.load(tasks.save()).ok());
  EXPECT_EQ(again.next_deadline(), 700);
  EXPECT_EQ(again.group(4).size(), 1u);
  EXPECT_EQ(known(again, spec(9, "eve", "key")), 3u);
  EXPECT_EQ(again.find(TaskId{1, 1})->text, "abc");
}

}  // namespace
}  // namespace altlas::control
