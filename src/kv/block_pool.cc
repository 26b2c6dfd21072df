#include "kv/block_pool.h"

#include "base/check.h"

namespace altlas::kv {

BlockPool::BlockPool(uint32_t blocks) : blocks_(blocks) {
  free_.reserve(blocks);
  for (uint32_t i = blocks; i > 0; --i) free_.push_back(i - 1);
}

const BlockPool::Block& BlockPool::at(BlockId block) const {
  ALTLAS_CHECK(block.value < blocks_.size(), "block id within the pool");
  return blocks_[block.value];
}

BlockPool::Block& BlockPool::at(BlockId block) {
  ALTLAS_CHECK(block.value < blocks_.size(), "block id within the pool");
  return blocks_[block.value];
}

BlockId BlockPool::take() {
  ALTLAS_CHECK(!free_.empty(), "a free block");
  const uint32_t index = free_.back();
  free_.pop_back();
  blocks_[index].users = 1;
  return BlockId{index};
}

BlockId BlockPool::oldest_kept() const {
  ALTLAS_CHECK(oldest_ != kNone, "a kept block");
  return BlockId{oldest_};
}

void BlockPool::retain(BlockId block) {
  Block& b = at(block);
  if (b.users == 0) {
    ALTLAS_CHECK(b.node != kNoNode, "a free block has no content to use");
    unlink(block.value);
  }
  ++b.users;
}

void BlockPool::release(BlockId block) {
  Block& b = at(block);
  ALTLAS_CHECK(b.users > 0, "released more often than retained");
  if (--b.users > 0) return;
  if (b.node != kNoNode) {
    link_newest(block.value);
  } else {
    free_.push_back(block.value);
  }
}

void BlockPool::set_node(BlockId block, uint32_t node) {
  Block& b = at(block);
  ALTLAS_CHECK((b.node == kNoNode) != (node == kNoNode), "a node is set once, then cleared");
  ALTLAS_CHECK(node == kNoNode || b.users > 0, "only a used block gets a node");
  b.node = node;
  if (node == kNoNode && b.users == 0) {
    unlink(block.value);
    free_.push_back(block.value);
  }
}

void BlockPool::link_newest(uint32_t index) {
  blocks_[index].older = newest_;
  blocks_[index].newer = kNone;
  if (newest_ != kNone) blocks_[newest_].newer = index;
  newest_ = index;
  if (oldest_ == kNone) oldest_ = index;
  ++kept_count_;
}

void BlockPool::unlink(uint32_t index) {
  Block& b = blocks_[index];
  (b.older == kNone ? oldest_ : blocks_[b.older].newer) = b.newer;
  (b.newer == kNone ? newest_ : blocks_[b.newer].older) = b.older;
  b.older = b.newer = kNone;
  --kept_count_;
}

void BlockPool::check_integrity() const {
  std::vector<char> state(blocks_.size(), 0);  // 1: the block is free; 2: it is kept.
  for (const uint32_t index : free_) {
    ALTLAS_CHECK(index < blocks_.size() && state[index] == 0, "a block is in the free list once");
    ALTLAS_CHECK(blocks_[index].users == 0 && blocks_[index].node == kNoNode,
                 "a free block holds nothing");
    state[index] = 1;
  }
  uint32_t kept = 0;
  uint32_t before = kNone;
  for (uint32_t index = oldest_; index != kNone; index = blocks_[index].newer) {
    ALTLAS_CHECK(index < blocks_.size() && state[index] == 0, "a block is kept once, and not free");
    ALTLAS_CHECK(blocks_[index].users == 0 && blocks_[index].node != kNoNode,
                 "a kept block has content, no users");
    ALTLAS_CHECK(blocks_[index].older == before, "the list of kept blocks is linked both ways");
    state[index] = 2;
    before = index;
    ++kept;
  }
  ALTLAS_CHECK(before == newest_ && kept == kept_count_, "the list of kept blocks is counted");
  for (size_t i = 0; i < blocks_.size(); ++i) {
    ALTLAS_CHECK((state[i] == 0) == (blocks_[i].users > 0), "every block is free, kept or used");
  }
}

void BlockPool::add_to(Hasher& hasher) const {
  hasher.add(blocks_.size());
  for (const Block& b : blocks_) hasher.add(b.users).add(b.node).add(b.newer);
  for (const uint32_t index : free_) hasher.add(index);
}

}  // namespace altlas::kv
