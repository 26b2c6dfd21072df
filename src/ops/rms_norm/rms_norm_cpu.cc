#include "ops/rms_norm/rms_norm.h"

#include <cmath>
#include <limits>

#include "base/check.h"

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4)  // No FMA there: the portable target, which rounds once, runs.
#define HWY_TARGET_INCLUDE "ops/rms_norm/rms_norm_cpu.cc"
#include <hwy/foreach_target.h>  // Recompiles this file once per SIMD target.
#include <hwy/highway.h>         // Must follow foreach_target.h.

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
void rms_norm_rows(std::span<const float> from, std::span<const float> weights, float eps,
                   std::span<float> to) {
  const float *x = from.data(), *gamma = weights.data();
  float* y = to.data();
  const size_t cols = weights.size(), rows = from.size() / cols;
  const F32x16 d;  // 16 virtual lanes on every target: the same bits everywhere.
  const size_t body = cols - cols % 16;
  for (size_t r = 0; r < rows; ++r, x += cols, y += cols) {
    Vec16 sums[kParts];
    for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
    for (size_t c = 0; c < body; c += 16)
      for (size_t p = 0; p < kParts; ++p) {
        const auto v = hn::LoadU(d, x + c + p * kLanes);
        sums[p] = fma(v, v, sums[p]);
      }
    float sum;
    if (body == cols) {
      sum = sum_of(sums);
    } else {
      HWY_ALIGN float lane[16];
      for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
      for (size_t c = body; c < cols; ++c) lane[c - body] = std::fma(x[c], x[c], lane[c - body]);
      sum = sum_lanes(lane);
    }
    const float inv_rms = std::isfinite(sum)
                              ? 1.0f / std::sqrt(sum / static_cast<float>(cols) + eps)
                              : std::numeric_limits<float>::quiet_NaN();
    for (size_t c = 0; c < body; c += kLanes)
      hn::StoreU(
          hn::Mul(hn::Mul(hn::LoadU(d, x + c), hn::Set(d, inv_rms)), hn::LoadU(d, gamma + c)), d,
          y + c);
    for (size_t c = body; c < cols; ++c) y[c] = x[c] * inv_rms * gamma[c];
  }
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE  // Compiled once, not once per target.
namespace altlas::ops {
HWY_EXPORT(rms_norm_rows);
void rms_norm_cpu(std::span<const float> x, std::span<const float> gamma, float eps,
                  std::span<float> y) {
  ALTLAS_CHECK(x.size() == y.size() && x.size() % gamma.size() == 0,
               "x, y: [rows, cols], gamma: [cols]");
  HWY_DYNAMIC_DISPATCH(rms_norm_rows)(x, gamma, eps, y);
}
}  // namespace altlas::ops
#endif
