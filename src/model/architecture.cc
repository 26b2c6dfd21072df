#include "model/architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/result.h"

namespace altlas::model {
namespace {
using ops::RopeStyle;

// Sources: the models' reference implementations in transformers, and the GGUF specification for
// what a converter has already done (llama's q and k rows reordered for adjacent pairs; gemma's
// norms stored with their 1 added).
constexpr Architecture kArchitectures[] = {
    {.name = "llama", .rope = RopeStyle::kAdjacent},
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = true},
    {.name = "gemma3",
     .gate = GateKind::kGelu,
     .qk_norm = true,
     .post_norms = true,
     .embedding_scale = true,
     .window_period = 6,
     .window_rope_base = 10000},
};

struct Reader {
  const weights::GgufFile& head;
  std::string prefix;

  std::string key(std::string_view name) const { return prefix + "." + std::string(name); }
  // A number in [1, max]; `fallback` 0: it must be there.
  Result<uint32_t> count(std::string_view name, uint32_t max, uint64_t fallback = 0) const {
    const std::string path = key(name);
    ALTLAS_TRY(const uint64_t value,
               fallback == 0 ? head.uint64(path) : head.uint64_or(path, fallback));
    if (value < 1 || value > max)
      return invalid(fmt::format("{} is {}: from 1 to {} is supported", path, value, max));
    return static_cast<uint32_t>(value);
  }
  Result<double> number(std::string_view name, double fallback, double min, double max) const {
    const std::string path = key(name);
    ALTLAS_TRY(const double value, head.float64_or(path, fallback));
    if (!(value >= min && value <= max))
      return invalid(fmt::format("{} is {}: from {} to {} is supported", path, value, min, max));
    return value;
  }
};

std::vector<double> frequencies(double base, uint32_t head_dim, double factor) {
  std::vector<double> out(head_dim / 2);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = std::pow(base, -2.0 * static_cast<double>(i) / head_dim) / factor;
  return out;
}

Result<void> read_rope(const weights::GgufModel& file, const Reader& read, ModelConfig& config) {
  ALTLAS_TRY(const double base, read.number("rope.freq_base", 10000, 1, 1e12));
  ALTLAS_TRY(const std::string_view scaling,
             read.head.string_or(read.key("rope.scaling.type"), "none"));
  double factor = 1;
  if (scaling == "linear") {
    ALTLAS_TRY(factor, read.number("rope.scaling.factor", 1, 1e-3, 1e6));
  } else if (scaling != "none") {
    return invalid(fmt::format("{} is '{}': none and linear are supported",
                               read.key("rope.scaling.type"), scaling));
  }
  ALTLAS_TRY(const uint32_t dims,
             read.count("rope.dimension_count", config.head_dim, config.head_dim));
  if (dims != config.head_dim)
    return invalid(fmt::format("{} is {}: only the whole head ({}) is supported",
                               read.key("rope.dimension_count"), dims, config.head_dim));
  config.rope_frequency = frequencies(base, config.head_dim, factor);
  const double window_base = config.architecture.window_rope_base;
  config.window_rope_frequency =
      frequencies(window_base > 0 ? window_base : base, config.head_dim, 1);
  if (!file.has_tensor("rope_freqs.weight")) return {};
  ALTLAS_TRY(const weights::TensorView factors,
             file.tensor("rope_freqs.weight"));  // Llama 3's long-context divisors.
  if (factors.dtype != DType::kF32 || factors.cols() != config.head_dim / 2 || factors.rows() != 1)
    return invalid("rope_freqs.weight: one F32 factor for each pair of a head is supported");
  for (size_t i = 0; i < config.rope_frequency.size(); ++i) {
    float divisor;
    std::memcpy(&divisor, factors.data.data() + 4 * i, 4);
    if (!(divisor > 0 && divisor < 1e6f))
      return invalid("rope_freqs.weight: factors lie between 0 and a million");
    config.rope_frequency[i] /= divisor;
  }
  return {};
}

Result<void> read_attention(const Reader& read, ModelConfig& config) {
  ALTLAS_TRY(config.q_heads, read.count("attention.head_count", kHeadsMax));
  ALTLAS_TRY(config.kv_heads, read.count("attention.head_count_kv", kHeadsMax, config.q_heads));
  if (config.q_heads % config.kv_heads != 0)
    return invalid(fmt::format("{} query heads can't share {} KV heads evenly", config.q_heads,
                               config.kv_heads));
  if (config.q_heads / config.kv_heads > 128)
    return invalid("more than 128 query heads share a KV head");
  ALTLAS_TRY(config.head_dim, read.count("attention.key_length", 4096,
                                         std::max(1u, config.hidden / config.q_heads)));
  ALTLAS_TRY(const uint32_t value_dim, read.count("attention.value_length", 4096, config.head_dim));
  if (config.head_dim % 16 != 0 || value_dim != config.head_dim)
    return invalid(fmt::format(
        "heads of {} and {} values: one multiple of 16 for keys and values is supported",
        config.head_dim, value_dim));
  ALTLAS_TRY(const double scale,
             read.number("attention.scale", 1.0 / std::sqrt(config.head_dim), 1e-6, 1e6));
  config.attention_scale = static_cast<float>(scale);
  ALTLAS_TRY(const double softcap, read.number("attn_logit_softcapping", 0, 0, 1e6));
  config.attention_softcap = static_cast<float>(softcap);
  ALTLAS_TRY(const double logit_softcap, read.number("final_logit_softcapping", 0, 0, 1e6));
  config.logit_softcap = static_cast<float>(logit_softcap);
  if (config.architecture.window_period > 0) {
    ALTLAS_TRY(config.window, read.count("attention.sliding_window", 1 << 24));
  }
  return {};
}
}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

