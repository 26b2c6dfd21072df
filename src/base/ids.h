// Distinct id types: a DeviceId can't be passed where a ReplicaId is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace altlas {

template <class Tag, class Rep = int32_t>
struct StrongId {
  Rep value{};
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

using DeviceId = StrongId<struct DeviceTag>;                // 0, 1, … in the order of --devices.
using ReplicaId = StrongId<struct ReplicaTag, uint32_t>;    // Never reused within a server's life.
// One of the processes that a replica consists of: worker 0 leads.
struct WorkerId {
  ReplicaId replica;
  uint32_t index = 0;
  friend constexpr auto operator<=>(const WorkerId&, const WorkerId&) = default;
};
// One run of a task on a replica; never reused within a server's life.
using SequenceId = StrongId<struct SequenceTag, uint64_t>;
using StepId = StrongId<struct StepTag, uint64_t>;          // One engine step.
using BlockId = StrongId<struct BlockTag, uint32_t>;        // One KV block of a group.

// What a user holds to ask for a task again. 128 random bits: it can't be guessed.
struct TaskId {
  uint64_t high = 0;
  uint64_t low = 0;
  friend constexpr auto operator<=>(const TaskId&, const TaskId&) = default;
};
// 32 hex digits.
std::string to_string(const TaskId& id);
// Nothing unless `text` is 32 lower-case hex digits.
std::optional<TaskId> parse_task_id(std::string_view text);

}  // namespace altlas
