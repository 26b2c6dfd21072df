// Vector forms of ops/math/scalar.h for Highway kernels: the same bits as the scalar ones.
// Instead of #pragma once the guard below lets it in once per SIMD target.
#if defined(ALTLAS_OPS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ALTLAS_OPS_MATH_INL_H_
#undef ALTLAS_OPS_MATH_INL_H_
#else
#define ALTLAS_OPS_MATH_INL_H_
#endif

#include <cmath>
#include <cstddef>

#include <hwy/highway.h>

#include "ops/math/scalar.h"

HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32x16 = hn::CappedTag<float, 16>;  // 16 virtual lanes are one to four of its vectors.
using Vec16 = hn::Vec<F32x16>;
inline constexpr size_t kLanes = hn::MaxLanes(F32x16());
inline constexpr size_t kParts = 16 / kLanes;  // Vectors of 16 virtual lanes.

// a * b + c, rounded once, also where the target has no instruction for it.
HWY_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  const F32x16 d;
  HWY_ALIGN float x[16], y[16], z[16];
  hn::Store(a, d, x);
  hn::Store(b, d, y);
  hn::Store(c, d, z);
  for (size_t i = 0; i < kLanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(d, z);
#endif
}

// exp_f32 of each lane.
HWY_INLINE Vec16 exp(Vec16 x) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const Vec16 magic = hn::Set(d, kRoundMagic);
  const Vec16 c = hn::IfThenElse(hn::Gt(x, hn::Set(d, kExpMax)), hn::Set(d, kExpMax), x);
  const Vec16 safe = hn::Max(c, hn::Set(d, kExpMin));
  const Vec16 n = hn::Sub(fma(safe, hn::Set(d, kLog2e), magic), magic);
  const Vec16 r = fma(n, hn::Set(d, -kLn2Low), fma(n, hn::Set(d, -kLn2High), safe));
  Vec16 p = hn::Set(d, kExpPoly[0]);
  p = fma(p, r, hn::Set(d, kExpPoly[1]));
  p = fma(p, r, hn::Set(d, kExpPoly[2]));
  p = fma(p, r, hn::Set(d, kExpPoly[3]));
  p = fma(p, r, hn::Set(d, kExpPoly[4]));
  p = fma(p, r, hn::Set(d, kExpPoly[5]));
  p = hn::Add(fma(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  const Vec16 y = hn::Mul(p, hn::BitCast(d, power));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, kExpMin)), hn::Zero(d), y);
}

// cap * tanh(x / cap), tanh y = 1 - 2 / (1 + e^2y).
HWY_INLINE Vec16 capped(Vec16 x, float cap) {
  const F32x16 d;
  const Vec16 one = hn::Set(d, 1.0f), two = hn::Set(d, 2.0f);
  const Vec16 grown = exp(hn::Mul(x, hn::Set(d, 2.0f / cap)));
  return hn::Mul(hn::Set(d, cap), hn::Sub(one, hn::Div(two, hn::Add(one, grown))));
}

// The largest lane. (Highway 1.0's own answers at least -FLT_MAX on its portable target.)
HWY_INLINE float largest_lane(Vec16 x) {
  HWY_ALIGN float lane[16];
  hn::Store(x, F32x16(), lane);
  float largest = lane[0];
  for (size_t i = 1; i < kLanes; ++i) largest = lane[i] > largest ? lane[i] : largest;
  return largest;
}

// Sum of 16 virtual lanes in one fixed order: a tree of halves.
HWY_INLINE float sum_lanes(float* HWY_RESTRICT lane) {
  for (size_t width = 8; width > 0; width /= 2)
    for (size_t k = 0; k < width; ++k) lane[k] += lane[k + width];
  return lane[0];
}

}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
