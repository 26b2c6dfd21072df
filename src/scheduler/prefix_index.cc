#include "scheduler/prefix_index.h"

#include <algorithm>

#include "base/hash.h"

namespace altlas::scheduler {
namespace {
// Calls `visit` with the chained hash of each whole block, until it returns false.
void blocks(std::string_view adapter, const Prompt& prompt, auto&& visit) {
  Hasher hasher;
  hasher.add(adapter);
  auto payload = prompt.payloads().begin();  // The next payload that begins.
  const size_t count =
      std::min(prompt.size() / PrefixIndex::kBlockTokens, PrefixIndex::kBlocksPerPrompt);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = i * PrefixIndex::kBlockTokens;
    hasher.add(std::span<const int32_t>(prompt.tokens()).subspan(begin, PrefixIndex::kBlockTokens));
    for (; payload != prompt.payloads().end() && payload->first < begin + PrefixIndex::kBlockTokens;
         ++payload)
      hasher.add(std::string_view(reinterpret_cast<const char*>(payload->hash.bytes.data()),
                                  payload->hash.bytes.size()));
    if (!visit(hasher.value())) return;
  }
}
}  // namespace

void PrefixIndex::add(DeviceId device, std::string_view adapter, const Prompt& prompt) {
  blocks(adapter, prompt, [&](uint64_t hash) {
    if (keys_.emplace(hash, device).second) order_.emplace_back(hash, device);
    return true;
  });
  while (order_.size() > entries_max_) {
    keys_.erase(order_.front());
    order_.pop_front();
  }
}

uint32_t PrefixIndex::cached_tokens(DeviceId device, std::string_view adapter,
                                    const Prompt& prompt) const {
  uint32_t tokens = 0;
  blocks(adapter, prompt, [&](uint64_t hash) {
    if (!keys_.contains({hash, device})) return false;
    tokens += kBlockTokens;
    return true;
  });
  return tokens;
}

std::map<DeviceId, uint32_t> PrefixIndex::cached_tokens(std::string_view adapter,
                                                        const Prompt& prompt) const {
  std::map<DeviceId, uint32_t> out;
  uint32_t before = 0;  // The tokens of the blocks so far.
  blocks(adapter, prompt, [&](uint64_t hash) {
    bool any = false;
    for (auto key = keys_.lower_bound({hash, DeviceId{INT32_MIN}});
         key != keys_.end() && key->first == hash; ++key) {
      const auto seen = before == 0 ? out.emplace(key->second, 0).first : out.find(key->second);
      // Devices that lack a block before this one don't count.
      if (seen == out.end() || seen->second != before) continue;
      seen->second += kBlockTokens;
      any = true;
    }
    before += kBlockTokens;
    return any;
  });
  return out;
}

void PrefixIndex::forget(DeviceId device) {
  std::erase_if(keys_, [&](const Key& key) { return key.second == device; });
  std::erase_if(order_, [&](const Key& key) { return key.second == device; });
}

bool PrefixIndex::rebuild() {
  keys_ = std::set<Key>(order_.begin(), order_.end());
  return keys_.size() == order_.size();
}

}  // namespace altlas::scheduler
