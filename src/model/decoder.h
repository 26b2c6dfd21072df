// Decoder: one forward step of a batch over packed weights and paged KV, on one team of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/cpu/team.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "model/attention.h"
#include "model/decoder_part.h"
#include "model/decoder_weights.h"
#include "model/experts.h"
#include "model/feed_forward.h"
#include "model/head.h"
#include "model/kv_group.h"
#include "model/layer_stream.h"
#include "model/op_clock.h"
#include "model/rank_group.h"
#include "model/step_context.h"
#include "model/step_tokens.h"
#include "ops/attention/kv_layout.h"
#include "tensor/rows.h"

namespace altlas::model {

// From this many per thread on, a rank's threads share a step's tokens, below the rows of its
// weights.
inline constexpr uint32_t kOwnTokens = 64;

// Threads: one, the team's leader. The ranks of a group make the same calls in the same order.
class Decoder {
 public:
  // Everything that is referred to outlives the decoder. workspace: of workspace_bytes(). The
  // group's shards are published before the first call.
  Decoder(const DecoderPart& part, std::span<const KvGroup> groups, Workspace<Arena> workspace,
          const RankTeam& team);

  static Workspace<uint64_t> workspace_bytes(const DecoderPart& part, const StepThreads& threads);

  // Runs the layers over all tokens (at most step_tokens_max together), writing their KV. Their
  // hidden states stay until the next call: row i is the ith token in order of entries.
  void forward(std::span<const BatchEntry> entries);
  // The head of the last forward().
  Head& head() { return parts_.head; }
  // From now on steps add to `times`; null: none. It outlives the decoder.
  void measure(OpTimes* times) {
    times_ = times;
    parts_.head.measure(times);
  }
  // From now on steps tell it which layer they are at; null: nobody. It outlives the decoder.
  void stream(LayerStream* stream) { stream_ = stream; }

 private:
  // What has memory of the workspace. T: step_tokens_max.
  struct Parts {
    Parts(const DecoderPart& part, std::span<const KvGroup> groups, const StepThreads& threads,
          const RankTeam& team, Workspace<Arena>& arena);

    // As StepContext has them, of a step of several tokens; the group's.
    Rows<float> x, normed, delta;  // [T, hidden]
    Rows<float> angles[2];         // [T, head_dim]
    Rows<float> inbox;             // [depth * T, hidden]; of stages behind the first.
    std::byte* staging;            // What a StageLink moves at once, where there are processes.
    std::byte* quantized;
    // The x of a step of one token, per thread of the rank; the group's first thread has its x in
    // the step's, where the head reads it.
    Rows<float> own_x, own_normed, own_angles[2];
    Rows<std::byte> own_quantized;
    Attention attention;
    FeedForward feed_forward;
    Experts experts;
    Rows<std::byte> scratch;  // Per thread of the rank.
    Head head;
  };
  // In which forms a norm's rows are needed.
  struct Forms {
    bool quantized;  // In StepContext::quantized.
    bool floats;     // In StepContext::normed.
  };

  StepContext context(uint32_t thread, uint32_t group_thread, std::span<const BatchEntry> entries);
  void run_layers(StepContext& step);
  void feed_forward(StepContext& step, uint32_t index);
  void begin_rows(StepContext& step) const;
  void begin_row(StepContext& step, size_t row) const;
  void embed(const StepToken& token, float* x) const;
  void merge_embeddings(StepContext& step) const;
  std::span<std::byte> inbox_rows() const;
  void send_on(const StepContext& step) const;
  Forms forms_of(const Linear& next) const;
  Forms feed_forward_forms(const LayerWeights& layer) const;
  void adapt_down(StepContext& step, uint32_t index) const;
  void add_branch(StepContext& step, size_t row, const float* post_norm, float* spare) const;
  void add_and_norm(StepContext& step, bool branch, const float* post_norm, const float* norm,
                    const Forms& forms) const;

  const Hyperparameters& config_;
  const ShardPlan& shard_;
  const DecoderWeights& weights_;
  const RankTeam team_;
  OpTimes* times_ = nullptr;
  LayerStream* stream_ = nullptr;
  Parts parts_;
  StepTokens tokens_;
  uint32_t steps_ = 0;          // Steps of forward() so far, modulo 2^32.
  bool shares_tokens_ = false;  // In this step; see kOwnTokens.
  bool adapts_ = false;         // Some entry of the step has an adapter.
};

}  // namespace altlas::model
