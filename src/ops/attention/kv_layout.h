// How keys and values lie in a KV block of one layer, and writing them there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace altlas::ops {

inline constexpr uint32_t kKvGroup = 16;  // Tokens whose keys are interleaved.

// A block of one layer is, per KV head: keys [block_tokens / 16][head_dim][16], then values
// [block_tokens][head_dim]. Interleaved keys let one vector instruction score 16 tokens.
struct KvLayout {
  DType type = DType::kF16;    // F16, BF16 or F32.
  uint32_t block_tokens = 16;  // A multiple of kKvGroup.
  uint32_t kv_heads = 1;
  uint32_t head_dim = 64;  // A multiple of 16.

  size_t value_bytes() const { return type == DType::kF32 ? 4 : 2; }
  size_t head_bytes() const { return size_t{2} * block_tokens * head_dim * value_bytes(); }
  size_t block_bytes() const { return kv_heads * head_bytes(); }
};

// Stores one token's keys and values, k, v: [kv_heads, head_dim], at `position` of the sequence
// whose blocks are `table`, rounded to the layout's type (F16 saturates). blocks: the layer's block
// 0; block_stride: bytes between blocks.
void kv_write_cpu(const KvLayout& layout, std::byte* blocks, size_t block_stride,
                  const uint32_t* table, size_t position, const float* k, const float* v);

}  // namespace altlas::ops
