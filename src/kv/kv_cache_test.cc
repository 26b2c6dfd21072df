#include "kv/kv_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "base/philox.h"

namespace altlas::kv {
namespace {

std::vector<int32_t> tokens(uint32_t count, int32_t first = 0) {
  std::vector<int32_t> out(count);
  std::iota(out.begin(), out.end(), first);
  return out;
}

// Computes tokens [from, all) of a sequence in one piece.
void compute(KvCache& cache, SequenceBlocks& sequence, const std::vector<int32_t>& ids,
             uint32_t from, BlockChanges& changes) {
  const auto count = static_cast<uint32_t>(ids.size()) - from;
  ASSERT_EQ(cache.reservable(sequence, from, count), count);
  cache.reserve(sequence, from, count, changes);
  cache.publish(sequence, ids, static_cast<uint32_t>(ids.size()), changes);
}

// Goal: a known prefix is found again in whole blocks, even after its sequence is gone, and never
// under another salt.
TEST(KvCache, FindsWholeBlocksOfAPrefix) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 16}}});
  const auto first = tokens(10);
  BlockChanges changes;
  SequenceBlocks a = cache.start(7, cache.match(7, first), changes);
  compute(cache, a, first, 0, changes);
  cache.release(a);
  EXPECT_EQ(cache.pool(0).kept_count(), 2u);
  EXPECT_EQ(cache.pool(0).free_count(), 14u);

  EXPECT_EQ(cache.match(7, first).tokens, 8u);
  EXPECT_EQ(cache.match(8, first).tokens, 0u) << "another adapter has other KV values";
  auto other = tokens(10);
  other[5] = 99;
  EXPECT_EQ(cache.match(7, other).tokens, 4u);
  EXPECT_EQ(cache.match(7, tokens(3)).tokens, 0u);
  const SequenceBlocks* none[] = {&a};
  cache.check_integrity(none);
}

// Goal: a payload's KV is found by its content and its position, never by its placeholder tokens
// alone.
TEST(KvCache, PayloadsAreKnownByTheirContent) {
  const int32_t kPlace = -3;
  const ContentHash cat = content_hash("cat"), dog = content_hash("dog");
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 32}}});
  // The prompt is one token, a payload of nine placeholders over three blocks, then text.
  const auto prompt = [kPlace](std::vector<PayloadPlace> payloads) {
    std::vector<int32_t> ids = tokens(16, 100);
    for (const PayloadPlace& one : payloads)
      std::fill_n(ids.begin() + one.first, one.tokens, kPlace);
    return std::pair(ids, payloads);
  };
  const auto [ids, payloads] = prompt({{1, 9, cat}});
  BlockChanges changes;
  SequenceBlocks a = cache.start(7, cache.match(7, ids, payloads), changes);
  cache.reserve(a, 0, 16, changes);
  cache.publish(a, ids, 16, changes, payloads);
  struct Case {
    const char* name;
    std::vector<PayloadPlace> payloads;
    uint32_t found;
  };
  for (const Case& one : {Case{"the same", {{1, 9, cat}}, 15},
                          {"another content", {{1, 9, dog}}, 0},
                          {"another place", {{2, 8, cat}}, 0},
                          {"longer", {{1, 11, cat}}, 8},
                          {"followed by another", {{1, 9, cat}, {10, 1, dog}}, 8},
                          {"two in its places", {{1, 3, cat}, {4, 6, cat}}, 4},
                          {"another's second block", {{1, 3, cat}, {4, 6, dog}}, 4},
                          {"no payload", {}, 0}}) {
    SCOPED_TRACE(one.name);
    const auto [other, places] = prompt(one.payloads);
    EXPECT_EQ(cache.match(7, other, places).tokens, one.found);
  }
  EXPECT_EQ(cache.match(7, ids).tokens, 0u) << "places without what they hold";
  const SequenceBlocks* all[] = {&a};
  cache.check_integrity(all);
  cache.release(a);
}

// Goal: a prompt that is cached to its last token computes that token in a copy, and the original
// stays as it is.
TEST(KvCache, CopiesOnWriteWhenEverythingIsCached) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 8}}});
  const auto ids = tokens(8);
  BlockChanges changes;
  SequenceBlocks a = cache.start(0, {}, changes);
  compute(cache, a, ids, 0, changes);

  changes = {};
  const PrefixMatch match = cache.match(0, ids);
  EXPECT_EQ(match.tokens, 7u);
  SequenceBlocks b = cache.start(0, match, changes);
  ASSERT_EQ(cache.reservable(b, 7, 1), 1u);
  cache.reserve(b, 7, 1, changes);
  ASSERT_EQ(changes.copies.size(), 1u);
  EXPECT_EQ(changes.copies[0].from, a.tables[0].blocks[1]);
  EXPECT_EQ(changes.copies[0].to, b.tables[0].blocks[1]);
  EXPECT_EQ(a.tables[0].blocks[0], b.tables[0].blocks[0]);
  EXPECT_NE(a.tables[0].blocks[1], b.tables[0].blocks[1]);
  const SequenceBlocks* both[] = {&a, &b};
  cache.check_integrity(both);
  cache.release(a);
  cache.release(b);
  cache.forget_copied();
  EXPECT_EQ(cache.pool(0).available(), 8u);
}

