// Decoder: one forward step of a batch over packed weights and paged KV, on one team of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "device/cpu/team.h"
#include "model/adapter.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_weights.h"
#include "model/op_clock.h"
#include "model/step_tokens.h"
#include "ops/attention/attention.h"
#include "ops/matmul/matmul.h"
#include "ops/sample/row_sampler.h"
#include "ops/sample/sample.h"

namespace altlas::model {

inline constexpr uint32_t kHeadRowsMax = 64;      // Rows of logits computed at once.
inline constexpr uint32_t kSampledRowsMax = 32;   // Rows with a sampler's memory.
inline constexpr uint32_t kHeadChunkPanels = 32;  // Of the head, between two looks for the best.
inline constexpr uint32_t kSharedTiles = 64;      // Of one token's attention, between two merges.
inline constexpr uint32_t kGateFloats = 1 << 16;  // Of gate and up that a thread holds at once.
inline constexpr uint32_t kOwnTokens = 64;  // From so many per thread on, threads share a step's
                                            // tokens, below the rows of its weights.

// The KV of the layers that share a window.
struct KvGroup {
  uint32_t window = 0;           // Tokens; 0: all.
  std::vector<uint32_t> layers;  // Of the model, ascending.
  uint32_t blocks = 0;
  std::byte* data = nullptr;  // [layers][blocks][layout.block_bytes()]

  uint64_t block_bytes(const ops::KvLayout& layout) const {
    return layers.size() * layout.block_bytes();
  }
  std::byte* layer_data(const ops::KvLayout& layout, size_t index) const {
    return data + index * blocks * layout.block_bytes();
  }
};

// Groups of a model: every layer in one; full attention first. Encoders: one layer's, for all.
std::vector<KvGroup> kv_groups(const ModelConfig& config);

// Threads: one, the team's leader.
class Decoder {
 public:
  // Everything referred to outlives the decoder. workspace: of workspace_bytes().
  Decoder(const ModelConfig& config, const DecoderWeights& weights, std::span<const KvGroup> groups,
          const ops::KvLayout& layout, uint32_t step_tokens_max, Arena workspace,
          device::Team& team);

  static uint64_t workspace_bytes(const ModelConfig& config, const DecoderWeights& weights,
                                  const ops::KvLayout& layout, uint32_t step_tokens_max,
                                  uint32_t threads);

  // Runs the layers over all tokens (at most step_tokens_max together), writing their KV. Their
  // hidden states stay until the next call: row i is the ith token in order of entries.
  void forward(std::span<const BatchEntry> entries);
  // Computes the logits of some rows, at most kHeadRowsMax, piece by piece: look(thread, i, first,
  // logits, count) sees those of ids [first, first + count) of row i while they are in its thread's
  // cache, and may change them. Pieces begin at multiples of ops::kSampleRun; a thread's share of
  // the ids comes in order, and shares ascend with the thread. Once all have been seen,
  // finish(thread, i) is called once for each row by some thread of the team.
  template <class Look, class Finish>
  void head(std::span<const uint32_t> rows, Look&& look, Finish&& finish) {
    team_.run([&](uint32_t thread) {
      OpClock clock(thread == 0 ? times_ : nullptr);
      norm_head_rows(thread, rows);
      clock.lap(Op::kNorm);
      constexpr size_t kWidth = size_t{kHeadChunkPanels} * ops::kPanelRows;
      const auto own = head_share(thread);
      for (size_t first = own.begin; first < own.end; first += kWidth) {
        const size_t count = std::min(kWidth, own.end - first);
        float* logits = head_chunk(thread, rows.size(), first, count);
        clock.lap(Op::kHead);
        for (size_t i = 0; i < rows.size(); ++i) look(thread, i, first, logits + i * kWidth, count);
        clock.lap(Op::kSample);
      }
      team_.barrier();
      clock.lap(Op::kHead, weights_.head.bytes,
                uint64_t{weights_.head.rows} * weights_.head.cols * rows.size());
      for (size_t i = thread; i < rows.size(); i += team_.size()) finish(thread, i);
      clock.lap(Op::kSample);
    });
  }
  // From finish(), for the row it is called with: the logits of ids [first, first + count) once
  // more, with the same bits. first: a multiple of ops::kAgainStep; out: room for whole such steps,
  // at most ops::kSampleRun.
  void logits_again(uint32_t thread, size_t i, size_t first, size_t count, float* out) const;
  // What a sampler of row i may use, i < kSampledRowsMax.
  std::byte* sampler_memory(size_t i) const {
    return work_.samplers + i * ops::RowSampler::bytes(config_.vocab_size, team_.size());
  }
  // A row's hidden state as the head takes it, out [hidden]. Of the last forward().
  void final_hidden(size_t row, std::span<float> out) const;
  // The likeliest token of each row, as ops::argmax_cpu of its logits, which are not kept: at most
  // kHeadRowsMax.
  void best_tokens(std::span<const uint32_t> rows, std::span<int32_t> out);
  // From now on steps add to `times`; null: none. It outlives the decoder.
  void measure(OpTimes* times) { times_ = times; }

