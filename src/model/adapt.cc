#include "model/adapt.h"

#include "ops/low_rank/low_rank.h"

namespace altlas::model {

void adapt(const StepContext& step, uint32_t layer, std::vector<LowRank> LayerAdapter::* product,
           Rows<const float> x, Rows<float> y) {
  if (!step.adapts) return;
  for (size_t row = step.own.begin; row < step.own.end; ++row) {
    const Adapter* adapter = step.entries[step.tokens[row].entry].adapter;
    if (adapter == nullptr) continue;
    for (const LowRank& one : adapter->layers[layer].*product)
      ops::add_low_rank_cpu(one.a, one.b, one.rank, x[row], one.cols, y[row] + one.first_column,
                            one.rows);
  }
}

}  // namespace altlas::model
