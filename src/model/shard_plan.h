// ShardPlan: which part of a model a rank holds and computes. Weight layout, KV layout, decoder and
// the memory ledger all read it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/names.h"
#include "model/architecture.h"

namespace altlas::model {

// A rank's place in the layout of its replica.
struct RankShard {
  uint32_t tp_rank = 0;
  uint32_t tp_size = 1;
  uint32_t pp_rank = 0;
  uint32_t pp_size = 1;
  uint32_t ep_size = 1;  // Groups of tensor-parallel ranks over which experts are spread.
  std::vector<double> tensor_split;  // The share of each tensor-parallel rank; empty: equal ones.
  PipelineSplit pipeline_split = PipelineSplit::kBalanced;

  // Tells a share of a model's weights from others, in names of files.
  std::string name() const;
};

// [begin, end) of rows, heads or layers.
struct ShardRange {
  uint32_t begin = 0;
  uint32_t end = 0;

  uint32_t size() const { return end - begin; }
  bool holds(uint32_t index) const { return begin <= index && index < end; }
  friend bool operator==(const ShardRange&, const ShardRange&) = default;
};

// Query heads of a rank that share a KV head.
struct HeadGroup {
  uint32_t kv_head = 0;  // Among the model's, as the query heads.
  ShardRange q_heads;
  friend bool operator==(const HeadGroup&, const HeadGroup&) = default;
};

struct ShardPlan {
  // The layers of the rank's stage. The first stage has the embedding, the last one the head.
  ShardRange layers;
  bool first = true;
  bool last = true;
  // Heads that the rank attends with. A KV head whose query heads fall to several ranks is held,
  // and its keys and values are computed, by each of them.
  ShardRange q_heads;
  ShardRange kv_heads;
  std::vector<HeadGroup> head_groups;  // One per KV head, ascending.
  // Rows of the matrices that give the residual stream, of gate and up, of each expert's and the
  // shared expert's, of the router, and of the vocabulary.
  ShardRange hidden;
  ShardRange feed_forward;
  ShardRange expert_feed_forward;
  // The experts that the rank has a part of, and its rows of their down matrices.
  ShardRange experts;
  ShardRange expert_hidden;
  ShardRange shared_feed_forward;
  ShardRange router;
  ShardRange vocab;
  // Whether the heads of every rank of the group fill whole blocks of quantised activations.
  bool attends_whole_blocks = false;
};

// The parts of all tensor-parallel ranks of a stage, by rank. Every row of every matrix is in
// exactly one of them, but those of keys and values; parts are contiguous and ascend with the rank.
// With the same sizes and shares all ranks get the same answer. ep_size: the ranks form as many
// equal groups, each of which has some of the experts and shares their rows.
// Errors: kInvalid for more ranks than query heads, shares that are not positive numbers, one a
// rank, or groups that the ranks or the experts can't form; the message names sizes that work.
Result<std::vector<ShardPlan>> shard_plans(const Hyperparameters& config, uint32_t tp_size,
                                           std::span<const double> tensor_split,
                                           uint32_t ep_size = 1);

// Checks that `experts`, 0 for a dense model, can be spread over ep_size groups of tp_size ranks.
// Errors: kInvalid, naming sizes that work.
Result<void> check_expert_groups(uint32_t experts, uint32_t tp_size, uint32_t ep_size);

// The layers of each stage: balanced stages take equal times for a token, as far as whole layers
// allow, with the head counted in the last one; even stages have layers / stages each, the last one
// the rest as well.
// Errors: kInvalid for more stages than layers, naming the most that work.
Result<std::vector<ShardRange>> split_layers(const Hyperparameters& config, uint32_t stages,
                                             PipelineSplit split);

// The part of one rank.  Errors: as shard_plans and split_layers.
Result<ShardPlan> shard_plan(const Hyperparameters& config, const RankShard& shard);

}  // namespace altlas::model
