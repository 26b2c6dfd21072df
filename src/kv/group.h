// What a group of layers keeps of a sequence: KV blocks, or one state.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace altlas::kv {

enum class GroupKind : uint8_t {
  kFull,    // Blocks of keys and values of all tokens.
  kWindow,  // Blocks of those that the window still shows.
  // One state of a fixed size, which every token changes in place: linear attention, Mamba. It
  // takes the place of one block.
  kState,
};

// Layers that keep the same kind of state of a sequence, and so share block tables.
struct GroupSpec {
  GroupKind kind = GroupKind::kFull;
  uint32_t blocks = 0;  // For kState: states.
  // For kWindow: a token sees itself and the window - 1 tokens before it.
  uint32_t window = 0;
  uint64_t block_bytes = 0;  // For a block, or a state, on one device: all layers of the group.

  // A group of attention layers. window: in tokens; 0: every token sees all before it.
  static GroupSpec attention(uint32_t window, uint64_t block_bytes) {
    return {window == 0 ? GroupKind::kFull : GroupKind::kWindow, 0, window, block_bytes};
  }
  friend bool operator==(const GroupSpec&, const GroupSpec&) = default;
};

// A state stands for all tokens so far: it can't be cut back to a shorter prefix.
inline bool keeps_state(std::span<const GroupSpec> groups) {
  return std::ranges::any_of(
      groups, [](const GroupSpec& group) { return group.kind == GroupKind::kState; });
}

}  // namespace altlas::kv
