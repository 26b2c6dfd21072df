// A rank's part of a decoder's weights in panels, laid into one buffer of the device.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/range.h"
#include "base/result.h"
#include "device/cpu/team.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "model/linear.h"
#include "model/shard_plan.h"
#include "weights/tensor_source.h"

namespace altlas::model {

// The feed-forward part of a layer where every token takes some of many.
struct ExpertWeights {
  Linear router;  // [experts (+ 1), hidden]; the last row: how much of the shared one.
  std::vector<Linear> gate_up;  // Per expert. Rows: gate, up.
  std::vector<Linear> down;
  Linear shared_gate_up;  // Without rows where there is none.
  Linear shared_down;
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // [hidden]
  Linear qkv;                             // Rows: q, k, v of the rank's heads.
  const float* qkv_bias = nullptr;        // [q + k + v] of the rank's heads, or null.
  const float* q_norm = nullptr;          // [head_dim], or null.
  const float* k_norm = nullptr;
  Linear output;
  const float* post_attention_norm = nullptr;  // [hidden], or null.
  const float* feed_forward_norm = nullptr;
  Linear gate_up;  // Rows: gate, up.
  Linear down;
  std::optional<ExpertWeights> experts;  // In place of gate_up and down.
  const float* post_feed_forward_norm = nullptr;
  // Encoders have these too; gate_up is the up matrix alone.
  const float* output_bias = nullptr;
  const float* post_attention_beta = nullptr;
  const float* up_bias = nullptr;
  const float* down_bias = nullptr;
  const float* post_feed_forward_beta = nullptr;
  Range bytes;  // Where the layer lies in the arena, from its start; empty: not on this rank.
};

struct DecoderWeights {
  std::vector<LayerWeights> layers;
  const float* output_norm = nullptr;
  Linear head;  // [the rank's part of the vocabulary, hidden]
  // The embedding of the same ids: the head's rows where the model shares them, otherwise the
  // file's rows as they are.
  bool tied = false;
  DType embedding_type{};
  const std::byte* embedding = nullptr;
  // Encoders only, without a head; output_norm is the embedding's there.
  const float* embedding_beta = nullptr;
  const float* token_type = nullptr;          // [hidden]: of the first type.
  const float* position_embedding = nullptr;  // [context, hidden]
  uint64_t parameters = 0;                    // The parameters of the model as a whole.
};

// What a rank holds of a model's file.
struct WeightSource {
  const weights::TensorSource& file;
  const Hyperparameters& config;
  const ShardPlan& shard;
};

// Takes the shard's pieces from `arena` and, unless it is only measuring, fills them, packing with
// the whole team; only they are read. team: may be null while measuring.  progress: 0 … 1, may be
// empty. Errors: kNotFound for a missing tensor, kInvalid for one of a wrong shape or a type we do
// not support.
Result<DecoderWeights> lay_out_weights(const WeightSource& source, Arena& arena, device::Team* team,
                                       const std::function<void(double)>& progress);

}  // namespace altlas::model
