// What adapters add to the products of a step's rows.
#include "model/decoder.h"
#include "ops/low_rank/low_rank.h"

namespace altlas::model {

// For rows that this thread alone reads next: y += what their adapters make of x.
void Decoder::adapt(uint32_t thread, const LayerWeights& layer,
                    std::vector<LowRank> LayerAdapter::*product, const float* x, size_t x_stride,
                    float* y, size_t y_stride) const {
  if (!adapts_) return;
  const auto index = static_cast<size_t>(&layer - weights_.layers.data());
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) {
    const Adapter* adapter = step_entries_[tokens_[row].entry].adapter;
    if (adapter == nullptr) continue;
    for (const LowRank& one : adapter->layers[index].*product)
      ops::add_low_rank_cpu(one.a, one.b, one.rank, x + row * x_stride, one.cols,
                            y + row * y_stride + one.first_column, one.rows);
  }
}

}  // namespace altlas::model
