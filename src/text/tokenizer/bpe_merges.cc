#include "text/tokenizer/bpe_merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

#include "base/hash.h"

namespace altlas::text {
namespace {

constexpr size_t kProbesMax = 512;
constexpr size_t kShort = 24;  // Up to this length looking at all pairs is faster than a heap.

uint64_t key_of(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

BpeMerges::BpeMerges(size_t count) : slots_(std::bit_ceil(count + count / 2 + 2)) {}

bool BpeMerges::add(int32_t left, int32_t right, uint32_t rank, int32_t joined) {
  const uint64_t pair = key_of(left, right);
  size_t at = mix64(pair) & (slots_.size() - 1);
  for (size_t probe = 0; probe < kProbesMax; ++probe, at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair != ~0ULL && slots_[at].pair != pair) continue;
    slots_[at] = {pair, rank, joined};
    return true;
  }
  return false;
}

const BpeMerges::Slot* BpeMerges::find(int32_t left, int32_t right) const {
  const uint64_t pair = key_of(left, right);
  for (size_t at = mix64(pair) & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return &slots_[at];
    if (slots_[at].pair == ~0ULL) return nullptr;
  }
}

void BpeMerges::merge(Scratch& scratch) const {
  if (scratch.ids.size() <= kShort) {
    merge_short(scratch.ids);
  } else {
    merge_long(scratch);
  }
}

// This is quadratic, but the rank of each pair is kept: only the two pairs beside a merge are
// looked up again.
void BpeMerges::merge_short(std::vector<int32_t>& ids) const {
  constexpr uint32_t kNone = ~0U;
  size_t count = ids.size();
  if (count < 2) return;
  std::array<uint32_t, kShort> rank;
  std::array<int32_t, kShort> joined;
  const auto look = [&](size_t i) {
    const Slot* slot = i + 1 < count ? find(ids[i], ids[i + 1]) : nullptr;
    rank[i] = slot == nullptr ? kNone : slot->rank;
    joined[i] = slot == nullptr ? -1 : slot->joined;
  };
  for (size_t i = 0; i < count; ++i) look(i);
  for (;;) {
    const auto best = static_cast<size_t>(
        std::min_element(rank.begin(), rank.begin() + static_cast<ptrdiff_t>(count)) -
        rank.begin());
    if (rank[best] == kNone) break;
    ids[best] = joined[best];
    for (size_t i = best + 1; i + 1 < count; ++i) {
      ids[i] = ids[i + 1];
      rank[i] = rank[i + 1];
      joined[i] = joined[i + 1];
    }
    --count;
    look(best);
    if (best > 0) look(best - 1);
  }
  ids.resize(count);
}

// Merges by a heap of (rank, position) over a linked list; places that were merged away keep id -1.
// A heap entry whose pair has changed is recognised by its rank: a pair's text only grows, so the
// same rank means the same pair.
void BpeMerges::merge_long(Scratch& s) const {
  const auto size = static_cast<int32_t>(s.ids.size());
  s.previous.resize(s.ids.size());
  s.next.resize(s.ids.size());
  s.heap.clear();
  const auto entry_of = [&](int32_t at) -> uint64_t {
    if (at < 0 || s.next[static_cast<size_t>(at)] < 0) return ~0ULL;
    const auto right = static_cast<size_t>(s.next[static_cast<size_t>(at)]);
    const Slot* slot = find(s.ids[static_cast<size_t>(at)], s.ids[right]);
    return slot == nullptr ? ~0ULL
                           : (static_cast<uint64_t>(slot->rank) << 32) | static_cast<uint32_t>(at);
  };
  for (int32_t i = 0; i < size; ++i) {
    s.previous[static_cast<size_t>(i)] = i - 1;
    s.next[static_cast<size_t>(i)] = i + 1 < size ? i + 1 : -1;
  }
  for (int32_t i = 0; i + 1 < size; ++i)
    if (const uint64_t entry = entry_of(i); entry != ~0ULL) s.heap.push_back(entry);
  std::ranges::make_heap(s.heap, std::greater<>());
  const auto push = [&](int32_t at) {
    const uint64_t entry = entry_of(at);
    if (entry == ~0ULL) return;
    s.heap.push_back(entry);
    std::ranges::push_heap(s.heap, std::greater<>());
  };
  while (!s.heap.empty()) {
    std::ranges::pop_heap(s.heap, std::greater<>());
    const uint64_t entry = s.heap.back();
    s.heap.pop_back();
    const auto at = static_cast<size_t>(entry & 0xFFFFFFFF);
    if (s.ids[at] < 0 || entry_of(static_cast<int32_t>(at)) != entry) continue;
    const auto right = static_cast<size_t>(s.next[at]);
    s.ids[at] = find(s.ids[at], s.ids[right])->joined;
    s.ids[right] = -1;
    s.next[at] = s.next[right];
    if (s.next[at] >= 0) s.previous[static_cast<size_t>(s.next[at])] = static_cast<int32_t>(at);
    push(s.previous[at]);
    push(static_cast<int32_t>(at));
  }
  std::erase(s.ids, -1);
}

}  // namespace altlas::text
