// RMS norm of rows.
#pragma once

#include <span>

namespace altlas::ops {

// y[r,c] = x[r,c] * gamma[c] / sqrt(mean_c(x[r,:]^2) + eps).  x, y: [rows, cols] row-major, may be
// the same. gamma: [cols]. A row whose squares
// sum up to more than a float holds becomes NaN, and not zero: the error shows in what follows.
// Aborts unless sizes agree.  Source: arXiv:1910.07467, eq. 4.
void rms_norm_cpu(std::span<const float> x, std::span<const float> gamma, float eps,
                  std::span<float> y);
// The readable reference, in double; agrees within rounding.
void rms_norm_ref(std::span<const float> x, std::span<const float> gamma, float eps,
                  std::span<float> y);

}  // namespace altlas::ops
