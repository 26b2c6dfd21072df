#include "ops/elementwise/elementwise.h"

#include <algorithm>
#include <cmath>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/elementwise/elementwise_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/elementwise/gate-inl.h"
#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {

// Computes erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: within 1.5e-7.
struct GeluErf {
  HWY_INLINE Vec16 operator()(Vec16 x) const {
    const F32x16 d;
    const Vec16 one = hn::Set(d, 1.0f);
    const Vec16 z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752f));
    const Vec16 t = hn::Div(one, fma(z, hn::Set(d, 0.3275911f), one));
    Vec16 p = hn::Set(d, 1.061405429f);
    p = fma(p, t, hn::Set(d, -1.453152027f));
    p = fma(p, t, hn::Set(d, 1.421413741f));
    p = fma(p, t, hn::Set(d, -0.284496736f));
    p = fma(p, t, hn::Set(d, 0.254829592f));
    const Vec16 erf = hn::Sub(one, hn::Mul(hn::Mul(p, t), exp(hn::Neg(hn::Mul(z, z)))));
    const Vec16 half = hn::Mul(x, hn::Set(d, 0.5f));
    return fma(half, hn::CopySign(erf, x), half);
  }
};

template <class Gate>
void gate_mul(const Gate& act, const float* gate, const float* up, size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(hn::Mul(act(hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, y + i);
  if (i == count) return;
  // The rest takes the same operations, so its bits don't depend on where it is.
  HWY_ALIGN float a[16] = {}, b[16] = {};
  std::copy(gate + i, gate + count, a);
  std::copy(up + i, up + count, b);
  hn::Store(hn::Mul(act(hn::Load(d, a)), hn::Load(d, b)), d, a);
  std::copy(a, a + (count - i), y + i);
}
}  // namespace

void silu_mul(const float* gate, const float* up, size_t count, float* y) {
  gate_mul(Silu(), gate, up, count, y);
}
void gelu_mul(const float* gate, const float* up, size_t count, float* y) {
  gate_mul(Gelu(), gate, up, count, y);
}

void gelu_erf(size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(GeluErf()(hn::LoadU(d, y + i)), d, y + i);
  if (i == count) return;
  HWY_ALIGN float a[16] = {};
  std::copy(y + i, y + count, a);
  hn::Store(GeluErf()(hn::Load(d, a)), d, a);
  std::copy(a, a + (count - i), y + i);
}

void add(const float* x, size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  for (; i < count; ++i) y[i] = x[i] + y[i];
}

void add_scaled(const float* x, float factor, size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(fma(hn::Set(d, factor), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  for (; i < count; ++i) y[i] = std::fma(factor, x[i], y[i]);
}

void scale(float factor, size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Set(d, factor)), d, y + i);
  for (; i < count; ++i) y[i] *= factor;
}

// The bits of infinities and NaN are the largest of all magnitudes.
bool all_finite(const float* x, size_t count) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const auto infinity = hn::Set(di, 0x7f800000);
  auto largest = hn::Zero(di);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
  bool finite = hn::AllTrue(di, hn::Lt(largest, infinity));
  for (; i < count; ++i) finite = finite && std::isfinite(x[i]);
  return finite;
}

void softcap(float cap, size_t count, float* y) {
  const F32x16 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(capped(hn::LoadU(d, y + i), cap), d, y + i);
  if (i == count) return;
  HWY_ALIGN float a[16] = {};
  std::copy(y + i, y + count, a);
  hn::Store(capped(hn::Load(d, a), cap), d, a);
  std::copy(a, a + (count - i), y + i);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(silu_mul);
HWY_EXPORT(gelu_mul);
HWY_EXPORT(gelu_erf);
HWY_EXPORT(add);
HWY_EXPORT(add_scaled);
HWY_EXPORT(scale);
HWY_EXPORT(softcap);
HWY_EXPORT(all_finite);
void add_cpu(const float* x, size_t count, float* y) { HWY_DYNAMIC_DISPATCH(add)(x, count, y); }
void add_scaled_cpu(const float* x, float factor, size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(add_scaled)(x, factor, count, y);
}
void scale_cpu(float factor, size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(scale)(factor, count, y);
}
void softcap_cpu(float cap, size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(softcap)(cap, count, y);
}
bool all_finite_cpu(const float* x, size_t count) {
  return HWY_DYNAMIC_DISPATCH(all_finite)(x, count);
}
void gelu_erf_cpu(size_t count, float* y) { HWY_DYNAMIC_DISPATCH(gelu_erf)(count, y); }
void silu_mul_cpu(const float* gate, const float* up, size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(silu_mul)(gate, up, count, y);
}
void gelu_mul_cpu(const float* gate, const float* up, size_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(gelu_mul)(gate, up, count, y);
}
}  // namespace altlas::ops
#endif
