// What the products of BF16 weights with bfloat16 activations need beyond the other kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/matmul/matmul.h"

namespace altlas::ops {

inline constexpr size_t kBf16Tokens = 128;    // That share a chunk of weights.
inline constexpr size_t kBf16Columns = 1024;  // The number of tokens narrowed at a time.
inline constexpr size_t kBf16Panels = 64;     // Whose sums wait for the next columns.
inline constexpr size_t kBf16Chunk = 512;     // Most columns of two panels that are unpacked.

// The scratch: sums [kBf16Panels][kBf16Tokens][16]; the tokens' values; two unpacked panels. Sums
// and values stay in L2.
inline constexpr size_t kBf16SumBytes = kBf16Panels * kBf16Tokens * kPanelRows * sizeof(float);
inline constexpr size_t kBf16Values = kBf16Tokens * (kBf16Columns + 32);
inline constexpr size_t kBf16PairBytes = 2 * kBf16Chunk * kPanelRows * sizeof(uint16_t);
inline constexpr size_t kBf16ScratchBytes =
    kBf16SumBytes + kBf16Values * sizeof(uint16_t) + kBf16PairBytes;
static_assert(kBf16SumBytes % 64 == 0 && kBf16Values % 32 == 0);

}  // namespace altlas::ops
