#include <cmath>
#include <limits>

#include "base/check.h"
#include "ops/rms_norm/rms_norm.h"

namespace altlas::ops {

void rms_norm_ref(std::span<const float> x, std::span<const float> gamma, float eps,
                  std::span<float> y) {
  ALTLAS_CHECK(x.size() == y.size() && x.size() % gamma.size() == 0,
               "x, y: [rows, cols], gamma: [cols]");
  const size_t cols = gamma.size();
  for (size_t row = 0; row < x.size(); row += cols) {
    double sum = 0;
    for (size_t c = 0; c < cols; ++c) sum += static_cast<double>(x[row + c]) * x[row + c];
    const double inv_rms = std::isfinite(static_cast<float>(sum))
                               ? 1.0 / std::sqrt(sum / static_cast<double>(cols) + eps)
                               : std::numeric_limits<double>::quiet_NaN();
    for (size_t c = 0; c < cols; ++c)
      y[row + c] = static_cast<float>(x[row + c] * inv_rms * gamma[c]);
  }
}

}  // namespace altlas::ops
