// Goal: the core's promises (core.h) hold for each way a task can go. Method: events by hand
// through CoreHarness, which runs check_integrity() after each and checks that streams have no gap
// and submissions one answer.
#include "control/core.h"

#include <gtest/gtest.h>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

int ends_in(const std::vector<journal::TaskEvent>& events, const TaskId& id) {
  int count = 0;
  for (const journal::TaskEvent& event : events)
    if (event.task == id) count += event.what.index() >= 3;
  return count;
}

TEST(Core, ATaskGoesItsWholeWayAndEndsOnce) {
  CoreHarness h(test_setup(2));
  h.start();
  const Placed placed = h.one(h.spec());
  EXPECT_EQ(placed.status, TaskStatus::kRunning);
  ASSERT_EQ(h.runs.size(), 1u);
  h.tokens(h.runs[0], 0, {1, 2, 3});
  EXPECT_EQ(h.view(placed.task).generated_tokens, 3u);
  h.finish(h.runs[0]);
  h.finish(h.runs[0]);  // A second end is ignored.
  const TaskView view = h.view(placed.task);
  EXPECT_EQ(view.status, TaskStatus::kCompleted);
  EXPECT_EQ(view.result->text, "aaaaaaaaaa");
  EXPECT_EQ(h.text[placed.task], "aaaaaaaaaa");  // The rest of the text came with the end.
  EXPECT_EQ(h.ends[placed.task], 1);
  EXPECT_EQ(ends_in(h.journal, placed.task), 1);
  EXPECT_EQ(h.core.unfinished(), 0u);
}

TEST(Core, NothingIsAnsweredBeforeTheJournalHasIt) {
  CoreHarness h(test_setup(1));
  h.start();
  h.journal_auto = false;
  const TaskSpec spec = h.spec();
  const uint64_t ticket = h.submit({spec});
  EXPECT_FALSE(h.submissions.contains(ticket));
  EXPECT_TRUE(h.runs.empty());
  EXPECT_EQ(h.core.devices()[0].task_count, 1u);
  h.write(true);
  EXPECT_TRUE(h.submissions.at(ticket).ok());
  // Nor is an end shown before it is durable; a failed write is tried again.
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(spec.id).status, TaskStatus::kRunning);
  while (!h.appends.empty()) h.write(false);
  EXPECT_EQ(h.ends[spec.id], 0);
  h.advance(2 * kSecond);
  while (!h.appends.empty()) h.write(true);
  EXPECT_EQ(h.view(spec.id).status, TaskStatus::kCompleted);
  EXPECT_EQ(h.ends[spec.id], 1);
}

TEST(Core, AJournalThatFailsLeavesNothingBehind) {
  CoreHarness h(test_setup(1));
  h.start();
  h.journal_auto = false;
  TaskSpec spec = h.spec();
  spec.idempotency_key = "k";
  spec.estimated_memory = 1000;
  const uint64_t used = h.core.devices()[0].memory_used;
  const uint64_t ticket = h.submit({spec});
  EXPECT_EQ(h.core.devices()[0].memory_used, used + 1000);
  h.write(false);
  ASSERT_FALSE(h.submissions.at(ticket).ok());
  EXPECT_EQ(h.submissions.at(ticket).error().code(), ErrorCode::kUnavailable);
  EXPECT_FALSE(h.core.task(spec.id).ok());
  EXPECT_EQ(h.core.devices()[0].memory_used, used);
  EXPECT_EQ(h.core.devices()[0].task_count, 0u);
  EXPECT_TRUE(h.runs.empty());
  // The key is free again.
  spec.id = TaskId{7, 99};
  const uint64_t again = h.submit({spec});
  h.write(true);
  EXPECT_TRUE(h.submissions.at(again).ok());
}

