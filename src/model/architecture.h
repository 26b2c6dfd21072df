// What kinds of decoder there are: a table of facts, and a model's own numbers from its file.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/rope/rope.h"
#include "weights/gguf_model.h"

namespace altlas::model {

enum class GateKind : uint8_t { kSilu, kGelu };

// One row per architecture: what `general.architecture` implies and no number in the file says.
struct Architecture {
  std::string_view name;
  ops::RopeStyle rope = ops::RopeStyle::kNeox;
  GateKind gate = GateKind::kSilu;
  bool qkv_bias = false;  // attn_q.bias, attn_k.bias, attn_v.bias.
  bool qk_norm = false;   // attn_q_norm, attn_k_norm: RMS norm of each head before rope.
  bool post_norms =
      false;  // post_attention_norm, post_ffw_norm: of each branch before it is added.
  bool embedding_scale = false;  // Embeddings times sqrt(hidden).
  uint32_t window_period = 0;    // n: layers use the window except every nth; 0: no window.
  double window_rope_base = 0;   // Rope base of window layers; 0: the model's.
};
std::span<const Architecture> architectures();

// Limits on what a file may ask for.
inline constexpr uint32_t kLayersMax = 1024;
inline constexpr uint32_t kWidthMax = 1 << 20;
inline constexpr uint32_t kHeadsMax = 4096;
inline constexpr uint32_t kVocabMax = 1 << 22;

// A model's numbers. Values as GGUF's keys name them.
struct ModelConfig {
  Architecture architecture;
  uint32_t layer_count = 0;
  uint32_t hidden = 0;
  uint32_t feed_forward = 0;
  uint32_t q_heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;  // A multiple of 16.
  uint32_t vocab_size = 0;
  uint32_t context_length = 0;
  float norm_eps = 1e-6f;
  float attention_scale = 0;
  float attention_softcap = 0;  // 0: none.
  float logit_softcap = 0;
  uint32_t window = 0;                        // Tokens; 0: every layer sees all.
  std::vector<double> rope_frequency;         // [head_dim / 2]
  std::vector<double> window_rope_frequency;  // Of window layers.

  bool is_window_layer(uint32_t layer) const {
    return window != 0 && (layer + 1) % architecture.window_period != 0;
  }
  uint32_t q_width() const { return q_heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
};

// Errors: kInvalid: an architecture or value that we do not support, saying what we do.
Result<ModelConfig> read_config(const weights::GgufModel& file);

}  // namespace altlas::model
