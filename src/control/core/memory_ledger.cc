#include "control/core/memory_ledger.h"

#include <utility>

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {

void MemoryLedger::add_device(uint64_t total) {
  devices_.emplace_back().total = total;
  reservations_.emplace_back();
}

void MemoryLedger::add_slot(std::vector<DeviceId> devices) {
  Slot& slot = slots_.emplace_back();
  slot.memory.resize(devices.size());
  slot.devices = std::move(devices);
}

MemoryLedger::Reservations& MemoryLedger::change(DeviceId device) {
  changed_.add(static_cast<uint32_t>(device.value));
  return reservations_[static_cast<size_t>(device.value)];
}

void MemoryLedger::hold(uint32_t slot, size_t rank, const ReplicaMemory& memory) {
  ReplicaMemory& before = slots_[slot].memory[rank];
  if (before == memory) return;
  const DeviceId id = slots_[slot].devices[rank];
  changed_.add(static_cast<uint32_t>(id.value));
  Device& device = devices_[static_cast<size_t>(id.value)];
  device.fixed += memory.fixed - before.fixed;
  device.kv_used += memory.kv_used - before.kv_used;
  device.kv_growth += memory.kv_growth - before.kv_growth;
  before = memory;
}

void MemoryLedger::promise(DeviceId device, uint64_t task, const PromisedMemory& memory) {
  change(device).bytes += memory.bytes;
  promise_again(device, task, memory);
}

void MemoryLedger::keep_for_run(DeviceId device, uint64_t task) {
  Reservations& one = change(device);
  const auto found = one.tasks.find(task);
  if (found == one.tasks.end()) return;
  one.promised_bytes -= found->second.bytes;
  one.tasks.erase(found);
}

void MemoryLedger::promise_again(DeviceId device, uint64_t task, const PromisedMemory& memory) {
  Reservations& one = change(device);
  if (one.tasks.emplace(task, memory).second) one.promised_bytes += memory.bytes;
}

void MemoryLedger::release(DeviceId device, uint64_t task, uint64_t bytes) {
  keep_for_run(device, task);
  change(device).bytes -= bytes;
}

std::optional<uint64_t> MemoryLedger::next_to_give_up(DeviceId device) const {
  const Reservations& one = reservations(device);
  if (one.tasks.empty() || has_room(device, 0)) return std::nullopt;
  return one.tasks.rbegin()->first;
}

void MemoryLedger::check_integrity() const {
  std::vector<ReplicaMemory> sums(devices_.size());
  for (const Slot& slot : slots_)
    for (size_t rank = 0; rank < slot.devices.size(); ++rank) {
      ReplicaMemory& sum = sums[static_cast<size_t>(slot.devices[rank].value)];
      sum.fixed += slot.memory[rank].fixed;
      sum.kv_used += slot.memory[rank].kv_used;
      sum.kv_growth += slot.memory[rank].kv_growth;
    }
  for (size_t i = 0; i < devices_.size(); ++i) {
    const Device& device = devices_[i];
    ALTLAS_CHECK(device.fixed == sums[i].fixed && device.kv_used == sums[i].kv_used &&
                     device.kv_growth == sums[i].kv_growth,
                 "a device's bytes are the sum of its replicas'");
    const Reservations& reserved = reservations_[i];
    uint64_t promised = 0;
    for (const auto& [task, memory] : reserved.tasks) promised += memory.bytes;
    ALTLAS_CHECK(promised == reserved.promised_bytes && promised <= reserved.bytes,
                 "promised bytes agree with the promises");
    ALTLAS_CHECK(reserved.bytes <= device.total, "reservations are within the budget");
  }
}

auto MemoryLedger::saved(auto& self) { return std::tie(self.reservations_); }

std::string MemoryLedger::save() const { return save_part("memory_ledger", 1, saved(*this)); }

uint64_t MemoryLedger::hash() const { return hash_of_saved(save()); }

Result<void> MemoryLedger::load(std::string_view bytes) {
  ALTLAS_TRY_VOID(load_part("memory_ledger", 1, bytes, saved(*this)));
  if (reservations_.size() != devices_.size())
    return invalid("the saved memory ledger is of another number of devices");
  return {};
}

}  // namespace altlas::control
