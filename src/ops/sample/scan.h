// Passes over a whole vocabulary; the same bits on every SIMD target.
#pragma once

#include <cstddef>

namespace altlas::ops {

inline constexpr size_t kScanRun =
    1024;  // Values summed in float before the sum goes on in double.

// The largest value, -infinity if there is none but NaN.
float scan_largest(const float* x, size_t count);
// The first index >= begin with x[index] >= bound, count if there is none.
size_t scan_above(const float* x, size_t begin, size_t count, float bound);
// Sum of e^((x - largest) * inverse) of count <= kScanRun values.
float scan_exp_sum(const float* x, size_t count, float largest, float inverse);

}  // namespace altlas::ops
