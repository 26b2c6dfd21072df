// What a decoder computes and where: a rank's part of a model, and the memory of a step.
#pragma once

#include <cstdint>

#include "model/architecture.h"
#include "model/shard_plan.h"
#include "ops/attention/kv_layout.h"

namespace altlas::model {

struct DecoderWeights;

// What is referred to outlives the decoder.
struct DecoderPart {
  const Hyperparameters& config;
  const ShardPlan& shard;
  const DecoderWeights& weights;
  ops::KvLayout layout;  // The layout of the rank's KV heads.
  uint32_t step_tokens_max;
};

// Who computes a step: the numbers of threads of the rank's team and of all ranks' teams in this
// process; how many steps are in flight at most; and in how many processes the stage has ranks.
struct StepThreads {
  uint32_t own;
  uint32_t group;
  uint32_t depth = 1;
  uint32_t processes = 1;
};

// Memory of a step: the rank's own, and that of its group.
template <class Piece>
struct Workspace {
  Piece own{};
  Piece shared{};
};

}  // namespace altlas::model
