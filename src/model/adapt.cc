#include "model/adapt.h"

#include "ops/low_rank/low_rank.h"

namespace altlas::model {

std::span<const LowRank> pairs_of(const StepContext& step, size_t row, uint32_t layer,
                                  AdaptedProduct product) {
  const Adapter* adapter = step.entries[step.tokens[row].entry].adapter;
  if (adapter == nullptr) return {};
  return adapter->layers[layer].*product;
}

void add_pairs(std::span<const LowRank> pairs, const float* x, float* y) {
  for (const LowRank& one : pairs)
    ops::add_low_rank_cpu({one.rows, one.cols, one.rank, one.a, one.b}, x, y + one.first_column);
}

void adapt(const StepContext& step, uint32_t layer, AdaptedProduct product, Rows<const float> x,
           Rows<float> y) {
  if (!step.adapts) return;
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    add_pairs(pairs_of(step, row, layer, product), x[row], y[row]);
}

}  // namespace altlas::model
