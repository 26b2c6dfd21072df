// The passes over logits: the largest, sums of exponentials, those above a bound.
#include <algorithm>
#include <limits>
#include <span>

#include "ops/sample/row_sampler.h"
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

// Returns the sum of e^((x - largest) * inverse) of a run: 16 virtual lanes, then a tree.
HWY_INLINE float run_sum(const float* x, size_t count, float largest, float inverse) {
  const F32x16 d;
  const Vec16 top = hn::Set(d, largest), factor = hn::Set(d, inverse);
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t p = 0; p < kParts; ++p)
      sums[p] = hn::Add(
          sums[p], exp_below_max(hn::Mul(hn::Sub(hn::LoadU(d, x + i + p * kLanes), top), factor)));
  if (i == count) return sum_of(sums);
  HWY_ALIGN float lane[16];
  for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
  for (size_t k = 0; i + k < count; ++k) lane[k] += exp_f32((x[i + k] - largest) * inverse);
  return sum_lanes(lane);
}

void sum_runs(const float* x, size_t count, float inverse, float* largest, float* sum) {
  for (size_t i = 0, run = 0; i < count; i += kSampleRun, ++run) {
    const size_t own = std::min(kSampleRun, count - i);
    largest[run] = largest_of(x + i, own);
    if (sum == nullptr) continue;
    sum[run] = largest[run] > -std::numeric_limits<float>::infinity()
                   ? run_sum(x + i, own, largest[run], inverse)
                   : 0;
  }
}

// ids_at(d, i) returns the ids of the lanes from i on, id_at(i) a single one.
template <class IdsAt, class IdAt>
HWY_INLINE size_t keep_those(std::span<const float> values, float bound, float limit, IdsAt ids_at,
                             IdAt id_at, ScanOut out) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const Vec16 least = hn::Set(d, bound), end = hn::Set(d, limit);
  const float* x = values.data();
  const size_t count = values.size();
  size_t kept = 0, i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec16 v = hn::LoadU(d, x + i);
    const auto above = hn::And(hn::Ge(v, least), hn::Lt(v, end));
    const size_t more = hn::CountTrue(d, above);
    if (more == 0) continue;
    const auto id = ids_at(di, i);
    hn::StoreU(hn::Compress(v, above), d, out.values + kept);
    hn::StoreU(hn::Compress(id, hn::RebindMask(di, above)), di, out.ids + kept);
    kept += more;
  }
  for (; i < count; ++i) {
    if (!(x[i] >= bound && x[i] < limit)) continue;
    const int32_t id = id_at(i);
    out.values[kept] = x[i];
    out.ids[kept++] = id;
  }
  return kept;
}

size_t keep_above(std::span<const float> x, size_t first, float bound, ScanOut kept) {
  return keep_those(
      x, bound, kNoLimit,
      [&](auto d, size_t i) { return hn::Iota(d, static_cast<int32_t>(first + i)); },
      [&](size_t i) { return static_cast<int32_t>(first + i); }, kept);
}

size_t filter_between(std::span<const float> x, const int32_t* from, float bound, float limit,
                      ScanOut kept) {
  return keep_those(
      x, bound, limit, [&](auto d, size_t i) { return hn::LoadU(d, from + i); },
      [&](size_t i) { return from[i]; }, kept);
}

void exp_weights(std::span<const float> values, float largest, float inverse, const float* scale,
                 float* weights) {
  const float* x = values.data();
  const size_t count = values.size();
  const F32x16 d;
  const Vec16 top = hn::Set(d, largest), factor = hn::Set(d, inverse);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec16 w = exp_below_max(hn::Mul(hn::Sub(hn::LoadU(d, x + i), top), factor));
    if (scale != nullptr) w = hn::Mul(w, hn::LoadU(d, scale + i));
    hn::StoreU(w, d, weights + i);
  }
  for (; i < count; ++i)
    weights[i] = exp_f32((x[i] - largest) * inverse) * (scale != nullptr ? scale[i] : 1.0f);
}

