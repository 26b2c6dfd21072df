#include "base/check.h"
#include "ops/low_rank/low_rank.h"

namespace altlas::ops {

void add_low_rank_ref(const LowRankPair& pair, const float* x, float* y) {
  const size_t rows = pair.rows, cols = pair.cols, rank = pair.rank;
  const float *a = pair.a, *b = pair.b;
  ALTLAS_CHECK(rank >= 1 && rank <= kLowRankMax, "rank: 1 to kLowRankMax");
  double inner[kLowRankMax];
  for (size_t r = 0; r < rank; ++r) {
    inner[r] = 0;
    for (size_t c = 0; c < cols; ++c) inner[r] += double{a[r * cols + c]} * x[c];
  }
  for (size_t i = 0; i < rows; ++i) {
    double sum = y[i];
    for (size_t r = 0; r < rank; ++r) sum += inner[r] * b[r * rows + i];
    y[i] = static_cast<float>(sum);
  }
}

}  // namespace altlas::ops
