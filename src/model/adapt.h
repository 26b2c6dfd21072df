// What LoRA adapters add to the products of a step's rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/adapter.h"
#include "model/step_context.h"
#include "tensor/rows.h"

namespace altlas::model {

// One of the products that a layer of an adapter may add to.
using AdaptedProduct = std::vector<LowRank> LayerAdapter::*;

// What the adapter of a row has for this product of a layer; nothing where the row has no adapter.
std::span<const LowRank> pairs_of(const StepContext& step, size_t row, uint32_t layer,
                                  AdaptedProduct product);
// y += what the pairs make of x, a row of the product's input.
void add_pairs(std::span<const LowRank> pairs, const float* x, float* y);
// For rows that this thread alone reads next: y += what their adapters make of x at this layer.
void adapt(const StepContext& step, uint32_t layer, AdaptedProduct product, Rows<const float> x,
           Rows<float> y);

}  // namespace altlas::model
