#include "ops/math/scalar.h"
#include "ops/rope/rope.h"

namespace altlas::ops {

void rope_angles_ref(std::span<const uint32_t> positions, std::span<const double> frequency,
                     float* cos_sin) {
  const size_t half = frequency.size();
  for (const uint32_t position : positions) {
    for (size_t i = 0; i < half; ++i) {
      const SinCos angle = sin_cos_f64(position * frequency[i]);
      cos_sin[i] = static_cast<float>(angle.cos);
      cos_sin[half + i] = static_cast<float>(angle.sin);
    }
    cos_sin += 2 * half;
  }
}

void rope_ref(float* x, const RopeHeads& heads, const float* cos_sin) {
  const auto [count, head_dim, half, style] = heads;
  for (size_t h = 0; h < count; ++h, x += head_dim)
    for (size_t i = 0; i < half; ++i) {
      float& first = style == RopeStyle::kNeox ? x[i] : x[2 * i];
      float& second = style == RopeStyle::kNeox ? x[i + half] : x[2 * i + 1];
      const float a = first, b = second, c = cos_sin[i], s = cos_sin[half + i];
      first = std::fma(a, c, -(b * s));
      second = std::fma(a, s, b * c);
    }
}

}  // namespace altlas::ops
