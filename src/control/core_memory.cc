// Core, the memory of devices: what replicas hold, what is reserved for tasks, and tasks that never
// fit beside both.
//
// A reservation (estimated_memory) is a promise: weights, activations, reservations of running
// tasks and the KV blocks of running tasks at their longest are never more than the device has.
// Waiting tasks hold reservations as far as there is room. A task that wants to start looks at
// those of tasks accepted before it alone, so the first one accepted waits for running tasks only,
// and all get their turn.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {
namespace {
constexpr size_t kReasonsMax = 8;  // Devices named in one message.
}  // namespace

// Of a replica that restarts: it will hold what it held before.
uint64_t Core::memory_fixed(const Device& device) const {
  uint64_t fixed = 0;
  for (const uint32_t index : device.slots) {
    const Slot& slot = slots_[index];
    if (slot.given_up || !slot.needs) continue;
    fixed += slot.needs->weight_bytes + slot.needs->activation_bytes;
  }
  return fixed;
}

// A device's ledger: what its replicas hold, their used KV blocks, reservations. Tasks that wait
// inside a full replica count as tokens, but have no blocks.
uint64_t Core::memory_used(const Device& device) const {
  uint64_t used = memory_fixed(device) + device.reserved;
  for (const uint32_t index : device.slots) {
    const Slot& slot = slots_[index];
    used +=
        std::min<uint64_t>(slot.kv_blocks_used, slot.loaded.kv_blocks) * slot.loaded.block_bytes;
  }
  return used;
}

uint64_t Core::memory_growth(const Device& device) const {
  uint64_t growth = 0;
  for (const uint32_t index : device.slots) {
    const Slot& slot = slots_[index];
    const uint64_t pool = slot.loaded.kv_blocks;
    growth += (std::min(slot.kv_blocks_most, pool) - std::min(slot.kv_blocks_used, pool)) *
              slot.loaded.block_bytes;
  }
  return growth;
}

// What the task with this number must leave alone: reservations of running tasks, and of waiting
// ones that were accepted before it, with the KV blocks that these will need.  O(promised).
uint64_t Core::reserved_ahead(const Device& device, uint64_t number) const {
  uint64_t out = device.reserved;
  for (const uint64_t each : device.promised) {
    const Task& task = tasks_.at(each);
    if (each >= number) {
      out -= task.spec.estimated_memory;
      continue;
    }
    uint64_t block_tokens = 0, block_bytes = 0;
    for (const uint32_t slot : sites_[task.site].slots) {
      if (!slots_[slot].needs) continue;
      block_tokens = slots_[slot].needs->block_tokens;
      block_bytes = slots_[slot].needs->block_bytes;
    }
    const uint64_t tokens = request_of(task).sequence_tokens;
    if (block_tokens > 0) out += (tokens + block_tokens - 1) / block_tokens * block_bytes;
  }
  return out;
}

void Core::reserve(Task& task) {
  if (task.reserved || task.spec.estimated_memory == 0) return;
  Device& one = device_of(task);
  one.reserved += task.spec.estimated_memory;
  one.promised.insert(task.number);
  task.reserved = true;
}

void Core::unreserve(Task& task) {
  if (!task.reserved) return;
  Device& one = device_of(task);
  one.reserved -= task.spec.estimated_memory;
  one.promised.erase(task.number);
  task.reserved = false;
}

void Core::reserve_if_room(Task& task) {
  const Device& one = device_of(task);
  if (memory_used(one) + memory_growth(one) + task.spec.estimated_memory <= one.setup.memory_total)
    reserve(task);
}

// Waiting tasks give up their reservations, the last ones first, until what replicas hold and
// running tasks may need has room beside them.
void Core::release_reservations(DeviceId id) {
  Device& one = devices_[static_cast<size_t>(id.value)];
  while (!one.promised.empty() && memory_used(one) + memory_growth(one) > one.setup.memory_total)
    unreserve(at(*one.promised.rbegin()));
}

// What replicas hold has changed: every waiting task may fit no more where it is.
void Core::unsettle_all() {
  for (uint32_t site = 0; site < sites_.size(); ++site)
    queue_.for_each(site, [&](uint64_t number) {
      if (tasks_.at(number).spec.estimated_memory > 0) unsettled_.insert(number);
      return true;
    });
}

// Where a task that never fits beside its device's replicas may do so; if nowhere, `why` has the
// numbers. A device whose replicas have not said what they hold may.
std::optional<uint32_t> Core::site_for_crowded(const Task& task, std::string& why) const {
  std::optional<uint32_t> best;
  const auto key = [&](uint32_t site) {
    const Device& one = device(sites_[site].device);
    return std::tuple(
        scheduler::assess(policy_, picture_of(sites_[site]), request_of(task)).standing,
        one.running + one.queued, one.setup.id);
  };
  const bool stays =
      task.spec.batch_group != 0 || (task.pinned && task.spec.specific_device.has_value());
  size_t named = 0;
  for (const uint32_t site : deployments_[sites_[task.site].deployment].sites) {
    const auto& slots = sites_[site].slots;
    if ((stays && site != task.site) ||
        std::ranges::all_of(slots, [&](uint32_t slot) { return slots_[slot].given_up; }))
      continue;
    const auto assessment = scheduler::assess(policy_, picture_of(sites_[site]), request_of(task));
    if (assessment.standing >= scheduler::Standing::kCrowded) {
      if (named++ < kReasonsMax)
        why += fmt::format("{}device {}: {}", why.empty() ? "" : "; ", sites_[site].device.value,
                           assessment.reason);
    } else if (!best || key(site) < key(*best)) {
      best = site;
    }
  }
  return best;
}

// Tasks that wait where they never fit move to where they may, or end with the reason.
void Core::settle(Out& out) {
  if (stopping_) return;
  for (const uint64_t number : std::exchange(unsettled_, {})) {
    const auto found = tasks_.find(number);
    if (found == tasks_.end() || found->second.phase != Phase::kWaiting) continue;
    Task& task = found->second;
    const auto assessment = scheduler::assess(policy_, picture_of(site_of(task)), request_of(task));
    if (assessment.standing != scheduler::Standing::kCrowded) continue;
    std::string why;
    if (const auto to = site_for_crowded(task, why)) {
      move_task(task, *to);
    } else {
      fail_task(task, ErrorCode::kInvalid,
                "estimated_memory fits no device that may run the task, beside what its replicas "
                "hold: " +
                    why,
                out);
    }
  }
}

}  // namespace altlas::control
