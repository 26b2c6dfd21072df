// Passes over logits; the same bits on every SIMD target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace altlas::ops {

inline constexpr float kNoLimit = std::numeric_limits<float>::infinity();

// The largest value, -infinity if there is none but NaN.
float scan_largest(const float* x, size_t count);
// The first index >= begin with x[index] >= bound, count if there is none.
size_t scan_above(const float* x, size_t begin, size_t count, float bound);
// For every kSampleRun values, the last ones may be fewer: the largest, and unless sum is null the
// sum of e^((x - largest) * inverse), 0 where the largest is -infinity.
void scan_runs(const float* x, size_t count, float inverse, float* largest, float* sum);
// Where the kept values go, and their ids at the same places.
struct ScanOut {
  float* values;
  int32_t* ids;
};
// Keeps values >= bound with their ids, first + index, in order, and returns how many there are.
// This many places behind them may be written to.
inline constexpr size_t kScanPadding = 16;
size_t scan_keep(std::span<const float> x, size_t first, float bound, ScanOut kept);
// The same for values with ids, [x.size()], which may lie where the kept ones go or behind it; then
// nothing is written to behind them.
size_t scan_filter(std::span<const float> x, const int32_t* ids, float bound, ScanOut kept);
// The same for values in [bound, limit).
size_t scan_between(std::span<const float> x, const int32_t* ids, float bound, float limit,
                    ScanOut kept);
// weights[i] = e^((x[i] - largest) * inverse), times scale[i] unless that is null; x <= largest.
void scan_weights(std::span<const float> x, float largest, float inverse, const float* scale,
                  float* weights);

// Sum of at most kSampleRun values.
float scan_sum(const float* x, size_t count);
inline constexpr size_t kThresholds = 8;
// sums[i]: of the values >= thresholds[i].
void scan_sums_from(const float* x, size_t count, const float* thresholds, float* sums);

}  // namespace altlas::ops
