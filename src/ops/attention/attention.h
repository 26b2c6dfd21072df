// Causal attention over paged keys and values in one pass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/attention/kv_layout.h"

namespace altlas::ops {

// Keys between two merges; tile edges are at its multiples.
inline constexpr size_t kAttentionTile = 128;
// Query rows (heads of a group x tokens) of one call, or one token's.
inline constexpr size_t kAttentionRowsMax = 32;
inline constexpr size_t kAttentionPassRows = 8;  // Rows whose scores a thread holds, at most.

struct AttentionShape {
  uint32_t q_heads = 1;  // A multiple of layout.kv_heads.
  float scale = 1.0f;    // The scale of q . k.
  float softcap = 0.0f;  // 0: none.
  uint32_t window = 0;   // A query sees this many keys, its own included; 0: all before it.
  KvLayout layout;

  uint32_t group() const { return q_heads / layout.kv_heads; }
  // Tokens of one call.
  size_t tokens_max() const {
    return group() >= kAttentionRowsMax ? 1 : kAttentionRowsMax / group();
  }
};

// What one call reads and writes.
struct AttentionCall {
  const std::byte* blocks = nullptr;  // The layer's block 0.
  size_t block_stride = 0;            // Bytes between blocks.
  const uint32_t* table = nullptr;    // The table of the sequence.
  // The position of the first query token; keys up to each query's own are written already.
  size_t position = 0;
  size_t tokens = 0;       // 1 … tokens_max().
  bool sees_same = false;  // All queries see what one at `position` sees (encoders).
  uint32_t kv_head = 0;
  const float* q = nullptr;  // Row of the first token: [q_heads, head_dim].
  size_t q_stride = 0;       // Floats between tokens.
  float* out = nullptr;      // As q.
  size_t out_stride = 0;

  size_t position_of(size_t token) const { return sees_same ? position : position + token; }
};

// Bytes of scratch that a thread needs.
size_t attention_scratch_bytes(const AttentionShape& shape);
// out = softmax(scale * q . k) v for the query heads that share kv_head. Tiles of kAttentionTile
// keys at absolute positions are merged in ascending order: the bits depend on the query's position
// only. Source: online softmax, arXiv:1805.02867. scratch: this thread's own, 64-byte aligned.
void attention_cpu(const AttentionShape& shape, const AttentionCall& call, std::byte* scratch);

// The same for one token in parts, so that several threads share a long context: each computes some
// tiles, then each merges some rows. The bits are those of attention_cpu.
//
// Tiles [first, last) that a query at `position` sees, by index.
struct AttentionTiles {
  size_t first = 0;
  size_t last = 0;
};
AttentionTiles attention_tiles(const AttentionShape& shape, size_t position);
// Floats that a tile's result for one KV head takes.
size_t attention_partial_floats(const AttentionShape& shape);
// `tiles` of call.kv_head; partials: of the first tile, then the next. call.tokens: 1.
void attention_partial_cpu(const AttentionShape& shape, const AttentionCall& call,
                           AttentionTiles tiles, float* partials, std::byte* scratch);
// Merges `count` tiles in order into row `row` of the group. state: [head_dim + 2] floats of that
// row, 64-byte aligned, kept between calls; first: begin anew; last: writes the output as well.
struct AttentionMerge {
  const float* partials = nullptr;  // The partials of the first tile.
  size_t partial_stride = 0;        // Floats between tiles.
  size_t count = 0;
  uint32_t row = 0;
  bool first = true;
  bool last = true;
};
void attention_merge_cpu(const AttentionShape& shape, const AttentionCall& call,
                         const AttentionMerge& merge, float* state);

// The readable reference, in double.
void attention_ref(const AttentionShape& shape, const AttentionCall& call);

}  // namespace altlas::ops
