// Layer normalisation.
#pragma once

#include <span>

namespace altlas::ops {

// y[r, c] = (x[r, c] - mean_r) / sqrt(variance_r + eps) * gamma[c] + beta[c], the variance divided
// by cols. x, y: [rows, cols] row-major, may be the same. gamma, beta: [cols]. A row whose
// variance is more than a float holds becomes NaN. Aborts unless sizes agree. Same bits on every
// SIMD target. Source: arXiv:1607.06450.
void layer_norm_cpu(std::span<const float> x, std::span<const float> gamma,
                    std::span<const float> beta, float eps, std::span<float> y);
void layer_norm_ref(std::span<const float> x, std::span<const float> gamma,
                    std::span<const float> beta, float eps, std::span<float> y);

}  // namespace altlas::ops
