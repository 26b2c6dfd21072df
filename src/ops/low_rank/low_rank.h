// Products with the two thin matrices of a low-rank adapter (LoRA).
#pragma once

#include <cstddef>

namespace altlas::ops {

inline constexpr size_t kLowRankMax = 512;

// y += B (A x), all float32.  a: [rank, cols] row-major; b: [rank, rows], the columns of B one
// after the other, scale included; x: [cols]; y: [rows]. rank: 1 … kLowRankMax. Same bits on every
// SIMD target. Source: arXiv:2106.09685, eq. 3.
void add_low_rank_cpu(const float* a, const float* b, size_t rank, const float* x, size_t cols,
                      float* y, size_t rows);
void add_low_rank_ref(const float* a, const float* b, size_t rank, const float* x, size_t cols,
                      float* y, size_t rows);

}  // namespace altlas::ops
