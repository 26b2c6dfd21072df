// Replay: folds the journal's events into what each task is now. Pure: the same events give the
// same tasks and hash.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "journal/events.h"
#include "task/task.h"

namespace altlas::journal {

// A task as the journal knows it. One that is not over goes on from `generated`.
struct RestoredTask {
  TaskSpec spec;
  DeviceId device;  // Where it was last.
  TaskStatus status = TaskStatus::kQueued;
  std::vector<int32_t> generated;  // Journalled tokens; empty for tokens: off.
  TimeUs accepted_at = 0;
  std::optional<TimeUs> started_at;      // First start.
  std::optional<TimeUs> first_token_at;  // When it was journalled.
  std::optional<TimeUs> finished_at;
  uint32_t starts = 0;  // More than 1 after a crash.
  TaskResult result;    // Once completed.
  ErrorCode error_code = ErrorCode::kInternal;
  std::string error;  // Once failed.
};

// What was in the journal more than once, or too late. All of it is ignored.
struct ReplayCounts {
  uint64_t events = 0;
  uint64_t accepted_again = 0;
  uint64_t ended_again = 0;   // A second end: the first one holds.
  uint64_t after_end = 0;     // Starts and tokens of a task that is over.
  uint64_t tokens_again = 0;  // Tokens that were there already (after a crash).
};

class Replay {
 public:
  // Events of one task in the order written. That the last ones are missing (a torn tail) is no
  // error: the task goes on from what is there.  Errors: kInvalid for a gap, naming task and
  // numbers: an event of a task that was never accepted, tokens after missing ones, and other
  // tokens than those already journalled at an index.
  Result<void> add(TaskEvent event);
  const ReplayCounts& counts() const { return counts_; }
  // A hash of every task and the counts.
  uint64_t hash() const;
  // In the order of acceptance; leaves this empty.
  std::vector<RestoredTask> take();

 private:
  Result<void> add_tokens(const TaskId& id, TimeUs time, const TaskTokens& tokens,
                          RestoredTask& task);
  void end(RestoredTask& task, TaskStatus status, TimeUs time);

  std::vector<RestoredTask> tasks_;
  std::map<TaskId, size_t> index_of_;  // Into tasks_.
  ReplayCounts counts_;
};

}  // namespace altlas::journal
