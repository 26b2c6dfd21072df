#include "model/adapter_table.h"

#include <fmt/format.h>

#include <utility>

#include "base/units.h"

namespace altlas::model {

Result<uint64_t> AdapterTable::keep(uint32_t id, const AdapterFile& file,
                                    device::CpuDevice& device) {
  Arena measure;
  ALTLAS_TRY_VOID(file.lay_out(measure));
  auto held = std::make_shared<Held>();
  auto buffer = device.allocate("adapters", measure.used());
  if (!buffer.ok())
    return Error(buffer.error().code(),
                 fmt::format("the adapter needs {}: {}", format_bytes(measure.used()),
                             buffer.error().message()));
  held->buffer = *std::move(buffer);
  Arena arena(held->buffer.data(), held->buffer.size());
  ALTLAS_TRY(held->adapter, file.lay_out(arena));
  const uint64_t bytes = held->buffer.size();
  const std::lock_guard lock(mutex_);
  held_[id] = std::move(held);
  return bytes;
}

void AdapterTable::drop(uint32_t id) {
  std::shared_ptr<const Held> dropped;  // Freed without the lock.
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  dropped = std::move(found->second);
  held_.erase(found);
}

std::shared_ptr<const Adapter> AdapterTable::find(uint32_t id) const {
  if (id == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(id);
  if (found == held_.end()) return nullptr;
  return {found->second, &found->second->adapter};
}

}  // namespace altlas::model
