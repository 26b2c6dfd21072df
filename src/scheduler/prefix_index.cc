#include "scheduler/prefix_index.h"

#include <algorithm>

#include "base/hash.h"

namespace altlas::scheduler {
namespace {
// The chained hash of each whole block until `visit` says false.
void blocks(std::string_view adapter, std::span<const int32_t> prompt, auto&& visit) {
  Hasher hasher;
  hasher.add(adapter);
  const size_t count =
      std::min(prompt.size() / PrefixIndex::kBlockTokens, PrefixIndex::kBlocksPerPrompt);
  for (size_t i = 0; i < count; ++i) {
    hasher.add(prompt.subspan(i * PrefixIndex::kBlockTokens, PrefixIndex::kBlockTokens));
    if (!visit(hasher.value())) return;
  }
}
}  // namespace

void PrefixIndex::add(DeviceId device, std::string_view adapter, std::span<const int32_t> prompt) {
  blocks(adapter, prompt, [&](uint64_t hash) {
    if (keys_.emplace(device, hash).second) order_.emplace_back(device, hash);
    return true;
  });
  while (order_.size() > entries_max_) {
    keys_.erase(order_.front());
    order_.pop_front();
  }
}

uint32_t PrefixIndex::cached_tokens(DeviceId device, std::string_view adapter,
                                    std::span<const int32_t> prompt) const {
  uint32_t tokens = 0;
  blocks(adapter, prompt, [&](uint64_t hash) {
    if (!keys_.contains({device, hash})) return false;
    tokens += kBlockTokens;
    return true;
  });
  return tokens;
}

void PrefixIndex::forget(DeviceId device) {
  std::erase_if(keys_, [&](const Key& key) { return key.first == device; });
  std::erase_if(order_, [&](const Key& key) { return key.first == device; });
}

}  // namespace altlas::scheduler
