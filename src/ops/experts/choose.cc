#include "ops/experts/choose.h"

#include <algorithm>

#include "base/check.h"
#include "ops/math/scalar.h"

namespace altlas::ops {

void choose_experts(const float* logits, size_t count, size_t used, bool normalized,
                    uint32_t* experts, float* weights) {
  ALTLAS_CHECK(used >= 1 && used <= count, "from 1 to all experts are used");
  const float largest = *std::max_element(logits, logits + count);
  float sum = 0;
  for (size_t i = 0; i < count; ++i) sum += exp_f32(logits[i] - largest);
  for (size_t n = 0; n < used; ++n) {
    size_t best = count;
    for (size_t i = 0; i < count; ++i) {
      if (std::find(experts, experts + n, i) != experts + n) continue;
      if (best == count || logits[i] > logits[best]) best = i;
    }
    experts[n] = static_cast<uint32_t>(best);
  }
  std::sort(experts, experts + used);
  float chosen = 0;
  for (size_t n = 0; n < used; ++n) {
    weights[n] = exp_f32(logits[experts[n]] - largest);
    chosen += weights[n];
  }
  for (size_t n = 0; n < used; ++n) weights[n] /= normalized ? chosen : sum;
}

}  // namespace altlas::ops
