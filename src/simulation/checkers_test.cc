// Goal: each checker can fail. Method: sequences that keep a promise, then the same ones with one
// thing broken.
#include "simulation/checkers.h"

#include <gtest/gtest.h>

namespace altlas::simulation {
namespace {

using control::Core;
using control::CoreSetup;

CoreSetup setup() {
  CoreSetup out;
  out.devices.push_back({DeviceId{0}, "device", "sim", 1 << 20, "sim:test:1", 0});
  control::DeploymentSetup model;
  model.name = "model";
  model.replicas.push_back({DeviceId{0}});
  out.deployments = {model};
  out.default_deployment = "model";
  return out;
}

// A server that restored one task, over or not, and checkers that know the task as accepted.
class CheckersTest : public ::testing::Test {
 protected:
  CheckersTest()
      : core_(setup()),
        checkers_([this](const ClientTask&) -> const Expected& { return expected_; }) {
    task_.spec.id = id_;
    task_.spec.deployment = "model";
    task_.spec.prompt = {1, 2};
    task_.device = DeviceId{0};
    task_.status = TaskStatus::kCompleted;
    task_.result.text = text();
    checkers_.submitted(task_.spec);
    checkers_.accepted({id_, DeviceId{0}, TaskStatus::kQueued});
  }
  static const std::string& text() {
    static const std::string kText = " t1 t2";
    return kText;
  }
  void restore() {
    control::TasksRestored event;
    event.tasks = {task_};
    std::vector<control::Action> actions;
    core_.step(std::move(event), 1000, actions);
  }
  void say(uint64_t offset, const std::string& said) {
    TokenDelta delta;
    delta.text_offset = offset;
    delta.text = said;
    checkers_.delta(id_, delta);
  }
  void expect_failure(const std::string& part) {
    ASSERT_TRUE(checkers_.failure().has_value());
    EXPECT_NE(checkers_.failure()->find(part), std::string::npos) << *checkers_.failure();
  }

  const TaskId id_{1, 2};
  Expected expected_{text(), {}};
  Core core_;
  Checkers checkers_;
  journal::RestoredTask task_;
};

TEST_F(CheckersTest, AcceptsWhatIsRight) {
  restore();
  say(0, " t1");
  say(3, " t2");
  checkers_.status(core_, id_, TaskStatus::kCompleted);
  checkers_.finish(core_, {}, {task_});
  checkers_.waiting(3, 3);
  checkers_.device({DeviceId{0}, 100, 30, 40, 30, 100, ""});
  EXPECT_FALSE(checkers_.failure()) << *checkers_.failure();
  EXPECT_TRUE(checkers_.unfinished().empty());
}

TEST_F(CheckersTest, SeesASecondEnd) {
  restore();
  say(0, text());
  checkers_.status(core_, id_, TaskStatus::kCompleted);
  checkers_.status(core_, id_, TaskStatus::kCompleted);
  expect_failure("ended twice");
}

TEST_F(CheckersTest, SeesAnotherEndAfterARestart) {
  restore();
  say(0, text());
  checkers_.status(core_, id_, TaskStatus::kCompleted);
  checkers_.server_lost();
  task_.status = TaskStatus::kFailed;
  task_.error = "no";
  Core other(setup());
  control::TasksRestored event;
  event.tasks = {task_};
  std::vector<control::Action> actions;
  other.step(std::move(event), 1000, actions);
  checkers_.server_restarted(other);
  expect_failure("was told completed and is failed now");
}

TEST_F(CheckersTest, SeesALostTask) {
  checkers_.server_restarted(core_);
  expect_failure("accepted and is lost");
}

TEST_F(CheckersTest, SeesATaskThatNeverEnds) {
  task_.status = TaskStatus::kQueued;
  restore();
  EXPECT_EQ(checkers_.unfinished().size(), 1u);
  checkers_.finish(core_, {}, {task_});
  expect_failure("at the end");
}

TEST_F(CheckersTest, SeesAGapInAStream) {
  say(0, " t1");
  say(4, "t2");
  expect_failure("text at byte 4, 3 were said");
}

TEST_F(CheckersTest, SeesARepetitionInAStream) {
  say(0, " t1");
  say(0, " t1");
  expect_failure("text at byte 0, 3 were said");
}

TEST_F(CheckersTest, SeesOtherText) {
  say(0, " t7");
  expect_failure("an undisturbed run says");
}

TEST_F(CheckersTest, SeesAnotherResult) {
  task_.result.text = " t1";
  restore();
  checkers_.status(core_, id_, TaskStatus::kCompleted);
  expect_failure("an undisturbed run gives");
}

TEST_F(CheckersTest, SeesACancelThatNobodyAskedFor) {
  task_.status = TaskStatus::kCanceled;
  restore();
  checkers_.status(core_, id_, TaskStatus::kCanceled);
  expect_failure("nobody asked for that");
}

TEST_F(CheckersTest, SeesAJournalThatSaysOtherwise) {
  restore();
  task_.status = TaskStatus::kFailed;
  checkers_.finish(core_, {}, {task_});
  expect_failure("in the journal");
}

TEST_F(CheckersTest, SeesASecondEndInTheJournal) {
  restore();
  journal::ReplayCounts counts;
  counts.ended_again = 1;
  checkers_.finish(core_, counts, {task_});
  expect_failure("second ends");
}

TEST_F(CheckersTest, SeesTwoTasksOfOneKey) {
  TaskSpec spec = task_.spec;
  spec.idempotency_key = "key";
  for (uint64_t low = 10; low < 12; ++low) {
    spec.id.low = low;
    checkers_.submitted(spec);
    checkers_.accepted({spec.id, DeviceId{0}, TaskStatus::kQueued});
  }
  expect_failure("were both accepted");
}

TEST_F(CheckersTest, SeesAQueueBeyondItsBound) {
  checkers_.waiting(4, 3);
  expect_failure("4 tasks wait, the limit is 3");
}

TEST_F(CheckersTest, SeesADeviceBeyondItsBudget) {
  checkers_.device({DeviceId{0}, 100, 60, 41, 0, 0, ""});
  expect_failure("device 0 has 100 bytes");
}

TEST_F(CheckersTest, SeesReservationsBeyondABudget) {
  checkers_.device({DeviceId{0}, 100, 60, 0, 41, 0, ""});
  expect_failure("device 0 has 100 bytes");
}

TEST_F(CheckersTest, SeesBlocksThatGrewIntoAReservation) {
  checkers_.device({DeviceId{0}, 100, 60, 20, 20, 100, ""});
  EXPECT_FALSE(checkers_.failure());
  checkers_.device({DeviceId{0}, 100, 60, 21, 20, 100, ""});
  expect_failure("21 of KV blocks, 20 are reserved");
}

TEST_F(CheckersTest, SeesMoreMemoryShownThanThereIs) {
  checkers_.device({DeviceId{0}, 100, 60, 0, 0, 101, ""});
  expect_failure("memory_used is 101");
}

}  // namespace
}  // namespace altlas::simulation
