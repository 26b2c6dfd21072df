#include "model/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace altlas::model {
namespace {

struct Reader {
  const weights::GgufFile& head;
  std::string prefix;

  std::string key(std::string_view name) const { return prefix + "." + std::string(name); }
  bool has(std::string_view name) const { return head.has(key(name)); }
  // Returns a number in [1, max]. If `fallback` is 0, the file must have it.
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

Result<RopeScaling> read_scaling(const Reader& read, uint32_t context) {
  RopeScaling out;
  ALTLAS_TRY(const std::string_view type,
             read.head.string_or(read.key("rope.scaling.type"), "none"));
  if (type == "none") return out;
  if (type == "linear")
    out.kind = RopeScalingKind::kLinear;
  else if (type == "yarn")
    out.kind = RopeScalingKind::kYarn;
  else
    return invalid(fmt::format("{} is '{}': none, linear and yarn are supported",
                               read.key("rope.scaling.type"), type));
  ALTLAS_TRY(out.factor, read.number("rope.scaling.factor", 1, 1e-3, kRopeFactorMax));
  if (out.kind == RopeScalingKind::kLinear) return out;
  ALTLAS_TRY(out.original_context, read.number("rope.scaling.original_context_length",
                                               context / out.factor, 1, kContextMax));
  ALTLAS_TRY(out.beta_fast, read.number("rope.scaling.yarn_beta_fast", 32, 1e-3, 1e6));
  ALTLAS_TRY(out.beta_slow, read.number("rope.scaling.yarn_beta_slow", 1, 1e-3, 1e6));
  // In GGUF this number multiplies the factor that follows from the scaling.
  ALTLAS_TRY(const double times, read.number("rope.scaling.attn_factor", 1, 1e-3, 1e3));
  out.attention_factor = times * (out.factor > 1 ? 0.1 * std::log(out.factor) + 1 : 1);
  return out;
}

Result<void> read_rope(const weights::GgufModel& file, const Reader& read,
                       Hyperparameters& config) {
  ALTLAS_TRY(const double base, read.number("rope.freq_base", 10000, 1, kRopeBaseMax));
  ALTLAS_TRY(const RopeScaling scaling, read_scaling(read, config.context_length));
  ALTLAS_TRY(const uint32_t dims,
             read.count("rope.dimension_count", config.head_dim, config.head_dim));
  ALTLAS_TRY(config.rope, rope_table(base, dims / 2 * 2, scaling));
  double window_base = config.architecture.window_rope_base;
  if (window_base > 0) {
    ALTLAS_TRY(window_base, read.number("rope.freq_base_swa", window_base, 1, kRopeBaseMax));
    ALTLAS_TRY(config.window_rope, rope_table(window_base, dims / 2 * 2, {}));
  } else {
    config.window_rope = config.rope;
  }
  if (!file.has_tensor("rope_freqs.weight")) return {};
  // Llama 3's divisors for long contexts.
  ALTLAS_TRY(const weights::TensorView factors, file.tensor("rope_freqs.weight"));
  if (factors.dtype != DType::kF32 || factors.cols() != config.rope.frequency.size() ||
      factors.rows() != 1)
    return invalid("rope_freqs.weight: one F32 factor for each pair of a head is supported");
  for (size_t i = 0; i < config.rope.frequency.size(); ++i) {
    float divisor;
    std::memcpy(&divisor, factors.data.data() + 4 * i, 4);
    if (!(divisor > 0 && divisor < 1e6f))
      return invalid("rope_freqs.weight: factors lie between 0 and a million");
    config.rope.frequency[i] /= divisor;
  }
  if (window_base == 0) config.window_rope = config.rope;
  return {};
}

// The largest models of two families divide by another width, and their files don't say so. Source:
// query_pre_attn_scalar in the reference implementations' configurations.
double attention_divisor(const Hyperparameters& config) {
  const std::string_view name = config.architecture.name;
  const bool large = (name == "gemma2" && config.layer_count == 46) ||
                     (name == "gemma3" && config.layer_count == 62);
  return large ? static_cast<double>(config.hidden) / config.q_heads : config.head_dim;
}

Result<void> read_windows(const Reader& read, Hyperparameters& config) {
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  if (config.architecture.windows == WindowRule::kNone) {
    apply_window_rule(config);
    return {};
  }
  const bool is_every = config.architecture.windows == WindowRule::kEvery;
  if (!is_every || read.has("attention.sliding_window")) {
    ALTLAS_TRY(config.window, read.count("attention.sliding_window", kWindowMax,
                                         config.architecture.name == "gemma2" ? 4096 : 0));
  }
  const auto pattern = read.head.metadata().find(read.key(kPattern));
  if (pattern != read.head.metadata().end() && pattern->second.type == weights::GgufType::kArray) {
    ALTLAS_TRY(const std::vector<int64_t> layers, read.head.integers(read.key(kPattern)));
    if (layers.size() != config.layer_count)
      return invalid(fmt::format("{} has {} values for {} layers", read.key(kPattern),
                                 layers.size(), config.layer_count));
    for (const int64_t layer : layers) config.window_layers.push_back(layer != 0);
    return {};
  }
  if (pattern != read.head.metadata().end()) {
    ALTLAS_TRY(config.architecture.window_period, read.count(kPattern, kLayersMax));
  }
  apply_window_rule(config);
  return {};
}

Result<void> read_heads(const Reader& read, Hyperparameters& config) {
  ALTLAS_TRY(config.q_heads, read.count("attention.head_count", kHeadsMax));
  ALTLAS_TRY(config.kv_heads, read.count("attention.head_count_kv", kHeadsMax, config.q_heads));
  ALTLAS_TRY(config.head_dim, read.count("attention.key_length", kHeadDimMax,
                                         std::max(1u, config.hidden / config.q_heads)));
  ALTLAS_TRY(const uint32_t value_dim,
             read.count("attention.value_length", kHeadDimMax, config.head_dim));
  if (value_dim != config.head_dim)
    return invalid(fmt::format("keys of {} and values of {}: one size for both is supported",
                               config.head_dim, value_dim));
  return {};
}

Result<void> read_attention(const Reader& read, Hyperparameters& config) {
  ALTLAS_TRY_VOID(read_heads(read, config));
  ALTLAS_TRY(const double scale,
             read.number("attention.scale", 1.0 / std::sqrt(attention_divisor(config)), 1e-6, 1e6));
  config.attention_scale = static_cast<float>(scale);
  const Architecture& kind = config.architecture;
  ALTLAS_TRY(const double softcap,
             read.number("attn_logit_softcapping", kind.attention_softcap, 0, kSoftcapMax));
  config.attention_softcap = static_cast<float>(softcap);
  ALTLAS_TRY(const double logit_softcap,
             read.number("final_logit_softcapping", kind.logit_softcap, 0, kSoftcapMax));
  config.logit_softcap = static_cast<float>(logit_softcap);
  return read_windows(read, config);
}

Result<void> read_experts(const weights::GgufModel& file, const Reader& read,
                          Hyperparameters& config) {
  ExpertConfig& experts = config.experts;
  ALTLAS_TRY(const uint64_t count, read.head.uint64_or(read.key("expert_count"), 0));
  if (count == 0) return {};
  ALTLAS_TRY(experts.count, read.count("expert_count", kExpertsMax));
  ALTLAS_TRY(experts.used, read.count("expert_used_count", experts.count));
  ALTLAS_TRY(experts.feed_forward,
             read.count("expert_feed_forward_length", kWidthMax, config.feed_forward));
  if (file.has_tensor("blk.0.ffn_gate_shexp.weight")) {
    ALTLAS_TRY(experts.shared_feed_forward,
               read.count("expert_shared_feed_forward_length", kWidthMax, config.feed_forward));
  }
  ALTLAS_TRY(experts.normalized,
             read.head.boolean_or(read.key("expert_weights_norm"),
                                  config.architecture.expert_weights_normalized));
  return {};
}

Result<void> read_pooling(const Reader& read, Hyperparameters& config) {
  const bool encoder = config.architecture.encoder;
  ALTLAS_TRY(const uint64_t type, read.head.uint64_or(read.key("pooling_type"), encoder ? 1 : 3));
  switch (type) {
    case 1:
      config.pooling = Pooling::kMean;
      return {};
    case 2:
      config.pooling = Pooling::kCls;
      return {};
    case 0:  // The file names no pooling: its kind of model decides.
      config.pooling = encoder ? Pooling::kMean : Pooling::kLast;
      return {};
    case 3:
      config.pooling = Pooling::kLast;
      return {};
    default:
      return invalid(fmt::format(
          "{} is {}: 0 (none), 1 (mean), 2 (first token) and 3 (last token) are supported",
          read.key("pooling_type"), type));
  }
}

Result<void> read_decoder(const weights::GgufModel& file, const Reader& read,
                          Hyperparameters& config) {
  ALTLAS_TRY(const double eps, read.number("attention.layer_norm_rms_epsilon", 1e-6, 0, 1));
  config.norm_eps = static_cast<float>(eps);
  ALTLAS_TRY_VOID(read_attention(read, config));
  ALTLAS_TRY_VOID(read_rope(file, read, config));
  return read_experts(file, read, config);
}

Result<void> read_encoder(const Reader& read, Hyperparameters& config) {
  ALTLAS_TRY(const double eps, read.number("attention.layer_norm_epsilon", 1e-12, 0, 1));
  config.norm_eps = static_cast<float>(eps);
  ALTLAS_TRY_VOID(read_heads(read, config));
  config.attention_scale = static_cast<float>(1 / std::sqrt(config.head_dim));
  return {};
}

}  // namespace

Result<Hyperparameters> read_gguf_config(const weights::GgufModel& file) {
  const weights::GgufFile& head = file.head();
  ALTLAS_TRY(const std::string_view name, head.string("general.architecture"));
  const auto found = std::ranges::find(architectures(), name, &Architecture::name);
  if (found == architectures().end())
    return invalid(fmt::format("{}: architecture '{}' is not supported; {} are", head.name(), name,
                               known_architectures(false)));
  const Reader read{head, std::string(name)};
  Hyperparameters config{.architecture = *found};
  ALTLAS_TRY(config.layer_count, read.count("block_count", kLayersMax));
  ALTLAS_TRY(config.hidden, read.count("embedding_length", kWidthMax));
  ALTLAS_TRY(config.feed_forward, read.count("feed_forward_length", kWidthMax));
  ALTLAS_TRY(config.context_length, read.count("context_length", kContextMax));
  if (found->encoder) {
    ALTLAS_TRY_VOID(read_encoder(read, config));
  } else {
    ALTLAS_TRY_VOID(read_decoder(file, read, config));
  }
  ALTLAS_TRY_VOID(read_pooling(read, config));
  ALTLAS_TRY(const weights::TensorView embedding, file.tensor("token_embd.weight"));
  config.vocab_size =
      static_cast<uint32_t>(std::min<uint64_t>(embedding.rows(), uint64_t{kVocabMax} + 1));
  if (const Result<void> checked = check_config(config); !checked.ok())
    return Error(checked.error()).with_context(head.name());
  return config;
}

}  // namespace altlas::model