TEST(Core, TheSameKeyGivesTheSameTask) {
  CoreHarness h(test_setup(1));
  h.start();
  TaskSpec first = h.spec(), second = h.spec(), other = h.spec(), stranger = h.spec();
  first.idempotency_key = second.idempotency_key = other.idempotency_key =
      stranger.idempotency_key = "k";
  first.body_hash = second.body_hash = stranger.body_hash = 1;
  other.body_hash = 2;
  stranger.owner = "somebody else";
  h.journal_auto = false;
  const uint64_t a = h.submit({first}), b = h.submit({second});
  EXPECT_FALSE(h.submissions.contains(b));  // It waits for the first submission.
  h.write(true);
  EXPECT_EQ(h.submissions.at(a)->at(0).task, first.id);
  EXPECT_EQ(h.submissions.at(b)->at(0).task, first.id);
  h.journal_auto = true;
  const uint64_t c = h.submit({other});
  EXPECT_EQ(h.submissions.at(c).error().code(), ErrorCode::kConflict);
  const uint64_t d = h.submit({stranger});
  EXPECT_EQ(h.submissions.at(d)->at(0).task, stranger.id);
  // A batch with one conflict is refused as a whole.
  const TaskSpec fresh = h.spec();
  TaskSpec conflict = other;
  conflict.id = TaskId{7, 77};
  const uint64_t e = h.submit({fresh, conflict});
  EXPECT_FALSE(h.submissions.at(e).ok());
  EXPECT_FALSE(h.core.task(fresh.id).ok());
}

TEST(Core, ADuplicateSharesTheFailureOfTheFirst) {
  CoreHarness h(test_setup(1));
  h.start();
  h.journal_auto = false;
  TaskSpec first = h.spec(), second = h.spec();
  first.idempotency_key = second.idempotency_key = "k";
  const TaskSpec beside = h.spec();
  const uint64_t a = h.submit({first}), b = h.submit({second, beside});
  h.write(false);
  EXPECT_FALSE(h.submissions.at(a).ok());
  EXPECT_FALSE(h.submissions.at(b).ok());
  // The other half of b was on its way: it is accepted, though nobody waits for it.
  h.write(true);
  EXPECT_TRUE(h.core.task(beside.id).ok());
}

TEST(Core, RoundRobinAsTheSeedsProgramExpects) {
  CoreHarness h(test_setup(2, /*sequences_max=*/1));
  h.start();
  std::vector<int32_t> got;
  for (int i = 0; i < 5; ++i) {
    TaskSpec spec = h.spec();
    spec.strategy = Strategy::kRoundRobin;
    got.push_back(h.one(spec).device.value);
  }
  EXPECT_EQ(got, (std::vector<int32_t>{0, 1, 0, 1, 0}));
  EXPECT_EQ(h.runs.size(), 2u);
  EXPECT_EQ(h.core.devices()[0].queued_count, 2u);
}

TEST(Core, TwentyLeastLoadedTasksAreSpreadEvenly) {
  CoreHarness h(test_setup(4));
  h.start();
  std::map<int32_t, int> counts;
  for (int i = 0; i < 20; ++i) ++counts[h.one(h.spec()).device.value];
  for (int d = 0; d < 4; ++d) EXPECT_EQ(counts[d], 5) << d;
}

TEST(Core, RefusesWithNumbersWhatCanNeverFit) {
  CoreHarness h(test_setup(2));
  h.start();
  TaskSpec spec = h.spec();
  spec.estimated_memory = (1 << 20) + 1;
  uint64_t ticket = h.submit({spec});
  EXPECT_EQ(h.submissions.at(ticket).error().code(), ErrorCode::kInvalid);
  EXPECT_NE(h.submissions.at(ticket).error().message().find("1048577"), std::string::npos);
  spec = h.spec();
  spec.tokens_max = 1005;
  ticket = h.submit({spec});
  EXPECT_NE(h.submissions.at(ticket).error().message().find("1025"), std::string::npos);
  spec = h.spec();
  spec.specific_device = DeviceId{5};
  ticket = h.submit({spec});
  EXPECT_NE(h.submissions.at(ticket).error().message().find("0, 1"), std::string::npos);
  EXPECT_EQ(h.core.unfinished(), 0u);
}