 private:
  // Pieces of the workspace. T: step_tokens_max.
  struct Work {
    float* x = nullptr;              // [T, hidden]: the residual stream.
    float* normed = nullptr;         // [T, hidden]
    float* delta = nullptr;          // [T, hidden]: what the last branch adds.
    float* qkv = nullptr;            // [T, q + k + v]
    float* attended = nullptr;       // [T, q]
    float* wide = nullptr;           // [T, 2 * feed_forward]: gate, up; the product lies over gate.
    float* angles[2] = {};           // [T, 2, head_dim / 2]: full, window.
    std::byte* quantized = nullptr;  // Of the next product's input; of down's:
    std::byte* gated = nullptr;
    float* gate_chunk = nullptr;    // [threads, kGateFloats]
    std::byte* samplers = nullptr;  // [kSampledRowsMax]: of ops::RowSampler.
    float* head_chunk = nullptr;    // [threads, kHeadRowsMax, kHeadChunkPanels * 16]
    ops::Best* best = nullptr;      // [threads, kHeadRowsMax]
    // Of a token's attention that all threads share.
    float* partials = nullptr;         // [kv_heads, kSharedTiles, attention_partial_floats]
    float* attention_state = nullptr;  // [q_heads, state_stride()]
    std::byte* scratch = nullptr;      // [threads, scratch_bytes]
    uint64_t scratch_bytes = 0;
    // Of layers with experts. S: T * experts used; a token has that many places, those of an expert
    // lie together.
    float* router = nullptr;                // [T, experts (+ 1)]
    uint32_t* chosen = nullptr;             // [T, used]: experts, ascending.
    float* share = nullptr;                 // [T, used]: their weights.
    uint32_t* place = nullptr;              // [T, used]
    uint32_t* row_at = nullptr;             // [S]: the token of a place.
    uint32_t* first = nullptr;              // [experts + 1]: an expert's first place.
    float* expert_rows = nullptr;           // [S, hidden]: inputs, then outputs.
    float* expert_wide = nullptr;           // [S, 2 * experts' feed_forward]
    std::byte* expert_quantized = nullptr;  // [S], rows of `hidden`.
    std::byte* expert_gated = nullptr;      // [S], rows of the experts' feed_forward.
  };
  // A thread's own copies in a step of one token: every thread computes what has one row for
  // itself, which saves half of the barriers.
  struct Single {
    float* x;              // [hidden]; thread 0's is the step's.
    float* normed;         // [hidden]
    float* angles[2];      // [2, head_dim / 2]
    std::byte* quantized;  // One row of the widest input.
    uint32_t* chosen;      // [experts used]
    float* share;          // [experts used]
  };
  static Work lay_out(Arena& arena, const ModelConfig& config, const DecoderWeights& weights,
                      const ops::KvLayout& layout, uint32_t step_tokens_max, uint32_t threads,
                      std::vector<Single>& singles);

  void adapt(uint32_t thread, const LayerWeights& layer,
             std::vector<LowRank> LayerAdapter::* product, const float* x, size_t x_stride,
             float* y, size_t y_stride) const;
  void run_layers(uint32_t thread, std::span<const BatchEntry> entries);
  // The same for a step of one token.
  void run_single(uint32_t thread, const BatchEntry& entry);
  static Single single_at(Arena& arena, const ModelConfig& config);
  void attend_single(uint32_t thread, const Single& own, const BatchEntry& entry,
                     const LayerWeights& layer, uint32_t layer_index);
  bool shares_attention(const ops::AttentionShape& shape, size_t position) const;
  void attend_together(uint32_t thread, const ops::AttentionShape& shape, ops::AttentionCall call);
  static size_t state_stride(uint32_t head_dim) { return (head_dim + 2 + 15) / 16 * 16; }
  void add_branch(const float* post_norm, const Single& own) const;
  void norm_single(const float* norm, bool quantize, const Single& own) const;
  void run_experts_single(uint32_t thread, const Single& own, const ExpertWeights& layer,
                          const ops::Activations& x, OpClock& clock);
  void embed(const StepToken& token, float* x, float* angles, float* window_angles) const;
  // In which forms a norm's rows are needed: int8 in work_.quantized, floats in work_.normed.
  struct Forms {
    bool quantized;
    bool floats;
  };
  Forms forms_of(const Linear& next) const;
  Forms feed_forward_forms(const LayerWeights& layer) const;
  void add_and_norm(uint32_t thread, const float* post_norm, const float* norm, const Forms& forms,
                    bool add);
  // What a thread multiplies of a product: share `index` of `count` of the rows, for some tokens.
  struct Share {
    uint32_t thread;
    device::Range tokens;
    uint32_t index, count;
  };
  Share share_of_rows(uint32_t thread, size_t tokens) const {
    return {thread, {0, tokens}, thread, team_.size()};
  }
  Share share_of_step(uint32_t thread) const {
    if (!shares_tokens_) return share_of_rows(thread, tokens_.size());
    return {thread, device::split(tokens_.size(), thread, team_.size()), 0, 1};
  }
  // Before a thread reads what the others made of their share_of_step().
  void meet() {
    if (!shares_tokens_) team_.barrier();
  }
  // x and y: of all tokens.
  void multiply(const Share& share, const Linear& linear, const ops::Activations& x, float* y,
                size_t y_stride) {
    linear.multiply(x.rows(share.tokens.begin, share.tokens.end, linear.cols),
                    y + share.tokens.begin * y_stride, y_stride, share.index, share.count,
                    scratch(share.thread));
  }
  void multiply(uint32_t thread, const Linear& linear, const ops::Activations& x, float* y,
                size_t y_stride) {
    multiply(share_of_rows(thread, x.tokens), linear, x, y, y_stride);
  }
  ops::Activations input(size_t tokens, const float* x, size_t stride) const {
    return {.tokens = tokens, .quantized = work_.quantized, .values = x, .stride = stride};
  }
  void gate_row(const float* gate, const float* up, size_t wide, float* product) const;
  // Where a gated product goes: the next product's input, in the form that it takes.
  struct Gated {
    size_t wide;
    bool takes_quantized;
    std::byte* quantized;  // [tokens], rows of `wide`.
    float* values;         // [tokens, 2 * wide], of which the first half of a row is used.

