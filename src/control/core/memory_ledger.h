// MemoryLedger: the bytes of every device, and who holds them: replicas (weights, activations, KV
// blocks) and tasks with a reservation.
//
// A reservation (estimated_memory) is a promise: weights, activations, reservations of running
// tasks and the KV blocks of running tasks at their longest are never more than the device has.
// Waiting tasks hold reservations as far as there is room: those are called promised, and are given
// up again, the last ones first, where replicas and running tasks need the room.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/change_set.h"

namespace altlas::control {

// What one rank of a replica takes on its device, in bytes.
struct ReplicaMemory {
  uint64_t fixed = 0;      // Weights and activations; a replica that restarts keeps its claim.
  uint64_t kv_used = 0;    // KV blocks of its runs.
  uint64_t kv_growth = 0;  // By which these may still grow.
  friend bool operator==(const ReplicaMemory&, const ReplicaMemory&) = default;
};

// The reservation of a task that does not run.
struct PromisedMemory {
  uint64_t bytes = 0;
  uint32_t site = 0;
  uint32_t sequence_tokens = 0;  // Prompt and answer at their longest.
};

// Threads: one. Saved are the reservations; what replicas hold is told again by the fleet. Tasks
// are told apart by their numbers, replicas by their slots.
class MemoryLedger {
 public:
  // Changes of a device's bytes are noted in `changed`, by device.
  explicit MemoryLedger(ChangeSet& changed) : changed_(changed) {}
  void add_device(uint64_t total);
  void add_slot(std::vector<DeviceId> devices);

  // In place of what that rank of the slot held.
  void hold(uint32_t slot, size_t rank, const ReplicaMemory& memory);

  // A reservation of a task that does not run; one that runs; its end.
  void promise(DeviceId device, uint64_t task, const PromisedMemory& memory);
  void keep_for_run(DeviceId device, uint64_t task);
  void promise_again(DeviceId device, uint64_t task, const PromisedMemory& memory);
  void release(DeviceId device, uint64_t task, uint64_t bytes);

  uint64_t total(DeviceId device) const { return at(device).total; }
  uint64_t fixed(DeviceId device) const { return at(device).fixed; }
  uint64_t growth(DeviceId device) const { return at(device).kv_growth; }
  uint64_t reserved(DeviceId device) const { return reservations(device).bytes; }
  // Reservations of running tasks alone.
  uint64_t reserved_by_runs(DeviceId device) const {
    return reservations(device).bytes - reservations(device).promised_bytes;
  }
  uint64_t used(DeviceId device) const {
    return at(device).fixed + reserved(device) + at(device).kv_used;
  }
  bool has_room(DeviceId device, uint64_t bytes) const {
    return used(device) + growth(device) + bytes <= total(device);
  }
  const std::map<uint64_t, PromisedMemory>& promised(DeviceId device) const {
    return reservations(device).tasks;
  }
  // The task that gives up its reservation next, where there is not enough room for all.
  std::optional<uint64_t> next_to_give_up(DeviceId device) const;

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  struct Device {
    uint64_t total = 0;
    uint64_t fixed = 0, kv_used = 0, kv_growth = 0;  // Sums of what its replicas hold.
  };
  struct Reservations {
    uint64_t bytes = 0;  // The bytes of running and waiting tasks.
    // The part of these bytes of tasks that do not run.
    uint64_t promised_bytes = 0;
    std::map<uint64_t, PromisedMemory> tasks;  // That do not run.
  };
  struct Slot {
    std::vector<DeviceId> devices;      // By rank.
    std::vector<ReplicaMemory> memory;  // By rank.
  };
  const Device& at(DeviceId device) const { return devices_[static_cast<size_t>(device.value)]; }
  const Reservations& reservations(DeviceId device) const {
    return reservations_[static_cast<size_t>(device.value)];
  }
  Reservations& change(DeviceId device);

  ChangeSet& changed_;
  std::vector<Device> devices_;
  std::vector<Reservations> reservations_;  // By device.
  std::vector<Slot> slots_;
};

}  // namespace altlas::control
