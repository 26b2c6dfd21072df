// One KV group's blocks: which are free, how many use each, and which unused ones are
// kept for their content.
#pragma once

#include <cstdint>
#include <vector>

#include "base/hash.h"
#include "base/ids.h"

namespace altlas::kv {

inline constexpr uint32_t kNoNode = UINT32_MAX;

// A block is free (no users, no content), used (1 or more users), or kept (no users, but the prefix
// tree names its content). Kept blocks are given away oldest first, and only when
// nothing is free. One writer: the replica's leading thread. Every operation is O(1).
class BlockPool {
 public:
  explicit BlockPool(uint32_t blocks);

  uint32_t size() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t free_count() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t kept_count() const { return kept_count_; }
  uint32_t used_count() const { return size() - available(); }
  // Blocks that a new user can have: free and kept ones.
  uint32_t available() const { return free_count() + kept_count_; }
  uint32_t users(BlockId block) const { return at(block).users; }
  // The tree node whose content the block holds, or kNoNode.
  uint32_t node(BlockId block) const { return at(block).node; }

  // A free block, with one user. Requires free_count() > 0.
  BlockId take();
  // The kept block that was used longest ago. Requires kept_count() > 0.
  BlockId oldest_kept() const;
  // One more user of a used or kept block.
  void retain(BlockId block);
  // One user less; the last one's block is kept if it has a node, free otherwise.
  void release(BlockId block);
  // The block holds the content of `node`, or of none (kNoNode; a kept block is then free).
  void set_node(BlockId block, uint32_t node);

  // Aborts unless lists, counts and states agree. O(size).
  void check_integrity() const;
  void add_to(Hasher& hasher) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Block {
    uint32_t users = 0;
    uint32_t node = kNoNode;
    uint32_t older = kNone;  // Neighbours in the list of kept blocks.
    uint32_t newer = kNone;
  };
  const Block& at(BlockId block) const;
  Block& at(BlockId block);
  void link_newest(uint32_t index);
  void unlink(uint32_t index);

  std::vector<Block> blocks_;
  std::vector<uint32_t> free_;  // Last in, first out: warm blocks first.
  uint32_t oldest_ = kNone;
  uint32_t newest_ = kNone;
  uint32_t kept_count_ = 0;
};

}  // namespace altlas::kv
