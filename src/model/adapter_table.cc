#include "model/adapter_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "base/units.h"

namespace altlas::model {
namespace {

// A hash of all the adapter's values and of where they are added.
uint64_t identity_of(const Adapter& adapter) {
  Hasher hasher;
  const auto add = [&](const float* values, size_t count) {
    hasher.add(std::string_view(reinterpret_cast<const char*>(values), count * sizeof(float)));
  };
  for (const LayerAdapter& layer : adapter.layers)
    for (const auto* products : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      hasher.add(products->size());
      for (const LowRank& one : *products) {
        hasher.add(one.first_column).add(one.rows).add(one.cols).add(one.rank);
        add(one.a, size_t{one.rank} * one.cols);
        add(one.b, size_t{one.rank} * one.rows);
      }
    }
  return std::max<uint64_t>(1, hasher.value());
}

}  // namespace

Result<uint64_t> AdapterTable::keep(uint32_t id, const CheckedAdapter& file,
                                    device::Device& device) {
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
  held->adapter.identity = identity_of(held->adapter);
  const uint64_t bytes = held->buffer.size();
  const std::lock_guard lock(mutex_);
  held_[id] = std::move(held);
  return bytes;
}

void AdapterTable::drop(uint32_t id) {
  std::shared_ptr<const Held> dropped;  // Its memory is freed after the lock is released.
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
