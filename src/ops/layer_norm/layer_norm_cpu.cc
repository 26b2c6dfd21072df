#include <cmath>
#include <limits>

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

// Returns the sum of (x - mean) ^ power over 16 virtual lanes, for power 1 or 2.
template <int kPower>
float power_sum(const float* x, size_t cols, float mean) {
  const F32x16 d;
  const size_t body = cols - cols % 16;
  const Vec16 shift = hn::Set(d, mean);
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  for (size_t c = 0; c < body; c += 16)
    for (size_t p = 0; p < kParts; ++p) {
      const auto v = hn::Sub(hn::LoadU(d, x + c + p * kLanes), shift);
      sums[p] = kPower == 1 ? hn::Add(v, sums[p]) : fma(v, v, sums[p]);
    }
  if (body == cols) return sum_of(sums);
  HWY_ALIGN float lane[16];
  for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
  for (size_t c = body; c < cols; ++c) {
    const float v = x[c] - mean;
    lane[c - body] = kPower == 1 ? v + lane[c - body] : std::fma(v, v, lane[c - body]);
  }
  return sum_lanes(lane);
}
}  // namespace

void layer_norm_rows(std::span<const float> from, std::span<const float> gamma,
                     std::span<const float> beta, float eps, std::span<float> to) {
  const float* x = from.data();
  float* y = to.data();
  const size_t cols = gamma.size(), rows = from.size() / cols;
  const F32x16 d;
  const size_t body = cols - cols % kLanes;
  for (size_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float mean = power_sum<1>(x, cols, 0) / static_cast<float>(cols);
    const float variance = power_sum<2>(x, cols, mean) / static_cast<float>(cols);
    const float inverse = std::isfinite(variance) ? 1.0f / std::sqrt(variance + eps)
                                                  : std::numeric_limits<float>::quiet_NaN();
    for (size_t c = 0; c < body; c += kLanes) {
      const auto v = hn::Mul(hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean)), hn::Set(d, inverse));
      hn::StoreU(fma(v, hn::LoadU(d, &gamma[c]), hn::LoadU(d, &beta[c])), d, y + c);
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
  HWY_DYNAMIC_DISPATCH(layer_norm_rows)(x, gamma, beta, eps, y);
}
}  // namespace altlas::ops
#endif