TEST(Core, KvBlocksOfRunningTasksKeepThePromptWaiting) {
  CoreHarness h(test_setup(1));
  h.kv_blocks = 10;
  h.start();
  TaskSpec spec = h.spec();
  spec.prompt = std::vector<int32_t>(100, 1);  // Its prompt takes 7 blocks.
  const Placed a = h.one(spec);
  spec.id = TaskId{7, 50};
  const Placed b = h.one(spec);
  EXPECT_EQ(a.status, TaskStatus::kRunning);
  EXPECT_EQ(b.status, TaskStatus::kQueued);
  EXPECT_EQ(h.view(b.task).queue_position, 1u);
  EXPECT_NE(h.core.explain(b.task)->rejected.at(0).reason.find("kv: needs 7 blocks, 3 free"),
            std::string::npos);
  spec.id = TaskId{7, 51};
  // Its prompt takes 2 blocks: it passes the task that has to wait.
  spec.prompt = std::vector<int32_t>(30, 1);
  EXPECT_EQ(h.one(spec).status, TaskStatus::kRunning);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kRunning);
}

TEST(Core, TheQueueIsBoundedBeforeAnyTokenizing) {
  CoreSetup setup = test_setup(1, 2);
  setup.max_queue_size = 3;
  CoreHarness h(setup);
  h.start();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(h.submissions.at(h.submit({h.spec()})).ok()) << i;
  const uint64_t ticket = h.submit({h.spec()});
  ASSERT_FALSE(h.admissions.at(ticket).ok());
  EXPECT_EQ(h.admissions.at(ticket).error().code(), ErrorCode::kBusy);
  EXPECT_GE(h.admissions.at(ticket).error().retry_after_ms(), 1000);
  EXPECT_EQ(h.core.held(), 3u);
  h.finish(h.runs[0]);
  EXPECT_TRUE(h.submissions.at(h.submit({h.spec()})).ok());
  // An open ticket holds its place; when it is given back, the place is free again.
  h.finish(h.runs[1]);
  h.step(AdmissionRequested{500, "", "", 1});
  EXPECT_TRUE(h.admissions.at(500).ok());
  EXPECT_FALSE(h.admissions.at(h.submit({h.spec()})).ok());
  h.step(AdmissionReleased{500});
  EXPECT_TRUE(h.admissions.at(h.submit({h.spec()})).ok());
}

TEST(Core, ConcurrencyLimitChangesAtRunTime) {
  CoreHarness h(test_setup(1, 8));
  h.start();
  h.step(ConcurrencyChanged{1});
  for (int i = 0; i < 3; ++i) h.one(h.spec());
  EXPECT_EQ(h.runs.size(), 1u);
  h.step(ConcurrencyChanged{2});
  EXPECT_EQ(h.runs.size(), 2u);
  h.step(ConcurrencyChanged{0});
  EXPECT_EQ(h.runs.size(), 3u);
}

// Goal: limits hold from the change on, and what waits beyond a smaller queue goes on. Method: a
// queue of three shrinks to one, then opens; the thresholds close and open the device.
TEST(Core, LimitsChangeAtRunTime) {
  CoreSetup setup = test_setup(1, 1);
  setup.max_queue_size = 3;
  CoreHarness h(setup);
  h.start();
  LimitsChanged limits{.max_queue_size = 1, .queue_timeout_us = 5 * kSecond, .tasks_kept_max = 100};
  for (int i = 0; i < 4; ++i) h.one(h.spec());
  EXPECT_EQ(h.core.held(), 3u);
  h.step(LimitsChanged(limits));
  h.core.check_integrity();
  EXPECT_FALSE(h.admissions.at(h.submit({h.spec()})).ok());
  for (size_t i = 0; i < 3; ++i) h.finish(h.runs[i]);
  EXPECT_EQ(h.runs.size(), 4u);
  h.finish(h.runs[3]);
  limits.max_temperature = 50;
  h.step(LimitsChanged(limits));
  h.step(DeviceSampled{.device = DeviceId{0}, .temperature = 60});
  h.one(h.spec());
  EXPECT_EQ(h.runs.size(), 4u) << "hotter than it may be";
  limits.max_temperature = 70;
  h.step(LimitsChanged(limits));
  EXPECT_EQ(h.runs.size(), 5u);
  h.finish(h.runs[4]);
}

