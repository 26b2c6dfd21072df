#include "ops/rope/rope.h"

#include <algorithm>
#include <cmath>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/rope/rope_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {
using F64 = hn::CappedTag<double, 8>;
using Angles = hn::Vec<F64>;

// Does what sin_cos_f64() does, for each lane.
HWY_INLINE void sin_cos(Angles x, Angles& sine, Angles& cosine) {
  const F64 d;
  const hn::RebindToSigned<F64> di;
  const auto magic = hn::Set(d, kSinCosMagic), one = hn::Set(d, 1.0);
  const auto shifted = hn::Add(hn::Mul(x, hn::Set(d, kTwoOverPi)), magic);
  const auto k = hn::Sub(shifted, magic);
  const auto r = hn::Sub(
      hn::Sub(hn::Sub(x, hn::Mul(k, hn::Set(d, kHalfPi[0]))), hn::Mul(k, hn::Set(d, kHalfPi[1]))),
      hn::Mul(k, hn::Set(d, kHalfPi[2])));
  const auto r2 = hn::Mul(r, r);
  auto s = hn::Zero(d), c = hn::Zero(d);
  for (int i = 15; i >= 3; i -= 2)
    s = hn::Div(hn::Mul(hn::Sub(one, s), r2), hn::Set(d, i * (i - 1)));
  for (int i = 16; i >= 2; i -= 2)
    c = hn::Div(hn::Mul(hn::Sub(one, c), r2), hn::Set(d, i * (i - 1)));
  s = hn::Mul(r, hn::Sub(one, s));
  c = hn::Sub(one, c);
  // k is in the lowest bits of `shifted`. Odd quarters swap sine and cosine; the sine changes its
  // sign in the third and fourth, the cosine in the second and third.
  const auto quarter = hn::BitCast(di, shifted), bit = hn::Set(di, 1);
  const auto swap = hn::RebindMask(d, hn::Eq(hn::And(quarter, bit), bit));
  const auto sine_sign = hn::ShiftLeft<62>(hn::And(quarter, hn::Set(di, 2)));
  const auto cosine_sign = hn::ShiftLeft<62>(hn::And(hn::Add(quarter, bit), hn::Set(di, 2)));
  sine = hn::Xor(hn::IfThenElse(swap, c, s), hn::BitCast(d, sine_sign));
  cosine = hn::Xor(hn::IfThenElse(swap, s, c), hn::BitCast(d, cosine_sign));
}
}  // namespace

void angles(const uint32_t* positions, size_t count, const double* frequency, size_t half,
            float* cos_sin) {
  const F64 d;
  constexpr size_t kWidth = hn::MaxLanes(d);
  HWY_ALIGN double in[8] = {};
  HWY_ALIGN double out[2][8];
  for (size_t t = 0; t < count; ++t, cos_sin += 2 * half)
    for (size_t i = 0; i < half; i += kWidth) {
      const size_t lanes = std::min(kWidth, half - i);
      std::copy(frequency + i, frequency + i + lanes, in);
      Angles sine, cosine;
      sin_cos(hn::Mul(hn::Set(d, positions[t]), hn::Load(d, in)), sine, cosine);
      hn::Store(cosine, d, out[0]);
      hn::Store(sine, d, out[1]);
      for (size_t lane = 0; lane < lanes; ++lane) {
        cos_sin[i + lane] = static_cast<float>(out[0][lane]);
        cos_sin[half + i + lane] = static_cast<float>(out[1][lane]);
      }
    }
}

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
HWY_EXPORT(angles);
HWY_EXPORT(rope_neox);
void rope_angles(std::span<const uint32_t> positions, std::span<const double> frequency,
                 float* cos_sin) {
  HWY_DYNAMIC_DISPATCH(angles)(positions.data(), positions.size(), frequency.data(),
                               frequency.size(), cos_sin);
}
void rope_cpu(float* x, const RopeHeads& heads, const float* cos_sin) {
  if (heads.style == RopeStyle::kNeox)
    HWY_DYNAMIC_DISPATCH(rope_neox)(x, heads.count, heads.head_dim, heads.half, cos_sin);
  else
    // This takes little time beside the products around it.
    rope_ref(x, heads, cos_sin);
}
}  // namespace altlas::ops
#endif
