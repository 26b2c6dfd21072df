#include "model/architecture.h"

#include <fmt/format.h>

namespace altlas::model {
namespace {
using ops::RopeStyle;

// Sources: the models' reference implementations in transformers, and the GGUF specification for
// what a converter has already done (llama's q and k rows reordered for adjacent pairs; gemma's
// norms stored with their 1 added). Mistral and Mixtral are "llama" in GGUF files.
constexpr Architecture kArchitectures[] = {
    {.name = "llama", .hugging_face = "llama", .rope = RopeStyle::kAdjacent},
    {.name = "mistral", .hugging_face = "mistral", .windows = WindowRule::kEvery},
    {.name = "mixtral", .hugging_face = "mixtral", .windows = WindowRule::kEvery},
    {.name = "qwen2", .hugging_face = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .hugging_face = "qwen3", .qk_norm = true},
    {.name = "qwen2moe",
     .hugging_face = "qwen2_moe",
     .qkv_bias = true,
     .expert_weights_normalized = false},
    {.name = "qwen3moe", .hugging_face = "qwen3_moe", .qk_norm = true},
    {.name = "gemma2",
     .hugging_face = "gemma2",
     .gate = GateKind::kGelu,
     .post_norms = true,
     .embedding_scale = true,
     .stored_gamma_minus_1 = true,
     .windows = WindowRule::kAllButEachNth,
     .window_period = 2,
     .attention_softcap = 50,
     .logit_softcap = 30},
    {.name = "gemma3",
     .hugging_face = "gemma3_text",
     .gate = GateKind::kGelu,
     .qk_norm = true,
     .post_norms = true,
     .embedding_scale = true,
     .stored_gamma_minus_1 = true,
     .windows = WindowRule::kAllButEachNth,
     .window_period = 6,
     .window_rope_base = 10000},
    {.name = "bert", .hugging_face = "bert", .encoder = true},
};

struct Bound {
  const char* what;
  uint32_t value, max;
};

Result<void> check_experts(const ExpertConfig& experts) {
  if (experts.count == 0) return {};
  const Bound bounds[] = {{"experts", experts.count, kExpertsMax},
                          {"experts used", experts.used, experts.count},
                          {"expert feed-forward width", experts.feed_forward, kWidthMax}};
  for (const Bound& bound : bounds)
    if (bound.value < 1 || bound.value > bound.max)
      return invalid(fmt::format("the model's {}: {}; from 1 to {} is supported", bound.what,
                                 bound.value, bound.max));
  if (experts.shared_feed_forward > kWidthMax)
    return invalid(fmt::format("the model's shared expert is {} wide; up to {} is supported",
                               experts.shared_feed_forward, kWidthMax));
  return {};
}

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

std::string known_architectures(bool hugging_face) {
  std::string known;
  for (const Architecture& row : kArchitectures)
    known += (known.empty() ? "" : ", ") + std::string(hugging_face ? row.hugging_face : row.name);
  return known;
}

void apply_window_rule(Hyperparameters& config) {
  const Architecture& kind = config.architecture;
  config.window_layers.assign(config.layer_count, 0);
  if (kind.windows == WindowRule::kNone) config.window = 0;
  for (uint32_t layer = 0; layer < config.layer_count; ++layer)
    config.window_layers[layer] =
        kind.windows == WindowRule::kEvery ||
        (kind.windows == WindowRule::kAllButEachNth && (layer + 1) % kind.window_period != 0);
}

Result<void> check_config(const Hyperparameters& config) {
  const Bound bounds[] = {{"layers", config.layer_count, kLayersMax},
                          {"hidden width", config.hidden, kWidthMax},
                          {"feed-forward width", config.feed_forward, kWidthMax},
                          {"query heads", config.q_heads, kHeadsMax},
                          {"KV heads", config.kv_heads, kHeadsMax},
                          {"head size", config.head_dim, kHeadDimMax},
                          {"vocabulary", config.vocab_size, kVocabMax},
                          {"context", config.context_length, kContextMax}};
  for (const Bound& bound : bounds)
    if (bound.value < 1 || bound.value > bound.max)
      return invalid(fmt::format("the model's {}: {}; from 1 to {} is supported", bound.what,
                                 bound.value, bound.max));
  if (config.head_dim % 16 != 0)
    return invalid(
        fmt::format("heads of {} values: a multiple of 16 is supported", config.head_dim));
  if (config.q_heads % config.kv_heads != 0)
    return invalid(fmt::format("{} query heads can't share {} KV heads evenly", config.q_heads,
                               config.kv_heads));
  if (config.q_heads / config.kv_heads > 128)
    return invalid("more than 128 query heads share a KV head");
  if (uint64_t{config.q_heads} * config.head_dim > kWidthMax)
    return invalid(fmt::format("{} query heads of {} values: up to {} together are supported",
                               config.q_heads, config.head_dim, kWidthMax));
  if (config.architecture.encoder) {
    if (config.q_heads != config.kv_heads || config.q_width() != config.hidden)
      return invalid(fmt::format("an encoder of width {} can't have {} heads of {} values",
                                 config.hidden, config.q_heads, config.head_dim));
    return {};
  }
  if (config.rope.frequency.empty() || config.rope.frequency.size() > config.head_dim / 2)
    return invalid(fmt::format("rope turns {} of a head's {} values: from 2 to all is supported",
                               2 * config.rope.frequency.size(), config.head_dim));
  if (config.window > kWindowMax)
    return invalid(fmt::format("the model's sliding window: {}; up to {} is supported",
                               config.window, kWindowMax));
  return check_experts(config.experts);
}

}  // namespace altlas::model