TEST(Core, StrategyChangesAtRunTime) {
  CoreHarness h(test_setup(3));
  h.start();
  h.step(StrategyChanged{Strategy::kRoundRobin});
  std::vector<int32_t> got;
  for (int i = 0; i < 4; ++i) {
    got.push_back(h.one(h.spec()).device.value);
    if (i == 0) h.finish(h.runs[0]);
  }
  EXPECT_EQ(got, (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(h.core.explain(TaskId{7, 4})->strategy, Strategy::kRoundRobin);
  EXPECT_EQ(h.core.explain(TaskId{7, 4})->alternatives.size(), kStrategyCount - 1);
}

TEST(Core, UnhealthyAndHotDevicesTakeNothingAndTheirTasksMove) {
  CoreHarness h(test_setup(2, 1));
  h.start();
  h.step(DeviceSampled{DeviceId{0}, 50, 0, 90, -1, true});
  std::vector<TaskId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(h.one(h.spec()).task);
  EXPECT_EQ(h.runs.size(), 1u);
  // Device 0 is cool again: a task that waits elsewhere moves to it.
  h.step(DeviceSampled{DeviceId{0}, 50, 0, 60, -1, true});
  EXPECT_EQ(h.runs.size(), 2u);
  EXPECT_EQ(h.core.devices()[0].task_count, 1u);
  for (size_t i = 0; i < ids.size(); ++i) {  // A task's moves say why it is where it is.
    const auto story = h.core.story(ids[i]);
    EXPECT_EQ(story->choice->winner.value, 1);
    ASSERT_EQ(story->moves.size(), i == 1 ? 1u : 0u) << i;
    for (const Move& move : story->moves) {
      EXPECT_EQ(std::tuple(move.from.value, move.to.value, move.at), std::tuple(1, 0, h.now));
      EXPECT_NE(move.reason, "");
    }
  }
  h.step(DeviceSampled{DeviceId{0}, 50, 0, -1, -1, false});
  h.finish(h.runs[1]);
  EXPECT_EQ(h.runs.size(), 2u);  // No task starts on the unhealthy device.
}

TEST(Core, CancelInEveryState) {
  CoreHarness h(test_setup(1, 1));
  h.start();
  const Placed running = h.one(h.spec()), waiting = h.one(h.spec());
  h.step(CancelRequested{waiting.task});
  EXPECT_EQ(h.view(waiting.task).status, TaskStatus::kCanceled);
  EXPECT_TRUE(h.cancels.empty());
  h.step(CancelRequested{running.task});
  EXPECT_EQ(h.view(running.task).status, TaskStatus::kCanceled);
  ASSERT_EQ(h.cancels.size(), 1u);
  EXPECT_FALSE(h.core.cancelable(running.task).ok());
  // The place is free once the replica says so; what it still reports of the cancelled task does
  // not count.
  const Placed next = h.one(h.spec());
  EXPECT_EQ(next.status, TaskStatus::kQueued);
  h.tokens(h.runs[0], 0, {1});
  h.step(
      WorkerReported{{h.runs[0].replica}, engine::SequenceCanceled{h.runs[0].command.sequence, 1}});
  EXPECT_EQ(h.view(next.task).status, TaskStatus::kRunning);
  EXPECT_EQ(h.ends[running.task], 1);
  // The task is cancelled while it is on its way to the journal.
  h.journal_auto = false;
  const TaskSpec spec = h.spec();
  h.submit({spec});
  h.step(CancelRequested{spec.id});
  while (!h.appends.empty()) h.write(true);
  EXPECT_EQ(h.view(spec.id).status, TaskStatus::kCanceled);
  EXPECT_EQ(h.core.cancelable(TaskId{1, 1}).error().code(), ErrorCode::kNotFound);
}

TEST(Core, DeadlineAndQueueTimeoutFailWithTheReason) {
  CoreSetup setup = test_setup(1, 1);
  setup.queue_timeout_us = 20 * kSecond;
  setup.deployments[0].health_check_timeout_us = setup.deployments[1].health_check_timeout_us =
      3600 * kSecond;
  CoreHarness h(setup);
  h.start();
  TaskSpec spec = h.spec();
  spec.deadline = h.now + 30 * kSecond;
  const Placed running = h.one(spec);
  spec = h.spec();
  spec.deadline = h.now + 10 * kSecond;
  const Placed late = h.one(spec), slow = h.one(h.spec());
  h.advance(11 * kSecond);
  EXPECT_EQ(h.view(late.task).status, TaskStatus::kFailed);
  EXPECT_NE(h.view(late.task).error.find("deadline"), std::string::npos);
  EXPECT_EQ(h.view(slow.task).status, TaskStatus::kQueued);
  h.advance(10 * kSecond);
  EXPECT_NE(h.view(slow.task).error.find("queue_timeout"), std::string::npos);
  h.advance(10 * kSecond);
  EXPECT_EQ(h.view(running.task).error_code, ErrorCode::kDeadline);
  EXPECT_EQ(h.cancels.size(), 1u);
}

TEST(Core, AnUnsplitBatchTakesOneDeviceAndStartsTogether) {
  CoreHarness h(test_setup(2, 3));
  h.start();
  h.one(h.spec());  // One place of device 0 is taken.
  TaskSpec pinned = h.spec();
  pinned.specific_device = DeviceId{1};
  h.one(pinned);
  std::vector<TaskSpec> specs = {h.spec(), h.spec(), h.spec()};
  const uint64_t ticket = h.submit(specs, /*split=*/false);
  const auto& placed = *h.submissions.at(ticket);
  EXPECT_EQ(placed[0].device, placed[1].device);
  EXPECT_EQ(placed[0].device, placed[2].device);
  for (const Placed& one : placed) EXPECT_EQ(one.status, TaskStatus::kQueued);
  h.finish(h.runs[placed[0].device.value == 0 ? 0 : 1]);
  for (const Placed& one : placed) EXPECT_EQ(h.view(one.task).status, TaskStatus::kRunning);
  for (size_t i = h.runs.size() - 3; i < h.runs.size(); ++i) h.finish(h.runs[i]);
  h.finish(h.runs[placed[0].device.value == 0 ? 1 : 0]);
  const uint64_t split = h.submit({h.spec(), h.spec()}, true);
  EXPECT_NE(h.submissions.at(split)->at(0).device, h.submissions.at(split)->at(1).device);
}

TEST(Core, ABatchIsCheckedWholeBeforeAnyOfItIsAccepted) {
  CoreHarness h(test_setup(2));
  h.start();
  TaskSpec good = h.spec(), bad = h.spec();
  bad.tokens_max = 5000;
  const uint64_t ticket = h.submit({good, bad});
  EXPECT_FALSE(h.submissions.at(ticket).ok());
  EXPECT_FALSE(h.core.task(good.id).ok());
  EXPECT_TRUE(h.journal.empty());
}

TEST(Core, TokensReachTheJournalWithinFiftyMilliseconds) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed placed = h.one(h.spec());
  h.tokens(h.runs[0], 0, {1});
  h.tokens(h.runs[0], 1, {2});
  EXPECT_LE(h.core.next_deadline(), h.now + kTokenFlushUs);
  h.advance(kTokenFlushUs);
  h.tokens(h.runs[0], 2, {3});
  h.journal_auto = false;
  h.advance(kTokenFlushUs);
  h.tokens(h.runs[0], 3, {4});
  h.advance(kTokenFlushUs);
  EXPECT_EQ(h.appends.size(), 1u);  // At most one write of a task is on its way at a time.
  h.write(false);
  h.journal_auto = true;
  h.advance(kJournalRetryUs);
  std::vector<int32_t> ids;
  for (const journal::TaskEvent& event : h.journal)
    if (const auto* tokens = std::get_if<journal::TaskTokens>(&event.what)) {
      EXPECT_EQ(tokens->first_index, ids.size());
      ids.insert(ids.end(), tokens->ids.begin(), tokens->ids.end());
    }
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(h.text[placed.task], "aaaa");
}

TEST(Core, SyncTokensAreToldOnceDurable) {
  CoreSetup setup = test_setup(1);
  setup.tokens = TokenJournal::kSync;
  CoreHarness h(setup);
  h.start();
  const Placed placed = h.one(h.spec());
  h.journal_auto = false;
  while (!h.appends.empty()) h.write(true);
  h.tokens(h.runs[0], 0, {1, 2});
  EXPECT_EQ(h.text[placed.task], "");
  h.tokens(h.runs[0], 2, {3});
  ASSERT_EQ(h.appends.size(), 1u);
  h.write(true);
  EXPECT_EQ(h.text[placed.task], "aa");
  h.write(true);
  EXPECT_EQ(h.text[placed.task], "aaa");
  h.finish(h.runs[0]);
  EXPECT_EQ(h.text[placed.task], "aaa");
  while (!h.appends.empty()) h.write(true);
  EXPECT_EQ(h.text[placed.task], "aaaaaaaaaa");
  EXPECT_EQ(h.ends[placed.task], 1);
}

TEST(Core, OldTasksAreForgottenInOrder) {
  CoreSetup setup = test_setup(1);
  setup.tasks_kept_max = 2;
  CoreHarness h(setup);
  h.start();
  std::vector<TaskId> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(h.one(h.spec()).task);
    h.finish(h.runs.back());
  }
  h.step(Tick{});
  EXPECT_EQ(h.forgotten, (std::vector<TaskId>{ids[0], ids[1]}));
  EXPECT_FALSE(h.core.task(ids[0]).ok());
  EXPECT_EQ(h.core.tasks({}).total, 2u);
}

