// What the journal remembers of tasks: append-only events, from which all task state is replayed.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "task/task.h"

namespace altlas::journal {

struct TaskAccepted {
  TaskSpec spec;
  DeviceId device;  // Chosen at acceptance.
};
struct TaskStarted {  // On a replica; may repeat after a crash.
  DeviceId device;
};
struct TaskTokens {
  uint32_t first_index = 0;
  std::vector<int32_t> ids;
};
struct TaskCompleted {
  TaskResult result;
};
struct TaskFailed {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};
struct TaskCanceled {};

struct TaskEvent {
  TaskId task;
  TimeUs time = 0;
  std::variant<TaskAccepted, TaskStarted, TaskTokens, TaskCompleted, TaskFailed, TaskCanceled> what;
};

}  // namespace altlas::journal
