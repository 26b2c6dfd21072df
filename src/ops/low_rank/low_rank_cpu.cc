#include "ops/low_rank/low_rank.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/low_rank/low_rank_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {

// The products go to 16 virtual lanes, which are summed in one order on every target.
float dot(const float* a, const float* x, size_t count) {
  const F32x16 d;
  HWY_ALIGN float lane[16];
  Vec16 sum[kParts];
  for (size_t p = 0; p < kParts; ++p) sum[p] = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t p = 0; p < kParts; ++p)
      sum[p] = fma(hn::LoadU(d, a + i + p * kLanes), hn::LoadU(d, x + i + p * kLanes), sum[p]);
  for (size_t p = 0; p < kParts; ++p) hn::Store(sum[p], d, lane + p * kLanes);
  for (size_t k = 0; i + k < count; ++k) lane[k] = std::fma(a[i + k], x[i + k], lane[k]);
  return sum_lanes(lane);
}

}  // namespace

void add_low_rank(const LowRankPair& pair, const float* x, float* y) {
  const size_t rows = pair.rows, cols = pair.cols, rank = pair.rank;
  const float *a = pair.a, *b = pair.b;
  const F32x16 d;
  float inner[kLowRankMax];
  for (size_t r = 0; r < rank; ++r) inner[r] = dot(a + r * cols, x, cols);
  size_t i = 0;
  for (; i + kLanes <= rows; i += kLanes) {
    Vec16 sum = hn::LoadU(d, y + i);
    for (size_t r = 0; r < rank; ++r)
      sum = fma(hn::Set(d, inner[r]), hn::LoadU(d, b + r * rows + i), sum);
    hn::StoreU(sum, d, y + i);
  }
  for (; i < rows; ++i)
    for (size_t r = 0; r < rank; ++r) y[i] = std::fma(inner[r], b[r * rows + i], y[i]);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(add_low_rank);
void add_low_rank_cpu(const LowRankPair& pair, const float* x, float* y) {
  ALTLAS_CHECK(pair.rank >= 1 && pair.rank <= kLowRankMax, "rank: 1 to kLowRankMax");
  HWY_DYNAMIC_DISPATCH(add_low_rank)(pair, x, y);
}
}  // namespace altlas::ops
#endif
