#include "ops/rope/rope.h"

#include <cmath>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/rope/rope_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
void rope_neox(float* x, size_t heads, size_t head_dim, size_t half, const float* cos_sin) {
  const F32x16 d;
  const size_t body = half - half % kLanes;
  for (size_t h = 0; h < heads; ++h, x += head_dim) {
    for (size_t i = 0; i < body; i += kLanes) {
      const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + half + i);
      const auto c = hn::LoadU(d, cos_sin + i), s = hn::LoadU(d, cos_sin + half + i);
      hn::StoreU(fma(a, c, hn::Neg(hn::Mul(b, s))), d, x + i);
      hn::StoreU(fma(a, s, hn::Mul(b, c)), d, x + half + i);
    }
    for (size_t i = body; i < half; ++i) {
      const float a = x[i], b = x[half + i], c = cos_sin[i], s = cos_sin[half + i];
      x[i] = std::fma(a, c, -(b * s));
      x[half + i] = std::fma(a, s, b * c);
    }
  }
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(rope_neox);
void rope_cpu(float* x, size_t heads, size_t head_dim, size_t half, const float* cos_sin,
              RopeStyle style) {
  if (style == RopeStyle::kNeox)
    HWY_DYNAMIC_DISPATCH(rope_neox)(x, heads, head_dim, half, cos_sin);
  else
    rope_ref(x, heads, head_dim, half, cos_sin,
             style);  // Small beside the products it stands between.
}
}  // namespace altlas::ops
#endif
