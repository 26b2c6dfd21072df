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

// exp_f32 of lanes that are at most kExpMax.
HWY_INLINE Vec16 exp_below_max(Vec16 x) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const Vec16 low = hn::Set(d, kExpMin), magic = hn::Set(d, kRoundMagic);
  const auto too_low = hn::Lt(x, low);
  const Vec16 safe = hn::IfThenElse(too_low, low, x);
  const Vec16 shifted = fma(safe, hn::Set(d, kLog2e), magic);  // n is in its lowest bits.
  const Vec16 n = hn::Sub(shifted, magic);
  const Vec16 r = fma(n, hn::Set(d, -kLn2Low), fma(n, hn::Set(d, -kLn2High), safe));
  Vec16 p = hn::Set(d, kExpPoly[0]);
  p = fma(p, r, hn::Set(d, kExpPoly[1]));
  p = fma(p, r, hn::Set(d, kExpPoly[2]));
  p = fma(p, r, hn::Set(d, kExpPoly[3]));
  p = fma(p, r, hn::Set(d, kExpPoly[4]));
  p = fma(p, r, hn::Set(d, kExpPoly[5]));
  p = hn::Add(fma(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::BitCast(di, shifted), hn::Set(di, 127)));
  return hn::IfThenZeroElse(too_low, hn::Mul(p, hn::BitCast(d, power)));
}

// exp_f32 of each lane.
HWY_INLINE Vec16 exp(Vec16 x) {
  const Vec16 most = hn::Set(F32x16(), kExpMax);
  return exp_below_max(hn::IfThenElse(hn::Gt(x, most), most, x));
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
  const F32x16 d;
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  HWY_ALIGN float lane[16];
  hn::Store(x, d, lane);
  float largest = lane[0];
  for (size_t i = 1; i < kLanes; ++i) largest = lane[i] > largest ? lane[i] : largest;
  return largest;
#else
  return hn::GetLane(hn::MaxOfLanes(d, x));
#endif
}

// The largest of 16 virtual lanes.
HWY_INLINE float largest_of_lanes(const Vec16 (&parts)[kParts]) {
  Vec16 most = parts[0];
  for (size_t p = 1; p < kParts; ++p) most = hn::Max(most, parts[p]);
  return largest_lane(most);
}

// Sum of 16 virtual lanes in one fixed order: a tree of halves.
HWY_INLINE float sum_lanes(float* HWY_RESTRICT lane) {
  for (size_t width = 8; width > 0; width /= 2)
    for (size_t k = 0; k < width; ++k) lane[k] += lane[k + width];
  return lane[0];
}

#if HWY_TARGET != HWY_SCALAR
// The halves' sum, its halves' sum and so on.
template <class D>
HWY_INLINE float sum_halves(D d, hn::Vec<D> x) {
  if constexpr (hn::MaxLanes(d) > 4) {
    const hn::Half<D> half;
    return sum_halves(half, hn::Add(hn::LowerHalf(half, x), hn::UpperHalf(half, x)));
  } else {
    const auto pairs = hn::Add(x, hn::Shuffle1032(x));
    return hn::GetLane(hn::Add(pairs, hn::Shuffle2301(pairs)));
  }
}
#endif

// sum_lanes of 16 virtual lanes in vectors.
HWY_INLINE float sum_of(const Vec16 (&parts)[kParts]) {
  Vec16 sum[kParts];
  for (size_t p = 0; p < kParts; ++p) sum[p] = parts[p];
  for (size_t width = kParts / 2; width > 0; width /= 2)
    for (size_t p = 0; p < width; ++p) sum[p] = hn::Add(sum[p], sum[p + width]);
#if HWY_TARGET == HWY_SCALAR
  return hn::GetLane(sum[0]);
#else
  return sum_halves(F32x16(), sum[0]);
#endif
}

}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
