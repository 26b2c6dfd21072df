// Placement: which device takes a task. Pure functions over a picture of the devices; every choice
// says why.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/philox.h"
#include "base/result.h"
#include "config/names.h"

namespace altlas::scheduler {

// One device as seen by one deployment: only devices where a replica of it leads are candidates.
struct PlacementDevice {
  DeviceId id;
  bool healthy = true;
  bool replica_running = true;     // A replica of the deployment is loaded here and takes tasks.
  double temperature = -1;         // Celsius; below 0: not known.
  double utilization = 0;          // Percent.
  double foreign_utilization = 0;  // Percent, of other processes alone.
  uint64_t memory_total = 0;       // Bytes.
  uint64_t memory_used = 0;        // Weights, activations, used KV blocks, reservations.
  uint64_t memory_fixed = 0;       // Of it weights and activations; they never go.
  uint64_t memory_reserved = 0;    // Of it reservations.
  uint64_t memory_growth = 0;      // By which KV blocks of running tasks may still grow.
  uint64_t block_bytes = 0;        // Of a KV block.
  uint32_t running = 0;            // Tasks of every deployment.
  uint32_t queued = 0;
  uint32_t tasks = 0;         // Running and queued tasks that count against tasks_max.
  uint32_t tasks_max = 0;     // 0: not known, no limit.
  uint32_t block_tokens = 0;  // 0: no KV, or not known before the first load.
  uint32_t kv_blocks_total = 0;
  uint32_t kv_blocks_free = 0;        // Reservations are taken off.
  uint32_t model_len_max = 0;         // 0: not known.
  uint32_t cached_prefix_tokens = 0;  // Of this prompt, for prefix_affinity.
  uint64_t tokens_ahead = 0;     // Still to be computed for the tasks here, for earliest_finish.
  double tokens_per_second = 0;  // Measured; 0: not known.
  friend bool operator==(const PlacementDevice&, const PlacementDevice&) = default;
};

// Fixed by the configuration.
struct PlacementPolicy {
  double memory_threshold = 0.95;       // Share of memory_total.
  double utilization_threshold = 0.95;  // Share, compared with foreign utilization only.
  double max_temperature = 85;          // Celsius.
  std::map<std::string, std::vector<DeviceId>, std::less<>> task_specific;
};

// What placement remembers from one choice to the next; one per deployment.
struct PlacementCursor {
  std::optional<DeviceId> last;  // round_robin's last device.
  PhiloxStream random;
};

struct PlacementRequest {
  Strategy strategy = Strategy::kLeastLoaded;
  std::string_view type;
  std::optional<DeviceId> specific_device;
  uint64_t estimated_memory = 0;  // Bytes; of an unsplit batch the sum.
  uint32_t prompt_tokens = 0;     // Of an unsplit batch the sum.
  uint32_t sequence_tokens = 0;   // Prompt + max_length of the longest sequence.
};

// How near a device is to taking the task now. Lower is better; a task that must queue does so at
// the best there is.
enum class Standing : uint8_t {
  kEligible,
  kBusy,  // Full for now: tasks, memory or KV blocks; passes as tasks end.
  kHot,   // Too hot, or loaded by other processes.
  kDown,  // No running replica (loading, restarting).
  kUnhealthy,
  kCrowded,  // Large enough, but not beside the weights it holds; the task queues where there is
             // no other.
  kNever,    // Too small for this task.
};

struct Assessment {
  DeviceId device;
  Standing standing = Standing::kEligible;
  std::string reason;  // Why not kEligible, with the numbers: "kv: needs 12 blocks, 3 free".
};

struct Placement {
  DeviceId winner;
  Strategy strategy =
      Strategy::kLeastLoaded;  // That decided: least_loaded where task_specific fell back.
  Standing standing = Standing::kEligible;  // Of the winner; anything else queues the task there.
  std::optional<DeviceId> runner_up;
  std::string reason;                // Why the winner won.
  std::vector<Assessment> rejected;  // Every device that is not eligible, by id.
  std::string note;                  // For the user: a fallback was taken.
};

// How one device stands towards the request.
Assessment assess(const PlacementPolicy& policy, const PlacementDevice& device,
                  const PlacementRequest& request);

// `devices`: sorted by id, at least one.  O(devices).
// Errors: kInvalid, with the ids for an unknown specific_device, with the numbers for what fits no
// device ever; kUnavailable without devices.
Result<Placement> choose(const PlacementPolicy& policy, std::span<const PlacementDevice> devices,
                         const PlacementRequest& request, PlacementCursor& cursor);

// What every strategy but `decided` would have chosen in the same state; nothing where it would
// refuse.
std::vector<std::pair<Strategy, std::optional<DeviceId>>> alternatives(
    const PlacementPolicy& policy, std::span<const PlacementDevice> devices,
    const PlacementRequest& request, const PlacementCursor& cursor, Strategy decided);

}  // namespace altlas::scheduler