    ops::Activations input(size_t tokens) const {
      return {.tokens = tokens, .quantized = quantized, .values = values, .stride = 2 * wide};
    }
  };
  Gated gated_for(const Linear& down) const {
    return {down.cols, down.takes_quantized, work_.gated, work_.wide};
  }
  // The same of experts, from a place on.
  Gated expert_gated_for(const Linear& down, size_t place) const {
    return {down.cols, down.takes_quantized,
            work_.expert_gated + place * ops::quantized_bytes(1, down.cols),
            work_.expert_wide + place * 2 * down.cols};
  }
  // A share of the product of gate and up with x, gated.
  void multiply_gated(const Share& share, const Linear& gate_up, const ops::Activations& x,
                      const Gated& to, OpClock& clock);
  void multiply_gated(uint32_t thread, const Linear& gate_up, const ops::Activations& x,
                      const Gated& to, OpClock& clock) {
    multiply_gated(share_of_rows(thread, x.tokens), gate_up, x, to, clock);
  }
  void gate_chunk(const float* gate, const float* up, const device::Range& rows,
                  const device::Range& columns, const Gated& to) const;
  void write_kv(uint32_t thread, std::span<const BatchEntry> entries, const LayerWeights& layer,
                uint32_t layer_index);
  void attend(uint32_t thread, std::span<const BatchEntry> entries, uint32_t layer_index);
  // Whether attend() quantises what it attends, an item at a time.
  bool quantizes_items(const Linear& next) const;
  void feed_forward(uint32_t thread, const LayerWeights& layer, OpClock& clock);
  void gate(uint32_t thread, const Linear& next);
  // The same by experts; all threads, with barriers inside.
  void run_experts(uint32_t thread, const ExpertWeights& layer, OpClock& clock);
  static void lay_out_experts(Arena& arena, const ModelConfig& config, uint64_t tokens, Work& work);
  void choose(const device::Range& own);
  void sort_places();
  void gather(uint32_t thread, const Linear& next);
  void add_experts(const device::Range& own, bool shared);
  void norm_head_rows(uint32_t thread, std::span<const uint32_t> rows);
  device::Range head_share(uint32_t thread) const;
  float* head_chunk(uint32_t thread, size_t rows, size_t first, size_t count);
  void find_best(uint32_t thread, size_t rows);
  std::byte* scratch(uint32_t thread) const { return work_.scratch + thread * work_.scratch_bytes; }
  ops::AttentionShape attention_shape(uint32_t window) const;

  const ModelConfig& config_;
  const DecoderWeights& weights_;
  const std::span<const KvGroup> groups_;
  const ops::KvLayout layout_;
  device::Team& team_;
  OpTimes* times_ = nullptr;
  std::vector<Single> singles_;  // Per thread.
  const Work work_;
  struct Place {
    uint32_t group;
    uint32_t index;
  };
  std::vector<Place> place_of_layer_;
  StepTokens tokens_;
  std::span<const BatchEntry> step_entries_;
  bool shares_tokens_ = false;  // In this step; see kOwnTokens.
  bool adapts_ = false;         // Some entry of the step has an adapter.
};

}  // namespace altlas::model
