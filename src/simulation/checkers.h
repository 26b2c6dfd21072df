// The promises, checked while the simulation runs: each accepted task ends exactly once; no device over its budget; no
// more waits than the queue's limit; a stream's text has no gap and no repetition, and is what an undisturbed run gives.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/core.h"
#include "journal/replay.h"

namespace altlas::simulation {

// What the clients know of one task.
struct ClientTask {
  TaskSpec spec;
  bool accepted = false;                  // Answered ok.
  bool cancel_sent = false;
  std::optional<TaskStatus> end;          // As told, or as found after a restart of the server.
  uint32_t ends_told = 0;                 // By one server's life.
  uint64_t text_said = 0;                 // Bytes, in this server's life.
  std::string text;
  bool stream_whole = true;               // Streamed from its first byte in this server's life.
};

// What an undisturbed run of the task gives.
using ExpectedText = std::function<std::string(const TaskSpec& spec)>;

class Checkers {
 public:
  explicit Checkers(ExpectedText expected) : expected_(std::move(expected)) {}

  void submitted(const TaskSpec& spec);
  void accepted(const control::Placed& placed);
  void cancel_sent(TaskId id);
  void delta(TaskId id, const TokenDelta& delta);
  void status(const control::Core& core, TaskId id, TaskStatus status);
  // The server died; its streams are gone, and so are tasks that were not durable.
  void server_lost();
  // After every event.
  void state(const control::Core& core, uint32_t max_queue_size);
  // After quiet time at the end: everything accepted is over, in the core and in the journal alike.
  void finish(const control::Core& core, const journal::ReplayCounts& counts, const std::vector<journal::RestoredTask>& journal);

  // The first promise that was broken.
  const std::optional<std::string>& failure() const { return failure_; }
  const std::map<TaskId, ClientTask>& tasks() const { return tasks_; }
  uint64_t unfinished() const;

 private:
  void fail(std::string what) {
    if (!failure_) failure_ = std::move(what);
  }
  void check_end(const ClientTask& task, const control::TaskView& view);

  ExpectedText expected_;
  std::map<TaskId, ClientTask> tasks_;
  std::optional<std::string> failure_;
};

}  // namespace altlas::simulation
