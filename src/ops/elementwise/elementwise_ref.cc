#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/elementwise/elementwise.h"

namespace altlas::ops {

void softcap_ref(float cap, size_t count, float* y) {
  for (size_t i = 0; i < count; ++i)
    y[i] = static_cast<float>(cap * std::tanh(static_cast<double>(y[i]) / cap));
}

void silu_mul_ref(const float* gate, const float* up, size_t count, float* y) {
  for (size_t i = 0; i < count; ++i) {
    const double g = gate[i];
    y[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
}

void gelu_mul_ref(const float* gate, const float* up, size_t count, float* y) {
  for (size_t i = 0; i < count; ++i) {
    const double g = gate[i];
    const double inner = std::sqrt(2.0 / std::numbers::pi) * (g + 0.044715 * g * g * g);
    y[i] = static_cast<float>(0.5 * g * (1.0 + std::tanh(inner)) * up[i]);
  }
}

void gelu_erf_ref(size_t count, float* y) {
  for (size_t i = 0; i < count; ++i)
    y[i] = static_cast<float>(0.5 * y[i] * (1 + std::erf(y[i] / std::sqrt(2.0))));
}

bool all_finite_ref(const float* x, size_t count) {
  return std::all_of(x, x + count, [](float value) { return std::isfinite(value); });
}

}  // namespace altlas::ops
