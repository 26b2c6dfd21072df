#include "kv/prefix_tree.h"

#include <algorithm>
#include <compare>

#include "base/check.h"

namespace altlas::kv {

bool PrefixTree::Less::less(const KeyView& a, const KeyView& b) {
  if (a.parent != b.parent) return a.parent < b.parent;
  if (a.salt != b.salt) return a.salt < b.salt;
  if (a.payloads.empty() && b.payloads.empty())
    return std::ranges::lexicographical_compare(a.tokens, b.tokens);
  const auto tokens = std::lexicographical_compare_three_way(a.tokens.begin(), a.tokens.end(),
                                                             b.tokens.begin(), b.tokens.end());
  if (tokens != 0) return tokens < 0;
  return std::ranges::lexicographical_compare(a.payloads, b.payloads);
}

const PrefixTree::Node& PrefixTree::at(uint32_t node) const {
  ALTLAS_CHECK(node < nodes_.size() && nodes_[node].live, "a live node");
  return nodes_[node];
}

PrefixTree::Node& PrefixTree::at(uint32_t node) {
  ALTLAS_CHECK(node < nodes_.size() && nodes_[node].live, "a live node");
  return nodes_[node];
}

uint32_t PrefixTree::find(uint32_t parent, uint64_t salt, std::span<const int32_t> tokens,
                          std::span<const BlockPayload> payloads) const {
  const auto found = index_.find(KeyView{parent, salt, tokens, payloads});
  return found == index_.end() ? kNoNode : found->second;
}

uint32_t PrefixTree::find_or_add(uint32_t parent, uint64_t salt, std::span<const int32_t> tokens,
                                 std::span<const BlockPayload> payloads) {
  ALTLAS_CHECK(tokens.size() == block_tokens_, "an edge is one full block");
  if (const uint32_t found = find(parent, salt, tokens, payloads); found != kNoNode) return found;
  uint32_t id = 0;
  if (free_.empty()) {
    id = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  if (parent != kNoNode) ++at(parent).children;
  Node& node = nodes_[id];
  node.live = true;
  node.blocks.assign(groups_, std::nullopt);
  node.place =
      index_
          .emplace(
              Key{parent, salt, {tokens.begin(), tokens.end()}, {payloads.begin(), payloads.end()}},
              id)
          .first;
  return id;
}

std::optional<BlockId> PrefixTree::block(uint32_t node, uint32_t group) const {
  return at(node).blocks[group];
}

void PrefixTree::set_block(uint32_t node, uint32_t group, BlockId block) {
  ALTLAS_CHECK(!at(node).blocks[group], "a node has one block per group");
  at(node).blocks[group] = block;
}

void PrefixTree::clear_block(uint32_t node, uint32_t group) {
  ALTLAS_CHECK(at(node).blocks[group], "the block to clear is there");
  at(node).blocks[group].reset();
  erase_unneeded(node);
}

void PrefixTree::pin(uint32_t node) { ++at(node).pins; }

void PrefixTree::unpin(uint32_t node) {
  ALTLAS_CHECK(at(node).pins > 0, "unpinned more often than pinned");
  --at(node).pins;
  erase_unneeded(node);
}

void PrefixTree::erase_unneeded(uint32_t id) {
  while (id != kNoNode) {
    Node& node = at(id);
    const bool holds =
        std::ranges::any_of(node.blocks, [](const auto& block) { return block.has_value(); });
    if (holds || node.children > 0 || node.pins > 0) return;
    const uint32_t parent = node.place->first.parent;
    index_.erase(node.place);
    node.live = false;
    node.blocks.clear();
    free_.push_back(id);
    if (parent != kNoNode) --at(parent).children;
    id = parent;
  }
}

void PrefixTree::check_integrity(std::span<const BlockPool> pools) const {
  std::vector<uint32_t> children(nodes_.size(), 0);
  size_t owned = 0;
  for (const auto& [key, id] : index_) {
    const Node& node = at(id);
    ALTLAS_CHECK(&node.place->first == &key, "a node knows its key");
    if (key.parent != kNoNode) ++children[key.parent];
    bool holds = false;
    for (uint32_t group = 0; group < groups_; ++group) {
      if (!node.blocks[group]) continue;
      holds = true;
      ++owned;
      ALTLAS_CHECK(pools[group].node(*node.blocks[group]) == id, "a node's block belongs to it");
    }
    ALTLAS_CHECK(holds || node.children > 0 || node.pins > 0, "no node is without need");
  }
  for (uint32_t id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].live) ALTLAS_CHECK(children[id] == nodes_[id].children, "children are counted");
  }
  ALTLAS_CHECK(index_.size() + free_.size() == nodes_.size(), "every node is live or free");
  size_t named = 0;
  for (const BlockPool& pool : pools) {
    for (uint32_t b = 0; b < pool.size(); ++b) named += pool.node(BlockId{b}) != kNoNode ? 1 : 0;
  }
  ALTLAS_CHECK(owned == named, "every block with a node is in the tree");
}

void PrefixTree::add_to(Hasher& hasher) const {
  hasher.add(index_.size());
  for (const auto& [key, id] : index_) {
    hasher.add(key.parent).add(key.salt).add(std::span<const int32_t>(key.tokens)).add(id);
    for (const BlockPayload& payload : key.payloads) {
      hasher.add(payload.offset).add(payload.skipped);
      for (const uint8_t byte : payload.hash.bytes) hasher.add(byte);
    }
    for (const auto& block : nodes_[id].blocks) hasher.add(block ? block->value : kNoNode);
    hasher.add(nodes_[id].pins);
  }
}

}  // namespace altlas::kv
