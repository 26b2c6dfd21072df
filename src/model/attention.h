// Attention: the part of a decoder between the product that gives q, k and v and the one that takes
// what the heads attended.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_part.h"
#include "model/decoder_weights.h"
#include "model/kv_group.h"
#include "model/step_context.h"
#include "ops/attention/attention.h"
#include "tensor/rows.h"

namespace altlas::model {

class Attention {
 public:
  // Takes its memory from `arena`. groups: none while measuring. threads: of the rank's team. What
  // is referred to outlives it.
  Attention(const DecoderPart& part, std::span<const KvGroup> groups, uint32_t threads,
            Workspace<Arena>& arena);

  // [step_tokens_max, q + k + v]: what the product before writes, of the rank's heads.
  Rows<float> qkv() const { return qkv_; }
  // [step_tokens_max, q]: what the product behind reads, of all heads.
  Rows<float> attended() const { return attended_; }
  // Tokens of an item (StepTokens) at most.
  size_t tokens_at_once() const { return shape(0).tokens_max(); }
  // The scratch bytes of each thread.
  uint64_t scratch_bytes() const { return ops::attention_scratch_bytes(shape(0)); }

  // What adapters add to qkv(), of step.normed.
  void adapt(const StepContext& step, uint32_t index);
  // Bias, norms and rope of q and k, k and v into the cache, then what every query attends, also
  // quantised for layer.output where it takes that. All threads; ends behind a barrier.
  void run(StepContext& step, const LayerWeights& layer, uint32_t index);

 private:
  // The place of a layer.
  struct Place {
    uint32_t group;
    uint32_t index;
  };
  // Columns of qkv() that hold some of the model's columns of q, k and v side by side.
  struct Columns {
    size_t whole;  // The first one among the model's.
    size_t own;    // The first one of qkv().
    size_t count;
  };
  // What is a KV head's.
  struct Head {
    ops::AttentionShape shape;  // This KV head's alone.
    size_t q;                   // Its query heads' first column in qkv().
    size_t attended;            // The same in attended().
    size_t width;               // The width of both.
    size_t kv;                  // Its own column among the rank's keys, and among the values.
  };
  std::array<Columns, 3> columns() const;
  Head head_of(uint32_t head, uint32_t window) const;
  ops::AttentionShape shape(uint32_t window) const;
  size_t q_width() const { return size_t{shard_.q_heads.size()} * config_.head_dim; }
  size_t kv_width() const { return size_t{shard_.kv_heads.size()} * config_.head_dim; }
  size_t turning(const KvGroup& group) const;
  bool quantizes_items(const StepContext& step, const Linear& next) const;
  void write_kv(StepContext& step, const LayerWeights& layer, const Place& place);
  void attend(StepContext& step, const LayerWeights& layer, const Place& place);
  void attend_token(StepContext& step, const LayerWeights& layer, const Place& place);
  void turn_head(StepContext& step, const LayerWeights& layer, const KvGroup& group,
                 uint32_t head) const;
  bool shares_token(const StepContext& step, const ops::AttentionShape& shape,
                    size_t position) const;
  ops::AttentionCall call_of(const Head& head, uint32_t index, std::byte* blocks,
                             size_t first_row) const;
  void attend_together(StepContext& step, const Place& place);

  const Hyperparameters& config_;
  const ShardPlan& shard_;
  const ops::KvLayout layout_;
  const std::span<const KvGroup> groups_;
  std::vector<Place> places_;  // [layers]
  Rows<float> qkv_, attended_;
  Rows<float> whole_;  // [threads, q + k + v of all heads]; where the rank has not all.
  // The partials of a token whose attention all threads of the rank share.
  Rows<float> partials_;  // [the rank's kv_heads, kSharedTiles * attention_partial_floats]
  Rows<float> states_;    // [the rank's q_heads, head_dim + 2 and padding]
};

}  // namespace altlas::model
