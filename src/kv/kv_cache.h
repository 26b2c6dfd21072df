// The KV blocks of a replica: block tables of sequences, sharing of equal prefixes, copy on write,
// eviction. Bookkeeping only: what a block holds, and where, is the device's.
//
// A block's life, and who knows of it:
//   free       BlockPool::free_
//   used       SequenceBlocks::tables of a scheduler::BatchScheduler::Sequence: reserve(), which
//              calls allocate() and that BlockPool::take()
//   published  also a node of the prefix tree, once its tokens are computed: publish(), after each
//              commit of a step
//   shared     the tables of several sequences: start() retains the blocks of a match and pins its
//              last node
//   kept       the tree alone, after the last user's release()
//   evicted    allocate() takes the block kept longest (BlockPool::oldest_kept()) where none is
//              free, and its node loses it
//   copied     a block that others use or the tree knows is not written: must_copy() says so,
//              reserve() gives a fresh one, the ranks copy (Forward::copy_block), and the source
//              stays used, in `copied_`, until forget_copied()
//   swapped    places in host memory, in Sequence::swapped: preemption calls swap_out() and
//              release(), the next start swap_in()
// No state lies between free and used: what the batch keeps room for is counted, not set aside.
// RankSteps::export_kv reads blocks as bytes and changes nothing here. All of it ends with the
// process: after a crash the control core forgets the replica's runs (Fleet::lose). The core's own
// kv_blocks_used is an estimate from the lengths of runs; it knows of no block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/hash.h"
#include "base/ids.h"
#include "kv/block_pool.h"
#include "kv/changes.h"
#include "kv/group.h"
#include "kv/prefix_tree.h"
#include "kv/swap_space.h"

namespace altlas::kv {

struct KvOptions {
  uint32_t block_tokens = 16;
  std::vector<GroupSpec> groups;  // At least one.
  // Prefixes are not shared where a group keeps state: a sequence could only start at a snapshot of
  // it, and one per block would take as much as a whole state for every few tokens.
  bool prefix_caching = true;
  uint32_t swap_places = 0;  // Blocks, or states, per group that host memory holds.
};

// The part of one group's table that a sequence still needs: blocks [first, first + blocks.size())
// of its tokens. Of a state: the only one.
struct GroupTable {
  uint32_t first = 0;
  std::vector<BlockId> blocks;
  uint32_t end() const { return first + static_cast<uint32_t>(blocks.size()); }
};

// What one sequence holds. Made by KvCache::start or swap_in, given back by KvCache::release.
struct SequenceBlocks {
  std::vector<GroupTable> tables;  // [groups]
  uint64_t salt = 0;
  uint32_t published = 0;   // Full blocks that the tree knows, from the front.
  uint32_t node = kNoNode;  // The tree's node of the last of them; pinned.
};

// A payload among a sequence's tokens: it takes tokens [first, first + tokens).
struct PayloadPlace {
  uint32_t first = 0;
  uint32_t tokens = 0;
  ContentHash hash;
};

// The longest prefix of a sequence whose KV values are there. Valid until the cache changes.
struct PrefixMatch {
  uint32_t tokens = 0;          // Need not be computed.
  std::vector<uint32_t> nodes;  // Path in the tree, one per block.
};

// Steps run in the order they were planned in, so a block may be given away as soon as no later
// step needs it. One writer: the replica's leading thread.
class KvCache {
 public:
  explicit KvCache(KvOptions options);

  uint32_t groups() const { return static_cast<uint32_t>(pools_.size()); }
  uint32_t block_tokens() const { return options_.block_tokens; }
  const BlockPool& pool(uint32_t group) const { return pools_[group]; }
  // Blocks of a group that a sequence of `tokens` tokens needs at once, growing one token at a
  // time.
  uint32_t blocks_needed(uint32_t group, uint64_t tokens) const;
  // Blocks of a group to keep for a sequence of `tokens` tokens beside those that it holds: at
  // least one, into which it may grow, but for a state that it has.
  uint64_t blocks_wanted(uint32_t group, uint64_t tokens, uint64_t held) const;
  // Whether the token at `position` needs a block of the group that those before it did not.
  bool grows_at(uint32_t group, uint32_t position) const {
    return blocks_until(group, uint64_t{position} + 1) > blocks_until(group, position);
  }
  // Whether a sequence of this many tokens fits when it is alone.
  bool fits_alone(uint64_t tokens) const;
  // Tokens of the longest sequence that fits alone.
  uint64_t tokens_max() const;

