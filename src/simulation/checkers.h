// The promises, checked while the simulation runs: each accepted task ends exactly once; no device
// over its budget; no more waits than the queue's limit; a stream's text has no gap and no
// repetition, and is what an undisturbed run gives.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/core.h"
#include "journal/replay.h"

namespace altlas::simulation {

// What the clients know of one task.
struct ClientTask {
  TaskSpec spec;
  std::string adapter_file;  // Of the adapter that it names, as it was loaded then.
  bool accepted = false;     // Answered ok.
  bool cancel_sent = false;
  bool forgotten = false;         // Over, and beyond the number kept.
  std::optional<TaskStatus> end;  // As told, or as found after a restart of the server.
  uint32_t ends_told = 0;         // By one server's life.
  std::optional<uint64_t>
      text_said;  // Bytes; nothing is known before a restarted server's first words.
};

// What an undisturbed run of a task gives.
struct Expected {
  std::string text;
  std::vector<float> embedding;
};
using ExpectedResult = std::function<const Expected&(const ClientTask& task)>;

// What really lies on a device.
struct DeviceUse {
  DeviceId device;
  uint64_t total_bytes = 0;
  uint64_t fixed_bytes = 0;     // Weights and activations of its processes.
  uint64_t kv_bytes = 0;        // Their used KV blocks.
  uint64_t reserved_bytes = 0;  // For running tasks (estimated_memory).
  uint64_t shown_bytes = 0;     // As the server says it (memory_used).
  std::string what;             // The same, told apart.
};

class Checkers {
 public:
  explicit Checkers(ExpectedResult expected) : expected_(std::move(expected)) {}

  void submitted(const TaskSpec& spec, std::string adapter_file = "");
  void accepted(const control::Placed& placed);
  void cancel_sent(TaskId id);
  void delta(TaskId id, const TokenDelta& delta);
  void status(const control::Core& core, TaskId id, TaskStatus status);
  // `restored`: by a server that has just read the journal, where its end may stand untold.
  void forgotten(TaskId id, bool restored);
  // The server died; its streams are gone, and so are tasks that were not durable.
  void server_lost();
  // A new one has read the journal.
  void server_restarted(const control::Core& core);
  // After every event.
  void waiting(uint64_t tasks, uint64_t limit);
  void device(const DeviceUse& use);
  // After quiet time at the end: everything accepted is over, in the core and in the journal alike.
  void finish(const control::Core& core, const journal::ReplayCounts& counts,
              const std::vector<journal::RestoredTask>& journal);
  // Any other promise.
  void fail(std::string what) {
    if (!failure_) failure_ = std::move(what);
  }

  // The first promise that was broken.
  const std::optional<std::string>& failure() const { return failure_; }
  const std::map<TaskId, ClientTask>& tasks() const { return tasks_; }
  // Accepted, and no end was told.
  std::vector<TaskId> unfinished() const;

 private:
  void check_end(const ClientTask& task, const control::TaskView& view);
  void check_result(const ClientTask& task, const TaskResult& result);
  void check_known(const control::Core& core, const ClientTask& task);

  ExpectedResult expected_;
  std::map<TaskId, ClientTask> tasks_;
  std::map<std::pair<std::string, std::string>, TaskId> accepted_of_;  // (owner, idempotency_key).
  std::optional<std::string> failure_;
};

}  // namespace altlas::simulation
