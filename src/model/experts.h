// Experts: the feed-forward part of layers where every token takes some of many. Tokens are sorted
// by expert, so that each expert's weights are read once for all its tokens; a token's experts are
// added in ascending order, so its bits do not depend on the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_weights.h"
#include "model/feed_forward.h"
#include "model/step_context.h"
#include "tensor/rows.h"

namespace altlas::model {

class Experts {
 public:
  // Takes its memory from `arena`: none for a model without experts. threads: of the rank's team.
  // feed_forward: multiplies, and holds what the shared expert makes. What is referred to outlives
  // it.
  Experts(const DecoderPart& part, uint32_t threads, FeedForward& feed_forward,
          Workspace<Arena>& arena);

  // delta = what each token's experts make of step.normed, by their shares. All threads, which have
  // met before; ends behind a barrier.
  void run(StepContext& step, const ExpertWeights& layer);

 private:
  void run_tokens(StepContext& step, const ExpertWeights& layer);
  void run_token(StepContext& step, const ExpertWeights& layer);
  void place_tokens(StepContext& step, const ExpertWeights& layer);
  void choose(const Range& own);
  void sort_places(size_t tokens);
  void gather(const StepContext& step, const Linear& next);
  Range down_share(const StepContext& step, const Linear& linear, const Gated& from,
                   float* y) const;
  void add_token(StepContext& step, const ExpertWeights& layer, const Gated& shared_gated);
  void add_experts(const StepContext& step);
  void mix(const Range& columns, const float* router, const float* shares, const auto& row_of,
           float* delta) const;
  Gated gated_for(const Linear& down, size_t place) const;
  Gated shared_gated_for(const Linear& down) const;

  const Hyperparameters& config_;
  const ShardPlan& shard_;
  FeedForward& feed_forward_;
  // T: step_tokens_max. A token has `used` places; those of an expert lie together.
  Rows<float> router_;              // [T, experts (+ 1)]
  Rows<uint32_t> chosen_;           // [T, used]: experts, ascending.
  Rows<float> shares_;              // [T, used]: their weights.
  Rows<uint32_t> place_;            // [T, used]
  uint32_t* row_at_ = nullptr;      // [T * used]: the token of a place.
  uint32_t* first_ = nullptr;       // [experts + 1]: an expert's first place.
  Rows<float> rows_;                // [T * used, hidden]: inputs, then outputs.
  Rows<float> wide_;                // [T * used, 2 * experts' feed_forward]
  std::byte* quantized_ = nullptr;  // [T * used], rows of `hidden`.
  std::byte* gated_ = nullptr;      // [T * used], rows of the experts' feed_forward.
  // In a step of one token every thread chooses for itself.
  Rows<uint32_t> own_chosen_;  // [threads, used]
  Rows<float> own_shares_;     // [threads, used]
};

}  // namespace altlas::model
