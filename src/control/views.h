// Read-only pictures of the control core's state, copied out for those who ask.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "config/names.h"
#include "replica/limits.h"
#include "task/task.h"

namespace altlas::control {

struct TaskView {
  TaskId id;
  std::string owner;
  std::string type;
  std::string deployment;
  TaskStatus status = TaskStatus::kQueued;
  DeviceId device;
  std::optional<TimeUs> created_at, started_at, finished_at, first_token_at;
  std::optional<uint32_t> queue_position;  // From 1, while queued.
  std::optional<TaskResult> result;        // Once completed.
  ErrorCode error_code = ErrorCode::kInternal;
  std::string error;  // Once failed; with a note where a fallback was taken.
  std::string note;   // "task_specific: no mapping for …, least_loaded was used".
  uint32_t prompt_tokens = 0;
  uint32_t generated_tokens = 0;
  std::optional<uint64_t> seed;  // The seed of what it draws; none where nothing is generated.
  bool durable = true;           // Listed, and known after its end.
};

struct TaskFilter {
  std::optional<std::string> owner;  // Only this key's tasks.
  std::optional<TaskStatus> status;
  uint32_t limit = 100;
  uint64_t offset = 0;
  bool texts = true;  // With the texts of results, which may be long.
};

struct TaskPage {
  std::vector<TaskView> tasks;  // Newest first.
  uint64_t total = 0;           // How many match.
};

// A part of a device's memory, and who holds it.
struct MemoryShare {
  std::string owner;      // A deployment; empty for reservations of tasks.
  std::string_view what;  // "weights", "activations", "kv" (blocks in use), "reservations".
  uint64_t bytes = 0;
};

struct DeviceView {
  DeviceId id;
  std::string name;
  std::string kind;  // cpu, cuda, sim.
  std::string node;  // The machine that it belongs to; empty: the server's.
  double utilization = 0;
  uint64_t memory_used = 0;  // Weights, used KV blocks, activations, reservations.
  uint64_t memory_total = 0;
  uint32_t task_count = 0;  // Running and queued.
  uint32_t queued_count = 0;
  double temperature = -1;  // Celsius; below 0: not measured.
  double power = -1;        // Watt; below 0: not measured.
  bool healthy = true;
  std::vector<std::string> deployments;
  std::vector<MemoryShare> memory;  // Adds up to memory_used; none of 0 bytes.
};

// Why a device was not taken.
struct Rejection {
  DeviceId device;
  std::string reason;  // "unhealthy", "memory: needs 8589934592 bytes, 1234 free", …
};

// A task that waited went to another device.
struct Move {
  DeviceId from;
  DeviceId to;
  TimeUs at = 0;
  std::string reason;
};

struct Explanation {
  TaskId task;
  // The strategy that decided; for a task with a specific device, the one that would have decided
  // without it.
  Strategy strategy = Strategy::kLeastLoaded;
  DeviceId winner;
  std::optional<DeviceId> runner_up;
  std::string reason;  // Why the winner won.
  std::vector<Rejection> rejected;
  std::vector<std::pair<Strategy, std::optional<DeviceId>>>
      alternatives;    // What each other strategy would have chosen.
  uint64_t epoch = 0;  // The number of events before the choice.
};

// All that explains where a task is or was.
struct TaskStory {
  std::string owner;
  std::string note;                   // As TaskView has it.
  std::optional<Explanation> choice;  // Nothing: it is not kept here any more.
  std::vector<Move> moves;            // After the choice, oldest first; the latest kMovesMax.
};

enum class ReplicaState : uint8_t { kStarting, kLoading, kRunning, kDraining, kBackoff, kStopped };
std::string_view to_string(ReplicaState state);

// Its limits keep their defaults unless it is loaded.
struct ReplicaView : replica::ReplicaLimits {
  ReplicaId id;
  std::string deployment;
  ReplicaState state = ReplicaState::kStarting;
  uint32_t place = 0;             // Its place in the deployment, from 0.
  std::vector<DeviceId> devices;  // The devices of its ranks; the leading one first.
  int32_t pid = 0;
  uint32_t restarts = 0;
  std::string message;                          // Why it is not running.
  ErrorCode error_code = ErrorCode::kInternal;  // The code of `message`, where a load failed.
  std::string load_phase;
  double load_fraction = 0;
  uint32_t running = 0;
  uint64_t kv_tokens_free = 0;
  uint64_t generated_tokens = 0, prompt_tokens = 0, preemptions = 0;
  uint64_t prefix_query_tokens = 0, prefix_hit_tokens = 0, swapped_blocks = 0;
  uint64_t speculative_drafted = 0, speculative_accepted = 0;
  uint64_t not_finite_outputs = 0;
  uint64_t steps = 0, step_sequences = 0;  // Sequences are added up over the steps.
  uint32_t waiting = 0;                    // Sequences that it has and does not compute.
  std::vector<int64_t> rank_busy_us;       // Since its load, by rank.
};

struct DeploymentView {
  std::string name;
  std::string model;   // Id in the APIs.
  std::string status;  // As serve.status() says it: UPDATING, HEALTHY, UNHEALTHY, UPSCALING, …
  std::string message;
  uint32_t target_replicas = 0;  // Replicas that are wanted.
  uint32_t max_replicas = 0;     // Places for them.
  bool autoscaled = false;       // The number follows the load …
  bool held = false;             // … unless a person has said one.
  std::vector<ReplicaView> replicas;
  uint32_t waiting = 0;               // Tasks that no replica has yet.
  std::vector<std::string> adapters;  // LoRA adapters that tasks may name.
};

// How many replicas a deployment is to have, as it was decided once.
struct ScaleDecision {
  TimeUs at = 0;
  uint32_t from = 0, to = 0;  // Replicas wanted before and after.
  double ongoing = 0;         // Requests that run or wait, over the look-back period.
  uint32_t running = 0;       // Replicas that ran.
  int64_t desired = 0;        // What the load asked for, before delays and bounds.
  std::string reason;
};

enum class HealthStatus : uint8_t { kOk, kStarting, kDraining, kUnavailable };
std::string_view to_string(HealthStatus status);

struct HealthView {
  HealthStatus status = HealthStatus::kStarting;
  std::string model;  // The model of the default deployment.
  std::string message;
};

}  // namespace altlas::control
