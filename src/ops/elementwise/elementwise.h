// Operations on values one by one. Same bits on every SIMD target and for every cut into ranges.
#pragma once

#include <cstddef>

namespace altlas::ops {

// y[i] += x[i].
void add_cpu(const float* x, size_t count, float* y);
// y[i] += factor * x[i], rounded once.
void add_scaled_cpu(const float* x, float factor, size_t count, float* y);
// y[i] *= factor.
void scale_cpu(float factor, size_t count, float* y);
// y[i] = cap * tanh(y[i] / cap).
void softcap_cpu(float cap, size_t count, float* y);
// y[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + e^-x).  y may be gate or up.
void silu_mul_cpu(const float* gate, const float* up, size_t count, float* y);
// y[i] = gelu(gate[i]) * up[i], in gelu's tanh form (arXiv:1606.08415).  y may be gate or up.
void gelu_mul_cpu(const float* gate, const float* up, size_t count, float* y);
// y[i] = gelu(y[i]), in its exact form x/2 (1 + erf(x / sqrt 2)), within 1e-6 absolute.
void gelu_erf_cpu(size_t count, float* y);
// True where none of x is an infinity or NaN.
bool all_finite_cpu(const float* x, size_t count);

void softcap_ref(float cap, size_t count, float* y);
void silu_mul_ref(const float* gate, const float* up, size_t count, float* y);
void gelu_mul_ref(const float* gate, const float* up, size_t count, float* y);
void gelu_erf_ref(size_t count, float* y);
bool all_finite_ref(const float* x, size_t count);

}  // namespace altlas::ops
