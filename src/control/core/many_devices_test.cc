// Goal: the work of an event does not grow with the number of devices, so that 10,000 are possible.
// Method: the same events with 100 and with 10,000 devices; sites looked at are counted, not time.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <chrono>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

// A core with all its replicas loaded. It is driven without the harness's checks, which look at
// every device.
class ManyDevices {
 public:
  explicit ManyDevices(int devices) : core(test_setup(devices)), factory(test_setup(1)) {
    step(Started{});
    for (const auto& [worker, load] : std::exchange(started, {})) {
      step(WorkerConnected{worker, 1});
      step(WorkerReported{worker, factory.loaded(load)});
    }
    task(1);  // The first choice looks at every site that was loaded.
  }
  // Returns the sites that were looked at.
  uint64_t step(Event event) {
    const uint64_t before = core.looks();
    std::vector<Action> actions;
    core.step(std::move(event), now, actions);
    static_cast<void>(core.health());
    static_cast<void>(core.next_deadline());
    for (Action& action : actions) {
      if (const auto* start = std::get_if<StartWorker>(&action))
        started.emplace_back(start->worker, start->load);
      if (const auto* send = std::get_if<SendCommand>(&action))
        if (const auto* run = std::get_if<engine::SubmitSequence>(&send->command))
          runs.emplace_back(send->worker, run->sequence);
      if (const auto* append = std::get_if<AppendJournal>(&action))
        writes.push_back(append->ticket);
    }
    return core.looks() - before;
  }
  // Takes a task through every kind of event that it makes. Returns the most sites that one of them
  // looked at; those of the submission are in submission_looks.
  uint64_t task(uint64_t id) {
    TaskSpec spec = factory.spec();
    spec.id = TaskId{3, id};
    uint64_t most = step(AdmissionRequested{id, "", "model", 1});
    submission_looks = step(TasksSubmitted{id, {spec}, true, 1});
    while (!writes.empty()) most = std::max(most, written());
    const auto [worker, sequence] = runs.back();
    most = std::max(
        most,
        step(WorkerReported{worker, engine::SequenceTokens{sequence, {.ids = {1}, .text = "a"}}}));
    most = std::max(most, step(WorkerReported{worker, engine::ReplicaStats{.steps = id}}));
    most = std::max(most, step(DeviceSampled{DeviceId{static_cast<int32_t>(id % 50)}}));
    most = std::max(most, step(Tick{}));
    TaskResult result;
    result.text = "a";
    most = std::max(most, step(WorkerReported{worker, engine::SequenceFinished{sequence, result}}));
    while (!writes.empty()) most = std::max(most, written());
    now += 1000;
    return most;
  }

  Core core;
  CoreHarness factory;
  TimeUs now = 1'000'000'000;
  std::vector<std::pair<WorkerId, engine::LoadReplica>> started;
  std::vector<std::pair<WorkerId, SequenceId>> runs;
  std::vector<uint64_t> writes;
  uint64_t submission_looks = 0;

 private:
  uint64_t written() {
    const uint64_t ticket = writes.back();
    writes.pop_back();
    return step(JournalWritten{ticket, true, ""});
  }
};

TEST(ManyDevices, AnEventLooksAtTheSitesOfItsOwnDeviceOnly) {
  std::map<int, uint64_t> most;
  for (const int devices : {100, 10'000}) {
    ManyDevices many(devices);
    EXPECT_LE(many.core.looks(), static_cast<uint64_t>(devices) * 8) << "while all load";
    for (uint64_t id = 2; id <= 20; ++id) most[devices] = std::max(most[devices], many.task(id));
    // Losing a replica costs a timer, its task and a restart.
    const WorkerId lost = many.runs.back().first;
    most[devices] = std::max(most[devices], many.step(WorkerLost{lost, "killed"}));
    many.now += kBackoffMinUs;
    most[devices] = std::max(most[devices], many.step(Tick{}));
    EXPECT_EQ(many.started.size(), 1u);
    many.core.check_integrity();
  }
  EXPECT_LE(most[10'000], 8u);
  EXPECT_EQ(most[100], most[10'000]);
}

// Goal: a submission looks at few devices. It makes one choice by its strategy, and one by each
// other strategy for those who ask why; the devices differ, and some can't take the task.
TEST(ManyDevices, ASubmissionLooksAtFewDevices) {
  std::map<int, uint64_t> most;
  for (const int devices : {100, 10'000}) {
    ManyDevices many(devices);
    for (int i = 0; i < devices; ++i)
      many.step(DeviceSampled{DeviceId{i}, static_cast<double>(i % 7), 0, i % 9 == 4 ? 99.0 : 50.0,
                              -1, i % 11 != 3});
    many.task(2);  // It looks at what the samples changed.
    for (uint64_t id = 3; id <= 40; ++id) {
      many.task(id);
      most[devices] = std::max(most[devices], many.submission_looks);
    }
    many.core.check_integrity();
  }
  EXPECT_LE(most[100], 1000u);
  EXPECT_LE(most[10'000], 2000u);
}

// Measures the time of an event at three sizes; `--gtest_also_run_disabled_tests` prints it.
TEST(ManyDevices, DISABLED_TimePerEvent) {
  for (const int devices : {8, 1000, 10'000}) {
    ManyDevices many(devices);
    const auto start = std::chrono::steady_clock::now();
    for (uint64_t id = 2; id <= 201; ++id) many.task(id);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    fmt::print("{} devices: {:.0f} ns per task of 9 events\n", devices, took.count() / 200);
  }
}

}  // namespace
}  // namespace altlas::control
