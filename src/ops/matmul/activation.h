// Quantised activations: one 64-byte record per 32 values of a token.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "ops/matmul/matmul.h"

namespace altlas::ops {

// The sums are those of the quants, times what the weights' biases need, so that a kernel can start
// its integer sum at one.
struct alignas(64) ActivationBlock {
  int8_t quants[kActivationBlock];  // -127 to 127.
  float scale;
  float scaled_sum;  // scale * sum, one float product.
  int32_t minus_16_sum;
  int32_t minus_128_sum;
  int32_t minus_32_sum[2];  // The sums of values 0-15 and 16-31, times -32.
  int32_t unused[2];
};
static_assert(sizeof(ActivationBlock) == 64);

// Records of one token: padded to two blocks (the widest padding of a panel of 32-value blocks),
// and odd, so that the tokens of a tile do not fall into the same cache sets. Padding records are
// zero.
constexpr size_t activation_blocks(size_t cols) { return (cols / kActivationBlock + 1) / 2 * 2; }
constexpr size_t activation_stride(size_t cols) { return activation_blocks(cols) | 1; }

// Blocks whose largest magnitude is below this become zero: 127 / amax stays finite.
inline constexpr float kSmallestAmax = 0x1p-100f;

// scale = amax / 127, quants = round to nearest even of x * (127 / amax). With an infinity or NaN
// in the block, the scale is NaN and the quants are zero: the error shows in every output.
inline void quantize_block(const float* x, ActivationBlock& out) {
  uint32_t largest = 0;
  for (size_t k = 0; k < kActivationBlock; ++k) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[k]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  out = {};
  const float amax = std::bit_cast<float>(largest);
  if (largest >= 0x7f800000) {
    out.scale = out.scaled_sum = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  if (amax < kSmallestAmax) return;
  out.scale = amax / 127.0f;
  const float inverse = 127.0f / amax;
  int sums[2] = {0, 0};
  for (size_t k = 0; k < kActivationBlock; ++k) {
    const int quant = static_cast<int>(std::nearbyint(x[k] * inverse));
    out.quants[k] = static_cast<int8_t>(quant);
    sums[k / 16] += quant;
  }
  const int sum = sums[0] + sums[1];
  out.scaled_sum = out.scale * static_cast<float>(sum);
  out.minus_16_sum = -16 * sum;
  out.minus_128_sum = -128 * sum;
  out.minus_32_sum[0] = -32 * sums[0];
  out.minus_32_sum[1] = -32 * sums[1];
}

}  // namespace altlas::ops