Result<ModelConfig> read_config(const weights::GgufModel& file) {
  const weights::GgufFile& head = file.head();
  ALTLAS_TRY(const std::string_view name, head.string("general.architecture"));
  const auto* found = std::ranges::find(kArchitectures, name, &Architecture::name);
  if (found == std::end(kArchitectures)) {
    std::string known;
    for (const Architecture& row : kArchitectures)
      known += (known.empty() ? "" : ", ") + std::string(row.name);
    return invalid(
        fmt::format("{}: architecture '{}' is not supported; {} are", head.name(), name, known));
  }
  const Reader read{head, std::string(name)};
  ModelConfig config{.architecture = *found};
  ALTLAS_TRY(config.layer_count, read.count("block_count", kLayersMax));
  ALTLAS_TRY(config.hidden, read.count("embedding_length", kWidthMax));
  ALTLAS_TRY(config.feed_forward, read.count("feed_forward_length", kWidthMax));
  ALTLAS_TRY(config.context_length, read.count("context_length", 1 << 27));
  ALTLAS_TRY(const double eps, read.number("attention.layer_norm_rms_epsilon", 1e-6, 0, 1));
  config.norm_eps = static_cast<float>(eps);
  if (head.has(read.key("expert_count")) && head.uint64_or(read.key("expert_count"), 0).ok() &&
      *head.uint64_or(read.key("expert_count"), 0) > 0)
    return invalid(head.name() + ": models with experts are not supported");
  ALTLAS_TRY_VOID(read_attention(read, config));
  ALTLAS_TRY_VOID(read_rope(file, read, config));
  ALTLAS_TRY(const weights::TensorView embedding, file.tensor("token_embd.weight"));
  if (embedding.rows() < 1 || embedding.rows() > kVocabMax)
    return invalid(fmt::format("token_embd.weight has {} rows: from 1 to {} is supported",
                               embedding.rows(), kVocabMax));
  config.vocab_size = static_cast<uint32_t>(embedding.rows());
  return config;
}

}  // namespace altlas::model
