// KvGroup: where on a device the KV of the layers lies that share a window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/architecture.h"
#include "model/shard_plan.h"
#include "ops/attention/kv_layout.h"

namespace altlas::model {

struct KvGroup {
  uint32_t window = 0;           // Tokens; 0: all.
  std::vector<uint32_t> layers;  // The layers of the model, ascending.
  uint32_t blocks = 0;
  std::byte* data = nullptr;  // [layers][blocks][layout.block_bytes()]

  uint64_t block_bytes(const ops::KvLayout& layout) const {
    return layers.size() * layout.block_bytes();
  }
  std::byte* layer_data(const ops::KvLayout& layout, size_t index) const {
    return data + index * blocks * layout.block_bytes();
  }
};

// Groups of a model, each with those of its layers that are in `layers`: every layer in one; full
// attention first. All ranks of a replica have the same groups. Encoders: one layer's, for all.
std::vector<KvGroup> kv_groups(const Hyperparameters& config, const ShardRange& layers);

}  // namespace altlas::model
