#include "ops/experts/choose.h"

#include <algorithm>

#include "base/check.h"
#include "ops/math/scalar.h"

namespace altlas::ops {

void choose_experts(std::span<const float> logits, bool normalized, std::span<uint32_t> experts,
                    std::span<float> weights) {
  const size_t count = logits.size(), used = experts.size();
  ALTLAS_CHECK(used >= 1 && used <= count, "from 1 to all experts are used");
  const float largest = *std::ranges::max_element(logits);
  float sum = 0;
  for (size_t i = 0; i < count; ++i) sum += exp_f32(logits[i] - largest);
  for (size_t n = 0; n < used; ++n) {
    size_t best = count;
    for (size_t i = 0; i < count; ++i) {
      const auto chosen_before = experts.first(n);
      if (std::ranges::find(chosen_before, i) != chosen_before.end()) continue;
      if (best == count || logits[i] > logits[best]) best = i;
    }
    experts[n] = static_cast<uint32_t>(best);
  }
  std::ranges::sort(experts);
  float chosen = 0;
  for (size_t n = 0; n < used; ++n) {
    weights[n] = exp_f32(logits[experts[n]] - largest);
    chosen += weights[n];
  }
  for (size_t n = 0; n < used; ++n) weights[n] /= normalized ? chosen : sum;
}

}  // namespace altlas::ops
