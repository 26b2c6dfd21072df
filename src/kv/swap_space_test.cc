// Tests of KV blocks in host memory: which blocks go there, where they come back, and when a place
// is free.
#include "kv/swap_space.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "kv/kv_cache.h"

namespace altlas::kv {
namespace {

// Goal: a place that was given back is taken again only after forget(), since the step that is
// being planned may still read it.
TEST(SwapSpace, PlacesAreFreeAfterForget) {
  SwapSpace space(2, 3);
  SwappedBlocks held{.tokens = 5, .tables = std::vector<SwappedTable>(2)};
  for (int i = 0; i < 3; ++i) held.tables[0].places.push_back(space.take(0));
  held.tables[1].places.push_back(space.take(1));
  EXPECT_EQ(space.free_count(0), 0u);
  EXPECT_EQ(space.free_count(1), 2u);
  space.check_integrity({&held});
  space.give_back(held);
  EXPECT_EQ(space.free_count(0), 0u);
  space.check_integrity({});
  space.forget();
  EXPECT_EQ(space.free_count(0), 3u);
  EXPECT_EQ(space.free_count(1), 3u);
  space.check_integrity({});
}

// Goal: exactly the blocks that the next token sees are copied, to places of their own, and come
// back in order, into fresh blocks, with tables from the first token on. Method: a full and a
// window group, by hand.
TEST(KvCache, SwapsWhatTheNextTokenSees) {
  KvCache cache({.block_tokens = 4,
                 .groups = {{.blocks = 12}, {GroupKind::kWindow, 12, 6}},
                 .swap_places = 5});
  std::vector<int32_t> ids(18);
  std::iota(ids.begin(), ids.end(), 0);
  BlockChanges changes;
  SequenceBlocks sequence = cache.start(0, {}, changes);
  cache.reserve(sequence, 0, 18, changes);
  cache.publish(sequence, ids, 18, changes);
  EXPECT_FALSE(cache.can_swap_out(sequence, 0));
  ASSERT_TRUE(cache.can_swap_out(sequence, 18));
  EXPECT_EQ(cache.swap_blocks(sequence, 18), 5u + 2u);  // Token 18 sees 13 ... 17 of the window.

  std::vector<BlockSwap> out;
  SwappedBlocks swapped = cache.swap_out(sequence, 18, out);
  EXPECT_EQ(out.size(), 7u);
  EXPECT_EQ(swapped.tokens, 18u);
  EXPECT_EQ(swapped.tables[1].first, 3u);
  EXPECT_EQ(KvCache::swapped_blocks(swapped, 0), 5u);
  EXPECT_FALSE(cache.can_swap_out(sequence, 18)) << "every place is taken";
  const SequenceBlocks gone = sequence;
  cache.release(sequence);
  const SequenceBlocks* none[] = {&sequence};
  cache.check_integrity(none, {&swapped});

  changes = {};
  SequenceBlocks back = cache.swap_in(0, swapped, changes);
  const std::vector<BlockSwap>& in = changes.swap_in;
  ASSERT_EQ(in.size(), out.size());
  for (size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(in[i].group, out[i].group);
    EXPECT_EQ(in[i].place, out[i].place);
  }
  for (uint32_t g = 0; g < 2; ++g) {
    EXPECT_EQ(back.tables[g].first, swapped.tables[g].first);
    EXPECT_EQ(back.tables[g].end(), 5u);
    ASSERT_EQ(changes.tables[g].first_index, 0u);
    ASSERT_EQ(changes.tables[g].blocks.size(), 5u);
    for (uint32_t i = back.tables[g].first; i < 5; ++i)
      EXPECT_EQ(changes.tables[g].blocks[i], back.tables[g].blocks[i - back.tables[g].first]);
  }
  cache.drop_swapped(swapped);
  EXPECT_EQ(swapped.tokens, 0u);
  cache.forget_copied();
  EXPECT_EQ(cache.swap().free_count(0), 5u);
  // When the sequence is published again it moves to the blocks that the tree kept.
  cache.publish(back, ids, 18, changes);
  EXPECT_EQ(back.tables[0].blocks[0], gone.tables[0].blocks[0]);
  const SequenceBlocks* one[] = {&back};
  cache.check_integrity(one);
}

// Goal: tokens whose blocks others hold too need not be computed again.
TEST(KvCache, CountsSharedTokens) {
  KvCache cache({.block_tokens = 4, .groups = {{.blocks = 12}}});
  std::vector<int32_t> ids(11);
  std::iota(ids.begin(), ids.end(), 0);
  BlockChanges changes;
  SequenceBlocks a = cache.start(0, {}, changes);
  cache.reserve(a, 0, 11, changes);
  cache.publish(a, ids, 11, changes);
  EXPECT_EQ(cache.shared_tokens(a, 11), 0u);
  SequenceBlocks b = cache.start(0, cache.match(0, ids), changes);
  EXPECT_EQ(cache.shared_tokens(a, 11), 8u);
  EXPECT_EQ(cache.shared_tokens(b, 7), 4u);
}

}  // namespace
}  // namespace altlas::kv
