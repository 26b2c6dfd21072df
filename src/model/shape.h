// From a file's metadata and options to everything a rank will hold, before anything is allocated.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "model/adapter.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "model/decoder_part.h"
#include "model/draft.h"
#include "model/layer_stream.h"
#include "model/load_weights.h"
#include "model/model_file.h"
#include "model/rank.h"
#include "ops/attention/kv_layout.h"

namespace altlas::model {

inline constexpr uint32_t kSequencesMax = 65536;
inline constexpr uint32_t kStepTokensMax = 1 << 20;
inline constexpr uint32_t kSwapPlacesMax = 1 << 24;

struct RankPlan {
  Hyperparameters config;
  ShardPlan shard;
  ops::KvLayout layout;         // The layout of the rank's KV heads.
  std::vector<KvGroup> groups;  // blocks set, data null.
  ReplicaShape shape;
  WeightBytes weight_bytes;  // The model's own; shape.weight_bytes counts those booked.
  StreamPlan stream;
  // The parts of shape.activation_bytes: whole pages that are the rank's own, and its part of what
  // the group shares.
  Workspace<uint64_t> activation_bytes;
  std::vector<CheckedAdapter> adapters;
  std::unique_ptr<DraftPlan> draft;  // Null: none. Its groups' blocks are set.
};

// Errors: as load_shape.
Result<RankPlan> plan_rank(const ModelFile& file, const LoadOptions& options, uint64_t memory_bytes,
                           uint32_t threads);

}  // namespace altlas::model