// Goal: two sequences that computed the same blocks end up sharing one copy.
TEST(KvCache, EqualBlocksBecomeOne) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 8}}});
  const auto ids = tokens(8);
  BlockChanges changes;
  SequenceBlocks a = cache.start(0, {}, changes);
  SequenceBlocks b = cache.start(0, {}, changes);
  cache.reserve(a, 0, 8, changes);
  cache.reserve(b, 0, 8, changes);
  EXPECT_EQ(cache.pool(0).used_count(), 4u);
  cache.publish(a, ids, 8, changes);
  changes = {};
  cache.publish(b, ids, 8, changes);
  EXPECT_EQ(cache.pool(0).used_count(), 2u);
  EXPECT_EQ(changes.tables.size(), 2u) << "the rank must hear of the new table";
  EXPECT_EQ(a.tables[0].blocks, b.tables[0].blocks);
  const SequenceBlocks* both[] = {&a, &b};
  cache.check_integrity(both);
}

// Goal: a window group holds no more than its window, and a prefix is found only if its window is
// still cached.
TEST(KvCache, WindowGroupsGiveBackWhatFellOut) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 32}, {GroupKind::kWindow, 4, 8}}});
  EXPECT_EQ(cache.blocks_needed(1, 100), 3u);
  EXPECT_EQ(cache.blocks_needed(0, 100), 25u);
  EXPECT_TRUE(cache.fits_alone(128));
  EXPECT_FALSE(cache.fits_alone(129));
  EXPECT_EQ(cache.tokens_max(), 128u);
  BlockChanges changes;
  SequenceBlocks a = cache.start(0, {}, changes);
  const auto ids = tokens(64);
  for (uint32_t position = 0; position < 64; ++position) {
    ASSERT_EQ(cache.reservable(a, position, 1), 1u);
    cache.reserve(a, position, 1, changes);
    cache.publish(a, ids, position + 1, changes);
    EXPECT_LE(a.tables[1].blocks.size(), 3u);
    EXPECT_LE(a.tables[1].first * 4, position < 8 ? 0 : position - 7)
        << "every token in the window is there";
    const SequenceBlocks* one[] = {&a};
    cache.check_integrity(one);
  }
  EXPECT_EQ(a.tables[0].blocks.size(), 16u);
  cache.release(a);
  EXPECT_GE(cache.match(0, ids).tokens, 56u);
  EXPECT_EQ(cache.match(0, tokens(20)).tokens, 0u) << "blocks 2 … 4 of the window group are gone";
}

// Goal: the block that was used longest ago is evicted first, and of one sequence the last block.
TEST(KvCache, EvictsOldestAndTailsFirst) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 6}}});
  BlockChanges changes;
  const auto one = tokens(8), two = tokens(8, 100), three = tokens(12, 200);
  for (const auto& ids : {one, two}) {
    SequenceBlocks s = cache.start(0, {}, changes);
    compute(cache, s, ids, 0, changes);
    cache.release(s);
  }
  SequenceBlocks s = cache.start(0, {}, changes);
  compute(cache, s, three, 0, changes);
  EXPECT_EQ(cache.match(0, tokens(9)).tokens, 4u) << "the end of the oldest went";
  EXPECT_EQ(cache.match(0, tokens(9, 100)).tokens, 8u);
  cache.release(s);
  const SequenceBlocks* gone[] = {&s};
  cache.check_integrity(gone);
}

