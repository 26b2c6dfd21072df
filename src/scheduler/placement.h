// Placement: which device takes a task. Pure functions over an index of the devices; every choice
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
#include "scheduler/placement_index.h"

namespace altlas::scheduler {

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
  // For tasks that are placed together each is the largest of the group: they run together where
  // they can, and one after another where they must.
  uint64_t estimated_memory = 0;  // Bytes.
  uint32_t prompt_tokens = 0;
  uint32_t sequence_tokens = 0;  // Prompt + max_length of the longest sequence.
};

struct Assessment {
  DeviceId device;
  Standing standing = Standing::kEligible;
  std::string reason;  // Why not kEligible, with the numbers: "kv: needs 12 blocks, 3 free".
};

struct Placement {
  DeviceId winner;
  // The strategy that decided: least_loaded where task_specific fell back. With specific_device:
  // the one that would have decided.
  Strategy strategy = Strategy::kLeastLoaded;
  // The standing of the winner; all but kEligible queue the task there.
  Standing standing = Standing::kEligible;
  std::optional<DeviceId> runner_up;
  std::string reason;                // Why the winner won.
  std::vector<Assessment> rejected;  // Devices that are not eligible, by id; kRejectedMax at most.
  std::string note;                  // For the user: a fallback was taken.
};

inline constexpr size_t kRejectedMax = 64;  // Devices named in one placement.

// How one device stands towards the request. `why`: gets the reason, unless it is null or the
// device is eligible.
Standing standing_of(const PlacementPolicy& policy, const PlacementDevice& device,
                     const PlacementRequest& request, std::string* why = nullptr);
Assessment assess(const PlacementPolicy& policy, const PlacementDevice& device,
                  const PlacementRequest& request);

// An index of these devices, sorted by id, each with its standing towards the smallest request.
PlacementIndex index_of(const PlacementPolicy& policy, std::vector<PlacementDevice> devices);

// Looks only into parts of the index that may change the choice: O(log devices) where devices are
// alike or few are before the rest. What a strategy needs beyond the best of an order:
// - task_specific looks at each device of its map;
// - random counts the devices of the best standing: parts where every device has room for the
//   request count as a whole, in others devices are looked at one by one;
// - prefix_affinity sums the load of all that may ever take the task, in the same way;
// - earliest_finish orders by (tokens ahead + length) / rate: where rates differ widely, a part's
//   bound says little, and more parts are looked at.
// A refusal looks at all devices, for its numbers.
// Errors: kInvalid, with the ids for an unknown specific_device, with the numbers for what fits no
// device ever; kUnavailable without devices.
Result<Placement> choose(const PlacementPolicy& policy, const PlacementIndex& index,
                         const PlacementRequest& request, PlacementCursor& cursor);

// What every strategy but `decided` would have chosen in the same state; nothing where it would
// refuse. With a specific_device no strategy decided: what each would have chosen without it.
std::vector<std::pair<Strategy, std::optional<DeviceId>>> alternatives(
    const PlacementPolicy& policy, const PlacementIndex& index, const PlacementRequest& request,
    const PlacementCursor& cursor, Strategy decided);

}  // namespace altlas::scheduler
