// The activations of gates as vectors, for every kernel that applies them.
// Instead of #pragma once the guard below lets it in once per SIMD target.
#if defined(ALTLAS_OPS_GATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ALTLAS_OPS_GATE_INL_H_
#undef ALTLAS_OPS_GATE_INL_H_
#else
#define ALTLAS_OPS_GATE_INL_H_
#endif

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {

struct Silu {  // x / (1 + e^-x)
  HWY_INLINE Vec16 operator()(Vec16 x) const {
    const Vec16 one = hn::Set(F32x16(), 1.0f);
    return hn::Div(x, hn::Add(one, exp(hn::Neg(x))));
  }
};
struct Gelu {  // x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): the same as x/2 (1 + tanh u)
  HWY_INLINE Vec16 operator()(Vec16 x) const {
    const F32x16 d;
    const Vec16 one = hn::Set(d, 1.0f);
    const Vec16 inner = fma(hn::Mul(hn::Mul(x, x), hn::Set(d, 0.044715f)), x, x);
    return hn::Div(x, hn::Add(one, exp(hn::Mul(inner, hn::Set(d, -1.5957691216057308f)))));
  }
};

}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
