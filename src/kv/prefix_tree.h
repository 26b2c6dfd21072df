// Which full KV blocks hold which prefix: a tree whose edges are the token ids of one block.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/content_hash.h"
#include "base/hash.h"
#include "base/ids.h"
#include "kv/block_pool.h"

namespace altlas::kv {

// The part of a payload that lies in one block of tokens.
struct BlockPayload {
  uint32_t offset = 0;   // Where its first token is in the block.
  uint32_t skipped = 0;  // Tokens of the payload that lie before the block.
  ContentHash hash;
  friend auto operator<=>(const BlockPayload&, const BlockPayload&) = default;
};

// Edges compare token ids, and payloads by their content hash: no two prompts can be taken for each
// other, whoever wrote them. `salt` tells apart what makes equal tokens have other KV values
// (model, adapter, KV type). A node lives while it holds a block of a group, has children, or is
// pinned.  One writer.
class PrefixTree {
 public:
  PrefixTree(uint32_t groups, uint32_t block_tokens)
      : groups_(groups), block_tokens_(block_tokens) {}

  // The child of `parent` (kNoNode: a root of `salt`) along `tokens` [block_tokens], or kNoNode.
  // O(log nodes).
  uint32_t find(uint32_t parent, uint64_t salt, std::span<const int32_t> tokens,
                std::span<const BlockPayload> payloads = {}) const;
  // As find, but makes it. The caller must pin it, or give it a block, before the next call.
  uint32_t find_or_add(uint32_t parent, uint64_t salt, std::span<const int32_t> tokens,
                       std::span<const BlockPayload> payloads = {});
  // The block that holds the node's tokens in a group.
  std::optional<BlockId> block(uint32_t node, uint32_t group) const;
  void set_block(uint32_t node, uint32_t group, BlockId block);
  // The node, and ancestors that nothing needs any more, may be gone afterwards.
  void clear_block(uint32_t node, uint32_t group);
  void pin(uint32_t node);
  void unpin(uint32_t node);

  size_t size() const { return index_.size(); }
  // Aborts unless every node is needed, and each of its blocks says that it belongs to it.
  void check_integrity(std::span<const BlockPool> pools) const;
  void add_to(Hasher& hasher) const;

 private:
  struct KeyView {
    uint32_t parent;
    uint64_t salt;
    std::span<const int32_t> tokens;
    std::span<const BlockPayload> payloads;
  };
  struct Key {
    uint32_t parent;
    uint64_t salt;
    std::vector<int32_t> tokens;
    std::vector<BlockPayload> payloads;
    KeyView view() const { return {parent, salt, tokens, payloads}; }
  };
  struct Less {
    using is_transparent = void;
    static KeyView view(const Key& key) { return key.view(); }
    static KeyView view(const KeyView& key) { return key; }
    static bool less(const KeyView& a, const KeyView& b);
    bool operator()(const auto& a, const auto& b) const { return less(view(a), view(b)); }
  };
  using Index = std::map<Key, uint32_t, Less>;
  struct Node {
    bool live = false;
    uint32_t children = 0;
    uint32_t pins = 0;
    std::vector<std::optional<BlockId>> blocks;  // [groups]
    Index::iterator place;                       // Its key.
  };
  const Node& at(uint32_t node) const;
  Node& at(uint32_t node);
  void erase_unneeded(uint32_t node);

  const uint32_t groups_;
  const uint32_t block_tokens_;
  Index index_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> free_;
};

}  // namespace altlas::kv
