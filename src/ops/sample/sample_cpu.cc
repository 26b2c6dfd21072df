// The passes over a whole vocabulary: largest, sum of exponentials, those above a bound.
#include <algorithm>
#include <limits>

#include "ops/sample/scan.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/sample/sample_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {

float largest_of(const float* x, size_t count) {
  const F32x16 d;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  Vec16 most[4] = {hn::Set(d, kNone), hn::Set(d, kNone), hn::Set(d, kNone), hn::Set(d, kNone)};
  size_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (size_t k = 0; k < 4; ++k) {
      const Vec16 v = hn::LoadU(d, x + i + k * kLanes);
      most[k] = hn::IfThenElse(hn::Gt(v, most[k]), v, most[k]);  // NaN is not greater.
    }
  float largest = largest_lane(hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3])));
  for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

size_t find_above(const float* x, size_t begin, size_t count, float bound) {
  const F32x16 d;
  const Vec16 limit = hn::Set(d, bound);
  size_t i = begin;
  for (; i + kLanes <= count; i += kLanes)
    if (!hn::AllFalse(d, hn::Ge(hn::LoadU(d, x + i), limit))) break;
  for (; i < count; ++i)
    if (x[i] >= bound) return i;
  return count;
}

// Sum of e^((x - largest) * inverse) over a run of at most kScanRun values: 16 virtual lanes, then
// a tree.
float exp_sum_run(const float* x, size_t count, float largest, float inverse) {
  const F32x16 d;
  const Vec16 top = hn::Set(d, largest), factor = hn::Set(d, inverse);
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t p = 0; p < kParts; ++p)
      sums[p] =
          hn::Add(sums[p], exp(hn::Mul(hn::Sub(hn::LoadU(d, x + i + p * kLanes), top), factor)));
  HWY_ALIGN float lane[16];
  for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
  for (size_t k = 0; i + k < count; ++k) lane[k] += exp_f32((x[i + k] - largest) * inverse);
  return sum_lanes(lane);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(largest_of);
HWY_EXPORT(find_above);
HWY_EXPORT(exp_sum_run);

float scan_largest(const float* x, size_t count) {
  return HWY_DYNAMIC_DISPATCH(largest_of)(x, count);
}
size_t scan_above(const float* x, size_t begin, size_t count, float bound) {
  return HWY_DYNAMIC_DISPATCH(find_above)(x, begin, count, bound);
}
float scan_exp_sum(const float* x, size_t count, float largest, float inverse) {
  return HWY_DYNAMIC_DISPATCH(exp_sum_run)(x, count, largest, inverse);
}
}  // namespace altlas::ops
#endif
