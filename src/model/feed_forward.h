// FeedForward: the gated part of a decoder's layer; also what experts use for theirs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_part.h"
#include "model/decoder_weights.h"
#include "model/step_context.h"
#include "tensor/rows.h"

namespace altlas::model {

// Where a gated product goes: the next product's input, in the form that it takes.
struct Gated {
  size_t column;  // Where the rank's part of a row begins.
  size_t wide;
  bool takes_quantized;
  std::byte* quantized;  // [tokens], rows of `wide`.
  Rows<float> values;    // [tokens, 2 * wide], of which the first half of a row is used.

  ops::Activations input(size_t tokens) const {
    return {
        .tokens = tokens, .quantized = quantized, .values = values.data, .stride = values.stride};
  }
};

class FeedForward {
 public:
  // Takes its memory from `arena`. threads: of the rank's team. What is referred to outlives it.
  FeedForward(const DecoderPart& part, uint32_t threads, Workspace<Arena>& arena);

  // delta = down(act(gate) * up) of step.normed, of all tokens. All threads; what others made of
  // delta is there behind step.meet_products(), which it ends with.
  void run(StepContext& step, const LayerWeights& layer, uint32_t index);
  // What run() gave the product of layer.down, in floats; where adapters read it.
  Rows<float> gated_values(const Linear& down) const {
    return gated_for(down, shard_.feed_forward).values;
  }

  // A share of the product of gate and up with x, gated: of the rank's columns.
  void multiply_gated(StepContext& step, const ProductShare& share, const Linear& gate_up,
                      const ops::Activations& x, const Gated& to);
  // This part's own memory, for all tokens.
  Gated gated_for(const Linear& down, const ShardRange& columns) const;

 private:
  void gate_row(const float* gate, const float* up, size_t wide, float* product) const;
  void gate(const StepContext& step, const Linear& down);
  void gate_chunk(const float* gate, const float* up, const Range& rows, const Range& columns,
                  const Gated& to) const;

  const Hyperparameters& config_;
  const ShardPlan& shard_;
  float* wide_;          // [step_tokens_max, 2 * the widest]: gate, up; the product lies over gate.
  std::byte* gated_;     // [step_tokens_max], quantised.
  Rows<float> chunks_;   // [threads of the rank, kGateFloats]
  const size_t tokens_;  // step_tokens_max.
};

}  // namespace altlas::model
