// How keys and values lie in a KV block of one layer, and writing them there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/integers.h"
#include "tensor/dtype.h"

namespace altlas::ops {

inline constexpr uint32_t kKvGroup = 16;  // Tokens whose keys are interleaved.

// Values of a token and head that share a Q8_0 scale.
inline constexpr uint32_t kKvScaleValues = 32;

// A block of one layer is, per KV head: keys [block_tokens / 16][head_dim][16], then values
// [block_tokens][head_dim]. Interleaved keys let one vector instruction score 16 tokens.
// Q8_0: int8, each half followed by its scales in F16, for keys [block_tokens / 16][scales()][16],
// for values [block_tokens][scales()].
struct KvLayout {
  DType type = DType::kF16;    // F16, BF16, F32 or Q8_0.
  uint32_t block_tokens = 16;  // A multiple of kKvGroup.
  uint32_t kv_heads = 1;
  uint32_t head_dim = 64;  // A multiple of 16.

  size_t value_bytes() const { return type == DType::kF32 ? 4 : type == DType::kQ8_0 ? 1 : 2; }
  size_t scales() const { return type == DType::kQ8_0 ? ceil_div(head_dim, kKvScaleValues) : 0; }
  // Keys of a head, or its values.
  size_t half_bytes() const {
    return size_t{block_tokens} * (head_dim * value_bytes() + 2 * scales());
  }
  size_t head_bytes() const { return 2 * half_bytes(); }
  size_t block_bytes() const { return kv_heads * head_bytes(); }
};

// Where the keys and values of one token of a sequence lie.
struct KvPlace {
  std::byte* blocks = nullptr;      // The layer's block 0.
  size_t block_stride = 0;          // Bytes between blocks.
  const uint32_t* table = nullptr;  // The sequence's blocks.
  size_t position = 0;
};
// Stores one token's keys and values, k, v: [kv_heads, head_dim], rounded to the layout's type (F16
// saturates; Q8_0: the scale is the largest magnitude / 127).
void kv_write_cpu(const KvLayout& layout, const KvPlace& place, const float* k, const float* v);

}  // namespace altlas::ops