// Goal: a sequence takes one state, whatever its length, keeps it, and shares no prefix: neither
// the state nor the blocks beside it.
TEST(KvCache, OneStatePerSequence) {
  KvCache cache(
      {.block_tokens = 4, .groups = {{.blocks = 40}, {GroupKind::kState, 2, 0}}, .swap_places = 9});
  EXPECT_EQ(cache.blocks_needed(1, 1), 1u);
  EXPECT_EQ(cache.blocks_needed(1, 1'000'000), 1u);
  EXPECT_EQ(cache.blocks_wanted(0, 8, 2), 1u) << "one to grow into";
  EXPECT_EQ(cache.blocks_wanted(1, 8, 1), 0u);
  EXPECT_EQ(cache.tokens_max(), 160u) << "by the blocks alone";
  EXPECT_TRUE(cache.grows_at(1, 0));
  EXPECT_FALSE(cache.grows_at(1, 4));
  const auto ids = tokens(30);
  BlockChanges changes;
  SequenceBlocks a = cache.start(0, {}, changes), b = cache.start(0, {}, changes);
  compute(cache, a, ids, 0, changes);
  EXPECT_EQ(a.tables[1].blocks.size(), 1u);
  EXPECT_EQ(cache.match(0, ids).tokens, 0u);
  EXPECT_EQ(cache.shared_tokens(a, 30), 0u);
  cache.reserve(b, 0, 1, changes);
  SequenceBlocks c = cache.start(0, {}, changes);
  EXPECT_EQ(cache.reservable(c, 0, 1), 0u) << "both states are taken";
  EXPECT_EQ(cache.reservable(a, 30, 50), 50u);

  EXPECT_EQ(cache.swap_blocks(a, 30), 8u) << "states are counted apart";
  std::vector<BlockSwap> out;
  SwappedBlocks swapped = cache.swap_out(a, 30, out);
  EXPECT_EQ(out.size(), 9u);
  EXPECT_EQ(KvCache::swapped_blocks(swapped, 1), 1u);
  cache.release(a);
  changes = {};
  SequenceBlocks back = cache.swap_in(0, swapped, changes);
  EXPECT_EQ(changes.swap_in.size(), 9u);
  EXPECT_EQ(back.tables[1].blocks.size(), 1u);
  const SequenceBlocks* all[] = {&back, &b, &c};
  cache.check_integrity(all, {&swapped});
}

// A sequence of the random run. There are few different prompts, so that prefixes meet.
struct Live {
  std::vector<int32_t> ids;
  uint32_t computed = 0;
  SequenceBlocks blocks;
};

// Goal: whatever the order of calls, every block is accounted for and a shared block holds the
// tokens that its users think. Method: a model of block contents beside the cache, 20,000 random
// calls, all checked each time.
TEST(KvCache, RandomCallsKeepContentsRight) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 24}, {GroupKind::kWindow, 20, 10}}});
  PhiloxStream random{42};
  std::vector<Live> live;
  std::map<std::pair<uint32_t, uint32_t>, std::vector<int32_t>>
      content;  // (group, block): tokens from 0 to its end.
  uint64_t hits = 0;
  for (int call = 0; call < 20'000; ++call) {
    BlockChanges changes;
    if (live.size() < 4 && random.below(3) == 0) {
      Live s;
      s.ids = tokens(4 + static_cast<uint32_t>(random.below(36)));
      if (random.below(2) == 0)
        s.ids[random.below(s.ids.size())] = 1000 + static_cast<int32_t>(random.below(2));
      const PrefixMatch match = cache.match(0, s.ids);
      s.computed = match.tokens;
      hits += match.tokens;
      s.blocks = cache.start(0, match, changes);
      live.push_back(std::move(s));
    } else if (!live.empty()) {
      const size_t at = random.below(live.size());
      Live& s = live[at];
      const uint32_t want =
          static_cast<uint32_t>(std::min(1 + random.below(9), s.ids.size() - s.computed));
      const uint32_t count = want == 0 ? 0 : cache.reservable(s.blocks, s.computed, want);
      if (count == 0 || random.below(20) == 0) {
        cache.release(s.blocks);
        live.erase(live.begin() + static_cast<ptrdiff_t>(at));
      } else {
        cache.reserve(s.blocks, s.computed, count, changes);
        for (const auto& copy : changes.copies)
          content[{copy.group, copy.to.value}] = content[{copy.group, copy.from.value}];
        for (uint32_t g = 0; g < 2; ++g) {
          for (uint32_t p = s.computed; p < s.computed + count; ++p) {
            content[{g, s.blocks.tables[g].blocks[p / 4 - s.blocks.tables[g].first].value}] = {
                s.ids.begin(), s.ids.begin() + p + 1};
          }
        }
        cache.forget_copied();
        s.computed += count;
        cache.publish(s.blocks, s.ids, s.computed, changes);
      }
    }
    std::vector<const SequenceBlocks*> all;
    for (const Live& s : live) {
      all.push_back(&s.blocks);
      for (uint32_t g = 0; g < 2; ++g) {
        const GroupTable& table = s.blocks.tables[g];
        for (uint32_t i = table.first; i < table.end() && i * 4 < s.computed; ++i) {
          const auto& held = content[{g, table.blocks[i - table.first].value}];
          const uint32_t end = std::min(s.computed, (i + 1) * 4);
          ASSERT_GE(held.size(), end);
          ASSERT_TRUE(std::equal(s.ids.begin(), s.ids.begin() + end, held.begin()))
              << "call " << call;
        }
      }
    }
    cache.check_integrity(all);
  }
  EXPECT_GT(hits, 1000u) << "the run must exercise sharing";
}

}  // namespace
}  // namespace altlas::kv
