#include <cmath>

#include "base/check.h"
#include "ops/layer_norm/layer_norm.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/layer_norm/layer_norm_cpu.cc"
#include <hwy/foreach_target.h>  // Recompiles this file once per SIMD target.
#include <hwy/highway.h>         // Must follow foreach_target.h.

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {

// Sum of (x - mean) ^ power, power 1 or 2, over 16 virtual lanes.
template <int kPower>
float sum_of(const float* x, size_t cols, float mean) {
  const F32x16 d;
  const size_t body = cols - cols % 16;
  alignas(64) float lane[16] = {};
  for (size_t c = 0; c < body; c += 16)
    for (size_t k = 0; k < 16; k += kLanes) {
      const auto v = hn::Sub(hn::LoadU(d, x + c + k), hn::Set(d, mean));
      const auto before = hn::Load(d, lane + k);
      hn::Store(kPower == 1 ? hn::Add(v, before) : fma(v, v, before), d, lane + k);
    }
  for (size_t c = body; c < cols; ++c) {
    const float v = x[c] - mean;
    lane[c - body] = kPower == 1 ? v + lane[c - body] : std::fma(v, v, lane[c - body]);
  }
  return sum_lanes(lane);
}
}  // namespace

void layer_norm_rows(const float* x, const float* gamma, const float* beta, float eps, float* y,
                     size_t rows, size_t cols) {
  const F32x16 d;
  const size_t body = cols - cols % kLanes;
  for (size_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float mean = sum_of<1>(x, cols, 0) / static_cast<float>(cols);
    const float variance = sum_of<2>(x, cols, mean) / static_cast<float>(cols);
    const float inverse = 1.0f / std::sqrt(variance + eps);
    for (size_t c = 0; c < body; c += kLanes) {
      const auto v = hn::Mul(hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean)), hn::Set(d, inverse));
      hn::StoreU(fma(v, hn::LoadU(d, gamma + c), hn::LoadU(d, beta + c)), d, y + c);
    }
    for (size_t c = body; c < cols; ++c)
      y[c] = std::fma((x[c] - mean) * inverse, gamma[c], beta[c]);
  }
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(layer_norm_rows);
void layer_norm_cpu(std::span<const float> x, std::span<const float> gamma,
                    std::span<const float> beta, float eps, std::span<float> y) {
  const size_t cols = gamma.size();
  ALTLAS_CHECK(x.size() == y.size() && beta.size() == cols && x.size() % cols == 0,
               "x, y: [rows, cols], gamma, beta: [cols]");
  HWY_DYNAMIC_DISPATCH(layer_norm_rows)(x.data(), gamma.data(), beta.data(), eps, y.data(),
                                        x.size() / cols, cols);
}
}  // namespace altlas::ops
#endif