// Sums over 16 virtual lanes, then by a tree, as run_sum() does.
float sum_values(const float* x, size_t count) {
  const F32x16 d;
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t p = 0; p < kParts; ++p)
      sums[p] = hn::Add(sums[p], hn::LoadU(d, x + i + p * kLanes));
  if (i == count) return sum_of(sums);
  HWY_ALIGN float lane[16];
  for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
  for (size_t k = 0; i + k < count; ++k) lane[k] += x[i + k];
  return sum_lanes(lane);
}

void sums_from(const float* x, size_t count, const float* thresholds, float* sums) {
  const F32x16 d;
  HWY_ALIGN float lanes[kThresholds][16];
  // Each part has a pass of its own, so that its sums stay in registers.
  for (size_t p = 0; p < kParts; ++p) {
    Vec16 least[kThresholds], sum[kThresholds];
    for (size_t t = 0; t < kThresholds; ++t) {
      least[t] = hn::Set(d, thresholds[t]);
      sum[t] = hn::Zero(d);
    }
    for (size_t i = 0; i + 16 <= count; i += 16) {
      const Vec16 v = hn::LoadU(d, x + i + p * kLanes);
      for (size_t t = 0; t < kThresholds; ++t)
        sum[t] = hn::Add(sum[t], hn::IfThenElseZero(hn::Ge(v, least[t]), v));
    }
    for (size_t t = 0; t < kThresholds; ++t) hn::Store(sum[t], d, lanes[t] + p * kLanes);
  }
  const size_t whole = count / 16 * 16;
  for (size_t t = 0; t < kThresholds; ++t) {
    for (size_t k = 0; whole + k < count; ++k)
      if (x[whole + k] >= thresholds[t]) lanes[t][k] += x[whole + k];
    sums[t] = sum_lanes(lanes[t]);
  }
}

}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(largest_of);
HWY_EXPORT(find_above);
HWY_EXPORT(sum_runs);
HWY_EXPORT(keep_above);
HWY_EXPORT(filter_between);
HWY_EXPORT(exp_weights);
HWY_EXPORT(sum_values);
HWY_EXPORT(sums_from);

float scan_largest(const float* x, size_t count) {
  return HWY_DYNAMIC_DISPATCH(largest_of)(x, count);
}
size_t scan_above(const float* x, size_t begin, size_t count, float bound) {
  return HWY_DYNAMIC_DISPATCH(find_above)(x, begin, count, bound);
}
void scan_runs(const float* x, size_t count, float inverse, float* largest, float* sum) {
  HWY_DYNAMIC_DISPATCH(sum_runs)(x, count, inverse, largest, sum);
}
size_t scan_keep(std::span<const float> x, size_t first, float bound, ScanOut kept) {
  return HWY_DYNAMIC_DISPATCH(keep_above)(x, first, bound, kept);
}
size_t scan_filter(std::span<const float> x, const int32_t* ids, float bound, ScanOut kept) {
  return scan_between(x, ids, bound, kNoLimit, kept);
}
size_t scan_between(std::span<const float> x, const int32_t* ids, float bound, float limit,
                    ScanOut kept) {
  return HWY_DYNAMIC_DISPATCH(filter_between)(x, ids, bound, limit, kept);
}
void scan_weights(std::span<const float> x, float largest, float inverse, const float* scale,
                  float* weights) {
  HWY_DYNAMIC_DISPATCH(exp_weights)(x, largest, inverse, scale, weights);
}
float scan_sum(const float* x, size_t count) { return HWY_DYNAMIC_DISPATCH(sum_values)(x, count); }
void scan_sums_from(const float* x, size_t count, const float* thresholds, float* sums) {
  HWY_DYNAMIC_DISPATCH(sums_from)(x, count, thresholds, sums);
}
}  // namespace altlas::ops
#endif
