// What kinds of decoder there are: a table of facts, and a model's own numbers from its files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/rope_scaling.h"
#include "ops/rope/rope.h"

namespace altlas::model {

enum class GateKind : uint8_t { kSilu, kGelu };
// How a prompt's hidden states become one embedding.
enum class Pooling : uint8_t { kLast, kMean, kCls };
// Which layers see only a window where a file gives its size but not the layers.
enum class WindowRule : uint8_t {
  kNone,           // No layer, whatever the file says.
  kEvery,          // Every layer.
  kAllButEachNth,  // Every layer except each nth (window_period).
};

// One row per architecture: what its name implies and no number in the file says.
struct Architecture {
  std::string_view name;          // As GGUF's `general.architecture` spells it.
  std::string_view hugging_face;  // `model_type` of config.json.
  // For the file's q and k: GGUF files of some models have their rows reordered.
  ops::RopeStyle rope = ops::RopeStyle::kNeox;
  GateKind gate = GateKind::kSilu;
  bool encoder = false;  // BERT's layers: both directions, norms after branches, biases everywhere.
  bool qkv_bias = false;  // attn_q.bias, attn_k.bias, attn_v.bias.
  bool qk_norm = false;   // attn_q_norm, attn_k_norm: RMS norm of each head before rope.
  // post_attention_norm, post_ffw_norm: of each branch before it is added.
  bool post_norms = false;
  bool embedding_scale = false;       // Embeddings times sqrt(hidden).
  bool stored_gamma_minus_1 = false;  // Norms in Hugging Face checkpoints.
  WindowRule windows = WindowRule::kNone;
  uint32_t window_period = 0;
  double window_rope_base = 0;   // Rope base of window layers; 0: the model's.
  double attention_softcap = 0;  // Where the file does not say.
  double logit_softcap = 0;
  // Whether the weights of the experts used are normalized, where the file does not say.
  bool expert_weights_normalized = true;
};
std::span<const Architecture> architectures();
// Names of all of them, for messages: "llama, mistral, …".  hugging_face: as config.json has them.
std::string known_architectures(bool hugging_face);

// Limits on what a file may ask for.
inline constexpr uint32_t kLayersMax = 1024;
inline constexpr uint32_t kWidthMax = 1 << 20;
inline constexpr uint32_t kHeadsMax = 4096;
inline constexpr uint32_t kHeadDimMax = 4096;
inline constexpr uint32_t kVocabMax = 1 << 22;
inline constexpr uint32_t kContextMax = 1 << 27;
inline constexpr uint32_t kWindowMax = 1 << 24;
inline constexpr uint32_t kExpertsMax = 4096;
inline constexpr double kSoftcapMax = 1e6;

// Feed-forward experts: a router chooses some for each token.
struct ExpertConfig {
  uint32_t count = 0;  // 0: the model has none.
  uint32_t used = 0;   // How many experts each token uses.
  uint32_t feed_forward = 0;
  // The width of the expert that every token takes; 0: none.
  uint32_t shared_feed_forward = 0;
  bool normalized = true;  // The weights of those used add up to 1.
};

// A model's numbers, whatever the format of its files.
struct Hyperparameters {
  Architecture architecture;  // Some facts may be corrected by the file.
  uint32_t layer_count = 0;
  uint32_t hidden = 0;
  uint32_t feed_forward = 0;  // The width of layers without experts.
  uint32_t q_heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;  // A multiple of 16.
  uint32_t vocab_size = 0;
  uint32_t context_length = 0;
  float norm_eps = 1e-6f;
  uint32_t position_offset = 0;  // Encoders: rows of the position embedding before position 0.
  float norm_offset = 0;         // Added to norm weights as the files have them.
  float attention_scale = 0;
  float attention_softcap = 0;  // 0: none.
  float logit_softcap = 0;
  uint32_t window = 0;                 // Tokens; 0: every layer sees all.
  std::vector<uint8_t> window_layers;  // [layer_count]: 1 for one that sees the window only.
  RopeTable rope;
  RopeTable window_rope;  // The rotations of window layers.
  ExpertConfig experts;
  Pooling pooling = Pooling::kLast;

  bool is_window_layer(uint32_t layer) const { return window != 0 && window_layers[layer] != 0; }
  uint32_t q_width() const { return q_heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
};

// Sets window_layers by the architecture's rule.
void apply_window_rule(Hyperparameters& config);
// The last step of every reader: numbers within limits that fit each other.
// Errors: kInvalid, saying what is supported.
Result<void> check_config(const Hyperparameters& config);

}  // namespace altlas::model
