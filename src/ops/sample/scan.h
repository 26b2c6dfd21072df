// Passes over logits; the same bits on every SIMD target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace altlas::ops {

inline constexpr float kNoLimit = std::numeric_limits<float>::infinity();

// The largest value, -infinity if there is none but NaN.
float scan_largest(const float* x, size_t count);
// The first index >= begin with x[index] >= bound, count if there is none.
size_t scan_above(const float* x, size_t begin, size_t count, float bound);
// For every kSampleRun values, the last ones may be fewer: the largest, and unless sum is null the
// sum of e^((x - largest) * inverse), 0 where the largest is -infinity.
void scan_runs(const float* x, size_t count, float inverse, float* largest, float* sum);
// Values >= bound and their ids, first + index, in order; how many there are. So many places behind
// them may be written to.
inline constexpr size_t kScanPadding = 16;
size_t scan_keep(const float* x, size_t count, size_t first, float bound, float* values,
                 int32_t* ids);
// The same of values with ids, which may lie where the kept ones go or behind it; then nothing is
// written to behind them.
size_t scan_filter(const float* x, const int32_t* ids, size_t count, float bound, float* values,
                   int32_t* kept_ids);
// The same of those below `limit` as well.
size_t scan_between(const float* x, const int32_t* ids, size_t count, float bound, float limit,
                    float* values, int32_t* kept_ids);
// weights[i] = e^((x[i] - largest) * inverse), times scale[i] unless that is null; x <= largest.
void scan_weights(const float* x, size_t count, float largest, float inverse, const float* scale,
                  float* weights);

// Sum of at most kSampleRun values.
float scan_sum(const float* x, size_t count);
inline constexpr size_t kThresholds = 8;
// sums[i]: of the values >= thresholds[i].
void scan_sums_from(const float* x, size_t count, const float* thresholds, float* sums);

}  // namespace altlas::ops
