// Encoder: one forward step of whole texts whose tokens see each other in both directions (BERT).
#pragma once

#include <cstdint>
#include <span>

#include "device/cpu/team.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_weights.h"
#include "model/kv_group.h"
#include "model/step_tokens.h"
#include "ops/attention/attention.h"
#include "tensor/rows.h"

namespace altlas::model {

// What is referred to outlives the encoder.
struct EncoderPart {
  const Hyperparameters& config;
  const DecoderWeights& weights;
  ops::KvLayout layout;
  uint32_t step_tokens_max;
};

// Keys and values of one layer are in the KV blocks at a time: they serve one step only.
// Threads: one, the team's leader.
class Encoder {
 public:
  // Everything referred to outlives the encoder. workspace: of workspace_bytes().
  Encoder(const EncoderPart& part, const KvGroup& group, Arena workspace, device::Team& team);

  static uint64_t workspace_bytes(const EncoderPart& part, uint32_t threads);

  // Runs all layers over whole texts: each entry starts at position 0. Their hidden states stay
  // until the next call: row i is the ith token in order of entries.
  void forward(std::span<const BatchEntry> entries);
  std::span<const float> hidden(size_t row) const { return {work_.x[row], config_.hidden}; }

 private:
  // Pieces of the workspace. T: step_tokens_max.
  struct Work {
    Rows<float> x;         // [T, hidden]
    Rows<float> delta;     // [T, hidden]
    Rows<float> qkv;       // [T, 3 * hidden]
    Rows<float> attended;  // [T, hidden]
    Rows<float> wide;      // [T, feed_forward]
    std::byte* quantized = nullptr;
    Rows<std::byte> scratch;  // Per thread.
  };
  static Work lay_out(Arena& arena, const EncoderPart& part, uint32_t threads);
  void run_layers(uint32_t thread, std::span<const BatchEntry> entries);
  void embed(const StepToken& token, float* x) const;
  void attend(uint32_t thread, std::span<const BatchEntry> entries);
  // This thread's share of y = x W, after all have quantised their rows of x.
  void product(uint32_t thread, const Linear& linear, Rows<const float> x, Rows<float> y);
  // x = norm(x + delta + bias) of this thread's rows.
  void add_and_norm(const Range& own, const float* bias, const float* gamma, const float* beta);

  const Hyperparameters& config_;
  const DecoderWeights& weights_;
  const KvGroup& group_;
  const ops::KvLayout layout_;
  device::Team& team_;
  const Work work_;
  StepTokens tokens_;
};

}  // namespace altlas::model
