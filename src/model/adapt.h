// What LoRA adapters add to the products of a step's rows.
#pragma once

#include <cstdint>
#include <vector>

#include "model/adapter.h"
#include "model/step_context.h"
#include "tensor/rows.h"

namespace altlas::model {

// For one row: y += what its adapter, if it has one, makes of x at this layer.
void adapt_row(const StepContext& step, size_t row, uint32_t layer,
               std::vector<LowRank> LayerAdapter::* product, const float* x, float* y);
// For rows that this thread alone reads next: y += what their adapters make of x at this layer.
void adapt(const StepContext& step, uint32_t layer, std::vector<LowRank> LayerAdapter::* product,
           Rows<const float> x, Rows<float> y);

}  // namespace altlas::model
