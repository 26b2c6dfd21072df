// PrefixIndex: which device has seen which prompt prefixes lately; what prefix_affinity looks at.
// Bounded.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/ids.h"
#include "task/prompt.h"

namespace altlas::scheduler {

class PrefixIndex {
 public:
  static constexpr uint32_t kBlockTokens = 16;
  // Longer prompts are told apart by their first 2,048 tokens.
  static constexpr size_t kBlocksPerPrompt = 128;

  explicit PrefixIndex(size_t entries_max = 65536) : entries_max_(entries_max) {}
  // The device computes this prompt now, with an adapter or without (empty). The oldest entries go
  // beyond entries_max.
  void add(DeviceId device, std::string_view adapter, const Prompt& prompt);
  // Tokens of the longest prefix of `prompt` (whole blocks) that the device has seen with that
  // adapter.
  uint32_t cached_tokens(DeviceId device, std::string_view adapter, const Prompt& prompt) const;
  // The same for every device that has seen at least the first block.  O(its devices).
  std::map<DeviceId, uint32_t> cached_tokens(std::string_view adapter, const Prompt& prompt) const;
  // The device's cache is gone.
  void forget(DeviceId device);
  // What is saved of it, and the rest made from that.
  static auto saved(auto& self) { return std::tie(self.order_); }
  bool rebuild();  // False: this was never saved.

 private:
  using Key = std::pair<uint64_t, DeviceId>;  // A block's hash, and who has seen it.
  const size_t entries_max_;
  std::set<Key> keys_;
  std::deque<Key> order_;
};

}  // namespace altlas::scheduler
