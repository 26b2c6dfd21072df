#include "model/kv_group.h"

#include <utility>

namespace altlas::model {

std::vector<KvGroup> kv_groups(const Hyperparameters& config, const ShardRange& layers) {
  std::vector<KvGroup> groups;
  // An encoder holds one layer's keys and values at a time.
  if (config.architecture.encoder) return {KvGroup{.layers = {0}}};
  for (const bool window : {false, true}) {
    KvGroup group{.window = window ? config.window : 0};
    bool some = false;
    for (uint32_t layer = 0; layer < config.layer_count; ++layer) {
      if (config.is_window_layer(layer) != window) continue;
      some = true;
      if (layers.holds(layer)) group.layers.push_back(layer);
    }
    if (some) groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace altlas::model
