// Attention: the part of a decoder between the product that gives q, k and v and the one that takes
// what the heads attended.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_weights.h"
#include "model/kv_group.h"
#include "model/step_context.h"
#include "ops/attention/attention.h"
#include "tensor/rows.h"

namespace altlas::model {

class Attention {
 public:
  // Takes its memory from `arena`. groups: none while measuring. What is referred to outlives it.
  Attention(const Hyperparameters& config, const ops::KvLayout& layout,
            std::span<const KvGroup> groups, uint32_t step_tokens_max, Arena& arena);

  // [step_tokens_max, q + k + v]: what the product before writes.
  Rows<float> qkv() const { return qkv_; }
  // [step_tokens_max, q]: what the product behind reads.
  Rows<float> attended() const { return attended_; }
  // Tokens of an item (StepTokens) at most.
  size_t tokens_at_once() const { return shape(0).tokens_max(); }
  // The scratch bytes of each thread.
  uint64_t scratch_bytes() const { return ops::attention_scratch_bytes(shape(0)); }

  // Bias, norms and rope of q and k, k and v into the cache, then what every query attends, also
  // quantised for layer.output where it takes that. All threads; ends behind a barrier.
  void run(StepContext& step, const LayerWeights& layer, uint32_t index);

 private:
  // The place of a layer.
  struct Place {
    uint32_t group;
    uint32_t index;
  };
  ops::AttentionShape shape(uint32_t window) const;
  size_t turning(const KvGroup& group) const;
  bool quantizes_items(const Linear& next) const;
  void write_kv(StepContext& step, const LayerWeights& layer, const Place& place);
  void attend(StepContext& step, const LayerWeights& layer, const Place& place);
  void attend_token(StepContext& step, const LayerWeights& layer, const Place& place);
  void turn_head(StepContext& step, const LayerWeights& layer, const KvGroup& group,
                 uint32_t head) const;
  bool shares_token(const StepContext& step, const ops::AttentionShape& shape,
                    size_t position) const;
  void attend_together(StepContext& step, const ops::AttentionShape& shape,
                       ops::AttentionCall call);

  const Hyperparameters& config_;
  const ops::KvLayout layout_;
  const std::span<const KvGroup> groups_;
  std::vector<Place> places_;  // [layers]
  Rows<float> qkv_, attended_;
  // The partials of a token whose attention all threads share.
  Rows<float> partials_;  // [kv_heads, kSharedTiles * attention_partial_floats]
  Rows<float> states_;    // [q_heads, head_dim + 2 and padding]
};

}  // namespace altlas::model