  // Looks for whole blocks only, and leaves at least the last of `tokens` to compute. A match that
  // ends inside a block costs a copy of it. `payloads`: among the tokens, in order; those behind
  // them are not looked at. O(blocks * log nodes).
  PrefixMatch match(uint64_t salt, std::span<const int32_t> tokens,
                    std::span<const PayloadPlace> payloads = {}) const;
  // Blocks of `group` that start(match) would take out of available().
  uint32_t kept_blocks(const PrefixMatch& match, uint32_t group) const;
  // Blocks of `group` that start(match) would give the sequence.
  uint32_t matched_blocks(const PrefixMatch& match, uint32_t group) const;
  // The match without its last block.
  PrefixMatch shorten(PrefixMatch match) const;
  // A sequence that uses the matched blocks.
  SequenceBlocks start(uint64_t salt, const PrefixMatch& match, BlockChanges& changes);

  // How many of `want` tokens from position `begin` could get blocks now.
  uint32_t reservable(const SequenceBlocks& sequence, uint32_t begin, uint32_t want) const;
  // Blocks to write positions [begin, begin + count), count <= reservable. What fell out of windows
  // is given back, a shared block that would be written is copied; the original is not given away
  // before forget_copied().
  void reserve(SequenceBlocks& sequence, uint32_t begin, uint32_t count, BlockChanges& changes);
  // The KV values of tokens[0 … computed) are there: full blocks may be shared from now on. Where
  // the tree knows an equal block already, the sequence moves over to that one.
  void publish(SequenceBlocks& sequence, std::span<const int32_t> tokens, uint32_t computed,
               BlockChanges& changes, std::span<const PayloadPlace> payloads = {});
  // All copies and swaps asked for so far come before whatever is reserved from now on.
  void forget_copied();

  // Leading tokens whose blocks others use too: they stay when this sequence gives way.
  uint32_t shared_tokens(const SequenceBlocks& sequence, uint32_t tokens) const;
  // Blocks that swap_out would copy, beside states.
  uint32_t swap_blocks(const SequenceBlocks& sequence, uint32_t tokens) const;
  bool can_swap_out(const SequenceBlocks& sequence, uint32_t tokens) const;
  // Places for the blocks that a token at position `tokens` (the first without KV) still sees, and
  // for states, which must be those after `tokens` tokens. The sequence keeps its blocks; the
  // copies must be made before anything else is written.
  SwappedBlocks swap_out(const SequenceBlocks& sequence, uint32_t tokens,
                         std::vector<BlockSwap>& changes);
  // Blocks of `group` that swap_in takes out of available().
  static uint32_t swapped_blocks(const SwappedBlocks& swapped, uint32_t group) {
    return static_cast<uint32_t>(swapped.tables[group].places.size());
  }
  // A sequence with fresh blocks for all that was swapped out; there must be room for it. The
  // places stay taken until drop_swapped().
  SequenceBlocks swap_in(uint64_t salt, const SwappedBlocks& swapped, BlockChanges& changes);
  void drop_swapped(SwappedBlocks& swapped) {
    swap_.give_back(swapped);
    swapped = {};
  }
  const SwapSpace& swap() const { return swap_; }
  // Gives everything back; published blocks stay until others need the room, the last ones go
  // first.
  void release(SequenceBlocks& sequence);

  // Aborts unless users of every block are exactly `sequences`' tables and the sources of copies
  // that are not forgotten yet, and host places those of `swapped`.
  void check_integrity(std::span<const SequenceBlocks* const> sequences,
                       const std::vector<const SwappedBlocks*>& swapped = {}) const;
  void add_to(Hasher& hasher) const;

 private:
  bool is_state(uint32_t group) const { return options_.groups[group].kind == GroupKind::kState; }
  uint32_t first_needed(uint32_t group, uint32_t position) const;
  uint32_t blocks_until(uint32_t group, uint64_t tokens) const;
  bool must_copy(const SequenceBlocks& sequence, uint32_t group, uint32_t begin) const;
  BlockId allocate(uint32_t group);
  void drop_fallen(SequenceBlocks& sequence, uint32_t group, uint32_t begin);
  void share(SequenceBlocks& sequence, uint32_t group, uint32_t index, uint32_t node,
             BlockChanges& changes);

  const KvOptions options_;
  std::vector<BlockPool> pools_;  // [groups]
  PrefixTree tree_;
  // The sequence's use of each source, until forget_copied().
  std::vector<BlockCopy> copied_;
  SwapSpace swap_;
};

}  // namespace altlas::kv