TEST(Core, ListsNewestFirstByOwnerAndStatus) {
  CoreHarness h(test_setup(1, 2));
  h.start();
  std::vector<TaskId> ids;
  for (int i = 0; i < 6; ++i) {
    TaskSpec spec = h.spec();
    spec.owner = i % 2 == 0 ? "ann" : "bob";
    ids.push_back(h.one(spec).task);
  }
  h.finish(h.runs[0]);
  TaskFilter filter;
  filter.owner = "ann";
  TaskPage page = h.core.tasks(filter);
  ASSERT_EQ(page.total, 3u);
  EXPECT_EQ(page.tasks[0].id, ids[4]);
  EXPECT_EQ(page.tasks[2].id, ids[0]);
  filter.status = TaskStatus::kCompleted;
  EXPECT_EQ(h.core.tasks(filter).total, 1u);
  filter = {};
  filter.limit = 2;
  filter.offset = 1;
  page = h.core.tasks(filter);
  EXPECT_EQ(page.total, 6u);
  ASSERT_EQ(page.tasks.size(), 2u);
  EXPECT_EQ(page.tasks[0].id, ids[4]);
  EXPECT_EQ(page.tasks[1].id, ids[3]);
}

TEST(Core, DrainingTakesNothingNewAndFinishesTheRest) {
  CoreHarness h(test_setup(1, 1));
  h.start();
  const Placed a = h.one(h.spec()), b = h.one(h.spec());
  h.step(DrainRequested{});
  EXPECT_EQ(h.admissions.at(h.submit({h.spec()})).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(h.core.health().status, HealthStatus::kDraining);
  h.finish(h.runs[0]);
  h.finish(h.runs[1]);
  EXPECT_EQ(h.view(b.task).status, TaskStatus::kCompleted);
  EXPECT_EQ(h.core.unfinished(), 0u);
  h.step(StopRequested{});
  EXPECT_EQ(h.stopped.size(), 2u);  // The model's replica and echo's.
  EXPECT_FALSE(h.stopped[0].kill);
  for (const StopWorker& stop : std::vector(h.stopped))
    h.step(WorkerLost{stop.worker, "exit code 0"});
  h.advance(100 * kSecond);
  EXPECT_TRUE(h.started.empty());
  EXPECT_EQ(h.ends[a.task], 1);
}

TEST(Core, StoppingLeavesDurableTasksInTheJournal) {
  CoreHarness h(test_setup(1));
  h.start();
  const Placed durable = h.one(h.spec());
  TaskSpec spec = h.spec();
  spec.durable = false;
  const Placed passing = h.one(spec);
  h.tokens(h.runs[0], 0, {1, 2});
  h.step(StopRequested{});
  EXPECT_EQ(h.view(passing.task).status, TaskStatus::kFailed);
  EXPECT_EQ(ends_in(h.journal, durable.task), 0);
  bool flushed = false;
  for (const auto& event : h.journal)
    flushed |= std::holds_alternative<journal::TaskTokens>(event.what);
  EXPECT_TRUE(flushed);
}

TEST(Core, TasksThatAreNotDurableLeaveNoTraceInTheJournal) {
  CoreHarness h(test_setup(1));
  h.start();
  TaskSpec spec = h.spec();
  spec.durable = false;
  spec.deployment = "echo";
  spec.prompt = {};
  spec.prompt.add_payload("{}", 0);
  const Placed placed = h.one(spec);
  EXPECT_EQ(h.runs[0].command.prompt.payloads().at(0).content, "{}");
  TaskResult result;
  result.text = "{\"echo\":{},\"calls\":1}";
  h.step(WorkerReported{{h.runs[0].replica},
                        engine::SequenceFinished{h.runs[0].command.sequence, result}});
  EXPECT_EQ(h.view(placed.task).result->text, result.text);
  EXPECT_TRUE(h.journal.empty());
  EXPECT_EQ(h.core.tasks({}).total, 0u);
}

TEST(Core, PriorityDecidesWhoIsNext) {
  CoreHarness h(test_setup(1, 1));
  h.start();
  h.one(h.spec());
  TaskSpec low = h.spec(), high = h.spec();
  low.priority = Priority::kLow;
  high.priority = Priority::kHigh;
  const Placed l = h.one(low), n = h.one(h.spec()), p = h.one(high);
  EXPECT_EQ(h.view(p.task).queue_position, 1u);
  EXPECT_EQ(h.view(n.task).queue_position, 2u);
  EXPECT_EQ(h.view(l.task).queue_position, 3u);
  h.finish(h.runs[0]);
  EXPECT_EQ(h.view(p.task).status, TaskStatus::kRunning);
}

// Goal: the prompt's log-probabilities come before the first token, once, whatever replica gives
// them, and to those who ask later.
TEST(Core, PromptLogprobsComeBeforeTheFirstToken) {
  CoreHarness h(test_setup(1));
  h.start();
  TaskSpec spec = h.spec();
  spec.sampling.prompt_logprobs = 0;
  spec.durable = false;
  const TaskId id = h.one(spec).task;
  const auto say = [&](uint32_t first) {
    TokenDelta delta;
    delta.first_index = delta.text_offset = first;
    delta.ids = {3};
    delta.text = "a";
    if (first == 0) delta.prompt_logprobs = {{5, -1.0f, {}}, {6, -2.0f, {}}};
    h.step(WorkerReported{{h.runs.back().replica},
                          engine::SequenceTokens{h.runs.back().command.sequence, delta}});
  };
  EXPECT_TRUE(h.core.said_prompt_logprobs(id)->empty());
  say(0);
  EXPECT_EQ(h.core.said_prompt_logprobs(id)->size(), 2u);
  const ReplicaId replica = h.runs.back().replica;
  h.live.erase(replica);
  h.step(WorkerLost{{replica}, "gone"});
  h.advance(kBackoffMinUs);
  h.load_all();
  say(0);  // The new replica begins anew: what was seen before is cut off.
  say(1);
  EXPECT_EQ(h.core.said_prompt_logprobs(id)->size(), 2u);
  TaskResult result;
  result.text = "aa";
  result.tokens = 2;
  result.finish_reason = FinishReason::kStop;
  result.prompt_logprobs = {{5, -1.0f, {}}, {6, -2.0f, {}}};
  h.step(WorkerReported{{h.runs.back().replica},
                        engine::SequenceFinished{h.runs.back().command.sequence, result}});
  EXPECT_EQ(h.core.said_prompt_logprobs(id)->size(), 2u);
}

}  // namespace
}  // namespace altlas::control
