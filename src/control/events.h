// What enters the control core and what it asks the edge to do. Every Event goes, with its time, to
// the event log first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "config/names.h"
#include "engine/messages.h"
#include "journal/events.h"
#include "journal/replay.h"
#include "task/task.h"

namespace altlas::control {

// ---- Events: from the edge to the core ----

// A request asks for `tasks` places in the queue before its text is tokenized. Answered by
// AnswerAdmission.
struct AdmissionRequested {
  uint64_t ticket = 0;  // Chosen by the edge, unique.
  std::string owner;
  std::string deployment;  // Empty: the default one.
  uint32_t tasks = 1;
};
// The request goes no further (bad text, client gone): its places are free again.
struct AdmissionReleased {
  uint64_t ticket = 0;
};
// Tokenized tasks take the ticket's places. `split`: a device each; otherwise one device and one
// engine batch.
struct TasksSubmitted {
  uint64_t ticket = 0;
  std::vector<TaskSpec> specs;
  bool split = true;
  // For a split batch: neighbours stay together in groups of at least this many.
  uint32_t min_per_device = 1;
};
// The journal has written (or could not write) what AppendJournal{ticket} asked for.
struct JournalWritten {
  uint64_t ticket = 0;
  bool ok = true;
  std::string message;
};
struct CancelRequested {
  TaskId task;
};
// The link to one of a replica's workers is up (hello exchanged).
struct WorkerConnected {
  WorkerId worker;
  int32_t pid = 0;  // 0: in this process.
};
struct WorkerReported {
  WorkerId worker;
  engine::Report report;
};
// The worker's process ended or its link broke; nothing of it will be heard again. Its replica is
// lost with it.
struct WorkerLost {
  WorkerId worker;
  std::string reason;  // "killed by signal 9".
};
// A measured sample of one device. Numbers below 0: not known; utilization then is what the
// replicas report.
struct DeviceSampled {
  DeviceId device;
  double utilization = 0;          // Percent, of our own work and others'.
  double foreign_utilization = 0;  // Percent, of other processes alone.
  double temperature = -1;         // Celsius.
  double power = -1;               // Watt.
  bool healthy = true;
};
struct StrategyChanged {
  Strategy strategy = Strategy::kLeastLoaded;
};
struct ConcurrencyChanged {
  uint32_t max_concurrent_tasks = 0;  // Per device; 0: what the engine can batch.
};
// What a reload of the configuration may change, beside the two above. Deadlines of tasks that wait
// already stay; a smaller queue lets what waits in it go on.
struct LimitsChanged {
  double memory_threshold = 0.95;
  double utilization_threshold = 0.95;
  double max_temperature = 85;
  std::vector<std::pair<std::string, std::vector<DeviceId>>> task_specific;  // Type to devices.
  uint32_t max_queue_size = 1000;
  int64_t queue_timeout_us = 0;
  uint64_t tasks_kept_max = 0;
};
// A LoRA adapter for every replica of a deployment, now and after its restarts. Answered by
// AnswerChange{ticket}.
struct AdapterLoadRequested {
  uint64_t ticket = 0;
  std::string deployment;
  engine::AdapterFile adapter;
};
// No new tasks name it; once those that do have ended it is gone, and the answer follows.
struct AdapterUnloadRequested {
  uint64_t ticket = 0;
  std::string deployment;
  std::string name;
};
// A person wants this number of replicas of a deployment; nothing: its autoscaler decides again.
// Answered by AnswerChange{ticket}.
struct ScaleRequested {
  uint64_t ticket = 0;
  std::string deployment;
  std::optional<uint32_t> replicas;
};
// No new admissions; what is accepted goes on.
struct DrainRequested {};
// Replicas may start. The first event but for TasksRestored.
struct Started {};
// What the journal knew at the start, in the order of acceptance. Unfinished tasks go on.
struct TasksRestored {
  std::vector<journal::RestoredTask> tasks;
};
// The end: workers are stopped, tokens flushed; unfinished durable tasks stay in the journal,
// others fail.
struct StopRequested {};
// Time has passed; sent when the core's next_deadline() is due, and at least every
// queue_processing_interval.
struct Tick {};

using Event = std::variant<AdmissionRequested, AdmissionReleased, TasksSubmitted, JournalWritten,
                           CancelRequested, WorkerConnected, WorkerReported, WorkerLost,
                           DeviceSampled, StrategyChanged, ConcurrencyChanged, DrainRequested,
                           Started, TasksRestored, StopRequested, Tick, AdapterLoadRequested,
                           AdapterUnloadRequested, LimitsChanged, ScaleRequested>;

// Whether it is what a step adds to a sequence, by far the most frequent event.
inline bool is_tokens(const Event& event) {
  const auto* reported = std::get_if<WorkerReported>(&event);
  return reported != nullptr && std::holds_alternative<engine::SequenceTokens>(reported->report);
}

// ---- Actions: from the core to the edge, carried out in order ----

struct AnswerAdmission {
  uint64_t ticket = 0;
  Result<void> admitted;
};
struct Placed {
  TaskId task;
  DeviceId device;
  // kQueued or kRunning; of an idempotent repeat, the first one's.
  TaskStatus status = TaskStatus::kQueued;
};
// After the journal's commit: the tasks of one TasksSubmitted, in its order.
struct AnswerSubmission {
  uint64_t ticket = 0;
  Result<std::vector<Placed>> placed;
};
struct AppendJournal {
  uint64_t ticket = 0;  // 0: nobody waits for it.
  std::vector<journal::TaskEvent> events;
};
struct ForgetTasks {  // Over, and beyond what is kept.
  std::vector<TaskId> tasks;
  bool key_kept = false;  // The journal keeps them for now: a restart learns their keys from it.
};
// A replica starts all its workers at once, and each is told of all ranks.
struct StartWorker {
  WorkerId worker;
  engine::LoadReplica load;
};
struct StopWorker {
  WorkerId worker;
  bool kill = false;  // At once; otherwise after its link has been told.
};
struct SendCommand {
  WorkerId worker;  // The leading one.
  engine::Command command;
};
// For a request to load or unload an adapter, or to scale.
struct AnswerChange {
  uint64_t ticket = 0;
  Result<void> outcome;
};
// Another number of replicas is wanted from now on; for the operator's log and the dashboard.
struct Scaled {
  std::string deployment;
  uint32_t from = 0, to = 0;
  std::string reason;
};
// For those who stream or wait.
struct PublishDelta {
  TaskId task;
  TokenDelta delta;
};
struct PublishStatus {
  TaskId task;
  TaskStatus status = TaskStatus::kQueued;
};
// For the operator's log: a replica was lost, a journal write failed.
struct LogWarning {
  std::string text;
};

using Action = std::variant<AnswerAdmission, AnswerSubmission, AppendJournal, ForgetTasks,
                            StartWorker, StopWorker, SendCommand, PublishDelta, PublishStatus,
                            LogWarning, AnswerChange, Scaled>;

}  // namespace altlas::control
