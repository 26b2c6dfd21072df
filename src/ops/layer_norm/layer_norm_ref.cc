#include <cmath>
#include <limits>

#include "base/check.h"
#include "ops/layer_norm/layer_norm.h"

namespace altlas::ops {

void layer_norm_ref(std::span<const float> x, std::span<const float> gamma,
                    std::span<const float> beta, float eps, std::span<float> y) {
  const size_t cols = gamma.size();
  ALTLAS_CHECK(x.size() == y.size() && beta.size() == cols && x.size() % cols == 0,
               "x, y: [rows, cols], gamma, beta: [cols]");
  for (size_t r = 0; r < x.size(); r += cols) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < cols; ++c) mean += x[r + c];
    mean /= static_cast<double>(cols);
    for (size_t c = 0; c < cols; ++c) variance += (x[r + c] - mean) * (x[r + c] - mean);
    const double inverse = std::isfinite(static_cast<float>(variance))
                               ? 1 / std::sqrt(variance / static_cast<double>(cols) + eps)
                               : std::numeric_limits<double>::quiet_NaN();
    for (size_t c = 0; c < cols; ++c)
      y[r + c] = static_cast<float>((x[r + c] - mean) * inverse * gamma[c] + beta[c]);
  }
}

}  // namespace altlas::ops
