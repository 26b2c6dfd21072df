// Products with the two thin matrices of a low-rank adapter (LoRA).
#pragma once

#include <cstddef>
#include <cstdint>

namespace altlas::ops {

inline constexpr size_t kLowRankMax = 512;

// Two thin matrices, float32; rank: 1 … kLowRankMax.
struct LowRankPair {
  uint32_t rows = 0;  // For B: values of y.
  uint32_t cols = 0;  // For A: values of x.
  uint32_t rank = 0;
  const float* a = nullptr;  // [rank, cols]
  const float* b = nullptr;  // [rank, rows]: B's columns, scale included.
};
// y += B (A x), float32. x: [cols]; y: [rows]. Same bits on every SIMD target.
// Source: arXiv:2106.09685, eq. 3.
void add_low_rank_cpu(const LowRankPair& pair, const float* x, float* y);
void add_low_rank_ref(const LowRankPair& pair, const float* x, float* y);

}  // namespace altlas::ops
