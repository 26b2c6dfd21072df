#include "model/adapt.h"

#include "ops/low_rank/low_rank.h"

namespace altlas::model {

void adapt_row(const StepContext& step, size_t row, uint32_t layer,
               std::vector<LowRank> LayerAdapter::* product, const float* x, float* y) {
  const Adapter* adapter = step.entries[step.tokens[row].entry].adapter;
  if (adapter == nullptr) return;
  for (const LowRank& one : adapter->layers[layer].*product)
    ops::add_low_rank_cpu(one.a, one.b, one.rank, x, one.cols, y + one.first_column, one.rows);
}

void adapt(const StepContext& step, uint32_t layer, std::vector<LowRank> LayerAdapter::* product,
           Rows<const float> x, Rows<float> y) {
  if (!step.adapts) return;
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    adapt_row(step, row, layer, product, x[row], y[row]);
}

}  // namespace altlas::model
