// PlacementIndex: the devices of a deployment as placement sees them, in a tree of bounds, so that
// a choice need not look at all of them.
//
// A node of the tree stands for a run of devices. Its `best` has in each field the value that is
// best for a task among them, its `worst` the worst: no device of the run stands better than `best`
// would, none worse than `worst`, in whatever order placement compares.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/change_set.h"
#include "base/ids.h"

namespace altlas::scheduler {

// One device as seen by one deployment: only devices where a replica of it leads are candidates.
struct PlacementDevice {
  DeviceId id;
  bool healthy = true;
  bool replica_running = true;     // A replica of the deployment is loaded here and takes tasks.
  bool replica_wanted = true;      // One is to be here, or none of the deployment is anywhere.
  double temperature = -1;         // Celsius; below 0: not known.
  double utilization = 0;          // Percent.
  double foreign_utilization = 0;  // Percent, of other processes alone.
  uint64_t memory_total = 0;       // Bytes.
  uint64_t memory_used = 0;        // Weights, activations, used KV blocks, reservations.
  uint64_t memory_fixed = 0;     // The part of it that weights and activations take; they never go.
  uint64_t memory_reserved = 0;  // The part of it that is reserved.
  uint64_t memory_growth = 0;    // By which KV blocks of running tasks may still grow.
  uint64_t block_bytes = 0;      // Bytes of a KV block.
  uint32_t running = 0;          // Tasks of every deployment.
  uint32_t queued = 0;
  uint32_t tasks = 0;         // Running and queued tasks that count against tasks_max.
  uint32_t tasks_max = 0;     // 0: not known, no limit.
  uint32_t block_tokens = 0;  // 0: no KV, or not known before the first load.
  uint32_t kv_blocks_total = 0;
  uint32_t kv_blocks_free = 0;  // Reservations are taken off.
  uint32_t model_len_max = 0;   // 0: not known.
  // Cached tokens of this prompt, for prefix_affinity.
  uint32_t cached_prefix_tokens = 0;
  uint64_t tokens_ahead = 0;     // Still to be computed for the tasks here, for earliest_finish.
  double tokens_per_second = 0;  // Measured; 0: not known.
  friend bool operator==(const PlacementDevice&, const PlacementDevice&) = default;
};

// Tokens per second; a rate that is not known counts as 1.
inline double rate_of(const PlacementDevice& device) {
  return device.tokens_per_second > 0 ? device.tokens_per_second : 1;
}

// How near a device is to taking the task now. Lower is better; a task that must queue does so at
// the best there is.
enum class Standing : uint8_t {
  kEligible,
  kBusy,  // Full for now: tasks, memory or KV blocks; passes as tasks end.
  kHot,   // Too hot, or loaded by other processes.
  kDown,  // No running replica (loading, restarting).
  kUnhealthy,
  // Large enough, but not beside the weights it holds; the task queues where there is no other.
  kCrowded,
  kNever,  // Too small for this task.
};
inline constexpr size_t kStandings = 7;

// Threads: one.
class PlacementIndex {
 public:
  PlacementIndex() = default;
  // Sorted by id; each stands as an eligible one until set() says otherwise.
  explicit PlacementIndex(std::vector<PlacementDevice> devices);

  std::span<const PlacementDevice> devices() const { return devices_; }
  const PlacementDevice& operator[](size_t index) const { return devices_[index]; }
  std::optional<size_t> find(DeviceId id) const;  // O(log devices)
  // Replaces a device; the order of ids must stay. standing: towards a request that needs nothing.
  // O(1): bounds follow once root() asks for them.
  void set(size_t index, const PlacementDevice& device, Standing standing);

  // A run of devices. Copies are cheap; valid until the next set().
  class Node {
   public:
    bool empty() const { return size() == 0; }
    bool is_leaf() const { return at_ >= index_->capacity_; }
    size_t size() const;
    // The next are of a node that is not empty; left() is empty only if right() is.
    Node left() const { return {index_, 2 * at_}; }
    Node right() const { return {index_, 2 * at_ + 1}; }
    const PlacementDevice& best() const;
    const PlacementDevice& worst() const;
    uint64_t load() const;  // Running and queued tasks of all.
    // How many stand at most so towards a request that needs nothing.
    size_t count(Standing upto) const;
    DeviceId last() const;  // The highest id.

   private:
    friend class PlacementIndex;
    Node(const PlacementIndex* index, size_t at) : index_(index), at_(at) {}
    const PlacementIndex* index_;
    size_t at_;
  };
  // O(log devices) for each device that was set since the last call.
  Node root() const;
  // Bounds and devices that were looked at since the start.
  uint64_t looks() const { return looks_; }

 private:
  struct Bounds {
    PlacementDevice best, worst;
    uint64_t load = 0;
    DeviceId last;
    std::array<uint32_t, kStandings> standing{};  // How many stand so.
    size_t size = 0;
  };
  static Bounds bounds_of(const PlacementDevice& device, Standing standing);
  static Bounds joined(const Bounds& a, const Bounds& b);
  void update(size_t node) const;

  std::vector<PlacementDevice> devices_;
  std::vector<Standing> standings_;  // By device.
  size_t capacity_ = 1;              // Leaves, a power of two.
  // Heap order: the children of n are 2 n and 2 n + 1. Changes of devices often come between two
  // choices, and only a choice needs the bounds.
  mutable std::vector<Bounds> nodes_;
  mutable ChangeSet changed_;  // Devices whose leaves are not up to date.
  mutable uint64_t looks_ = 0;
};

}  // namespace altlas::scheduler
