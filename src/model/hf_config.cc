#include "model/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "base/byte_order_mark.h"

namespace altlas::model {
namespace {
namespace json = boost::json;

// One object of the file. A key with the value null counts as absent.
struct Facts {
  const json::object& object;
  std::string path;

  const json::value* find(std::string_view key) const {
    const json::value* value = object.if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  Error wrong(std::string_view key, std::string_view wanted) const {
    return invalid(fmt::format("{}: {} must be {}", path, key, wanted));
  }
  // Returns a whole number in [min, max].
  Result<uint32_t> count(std::string_view key, uint32_t max, uint32_t min = 1) const {
    const json::value* value = find(key);
    if (value == nullptr) return invalid(fmt::format("{}: {} is missing", path, key));
    const int64_t number = value->is_int64() ? value->get_int64() : -1;
    if (number < min || number > max)
      return wrong(key, fmt::format("a whole number from {} to {}", min, max));
    return static_cast<uint32_t>(number);
  }
  Result<uint32_t> count_or(std::string_view key, uint32_t max, uint32_t fallback) const {
    if (!has(key)) return fallback;
    return count(key, max);
  }
  Result<double> number_or(std::string_view key, double fallback, double min, double max) const {
    const json::value* value = find(key);
    if (value == nullptr) return fallback;
    const double number = value->is_double()  ? value->get_double()
                          : value->is_int64() ? static_cast<double>(value->get_int64())
                                              : std::nan("");
    if (!(number >= min && number <= max))
      return wrong(key, fmt::format("a number from {} to {}", min, max));
    return number;
  }
  Result<bool> flag_or(std::string_view key, bool fallback) const {
    const json::value* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_bool()) return wrong(key, "true or false");
    return value->get_bool();
  }
  Result<std::string_view> text_or(std::string_view key, std::string_view fallback) const {
    const json::value* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return wrong(key, "a string");
    return std::string_view(value->get_string());
  }
  Result<Facts> inner(std::string_view key) const {
    const json::value* value = find(key);
    if (value == nullptr || !value->is_object()) return wrong(key, "an object");
    return Facts{value->get_object(), fmt::format("{}: {}", path, key)};
  }
};

Result<RopeScaling> read_scaling(const Facts& facts, uint32_t context) {
  RopeScaling out;
  ALTLAS_TRY(const std::string_view old_type, facts.text_or("type", "default"));
  ALTLAS_TRY(const std::string_view type, facts.text_or("rope_type", old_type));
  if (type == "default") return out;
  if (type == "linear")
    out.kind = RopeScalingKind::kLinear;
  else if (type == "yarn")
    out.kind = RopeScalingKind::kYarn;
  else if (type == "llama3")
    out.kind = RopeScalingKind::kLlama3;
  else
    return invalid(
        fmt::format("{}: rope_type '{}' is not supported; default, linear, yarn and llama3 are",
                    facts.path, type.substr(0, 40)));
  ALTLAS_TRY(out.original_context,
             facts.number_or("original_max_position_embeddings", context, 1, kContextMax));
  ALTLAS_TRY(out.factor,
             facts.number_or("factor", context / out.original_context, 1e-3, kRopeFactorMax));
  ALTLAS_TRY(out.beta_fast, facts.number_or("beta_fast", 32, 1e-3, 1e6));
  ALTLAS_TRY(out.beta_slow, facts.number_or("beta_slow", 1, 1e-3, 1e6));
  ALTLAS_TRY(out.truncate, facts.flag_or("truncate", true));
  ALTLAS_TRY(out.low_frequency_factor, facts.number_or("low_freq_factor", 1, 1e-3, 1e6));
  ALTLAS_TRY(out.high_frequency_factor, facts.number_or("high_freq_factor", 4, 1e-3, 1e6));
  ALTLAS_TRY(out.attention_factor, facts.number_or("attention_factor", 0, 0, 1e3));
  ALTLAS_TRY(const double mscale, facts.number_or("mscale", 0, 0, 1e3));
  ALTLAS_TRY(const double mscale_all, facts.number_or("mscale_all_dim", 0, 0, 1e3));
  if (out.attention_factor == 0 && mscale > 0 && mscale_all > 0 && out.factor > 1)
    out.attention_factor =
        (0.1 * mscale * std::log(out.factor) + 1) / (0.1 * mscale_all * std::log(out.factor) + 1);
  return out;
}

// Reads the rope of some layers from `facts`, which may lie deeper in the file than the model's own
// numbers.
Result<RopeTable> read_table(const Facts& facts, double base, const Hyperparameters& config) {
  ALTLAS_TRY(const double own, facts.number_or("rope_theta", base, 1, kRopeBaseMax));
  ALTLAS_TRY(const double part, facts.number_or("partial_rotary_factor", 1, 0, 1));
  ALTLAS_TRY(const RopeScaling scaling, read_scaling(facts, config.context_length));
  const auto dims = static_cast<uint32_t>(part * config.head_dim) / 2 * 2;
  Result<RopeTable> table = rope_table(own, dims, scaling);
  if (!table.ok()) return Error(table.error()).with_context(facts.path);
  return table;
}

Result<void> read_rope(const Facts& facts, Hyperparameters& config) {
  const double default_base = config.architecture.name == "mixtral"      ? 1e6
                              : config.architecture.window_rope_base > 0 ? 1e6
                                                                         : 1e4;
  ALTLAS_TRY(const double base, facts.number_or("rope_theta", default_base, 1, kRopeBaseMax));
  ALTLAS_TRY(const double window_base,
             facts.number_or("rope_local_base_freq", config.architecture.window_rope_base, 0,
                             kRopeBaseMax));
  const json::object nothing;
  const Facts plain{nothing, facts.path};
  ALTLAS_TRY(const double part, facts.number_or("partial_rotary_factor", 1, 0, 1));
  if (part != 1)
    return invalid(facts.path + ": partial_rotary_factor: only the whole head is supported");
  if (!facts.has("rope_parameters") && !facts.has("rope_scaling")) {
    ALTLAS_TRY(config.rope, read_table(plain, base, config));
  } else {
    ALTLAS_TRY(const Facts all,
               facts.inner(facts.has("rope_parameters") ? "rope_parameters" : "rope_scaling"));
    if (!all.has("full_attention")) {
      ALTLAS_TRY(config.rope, read_table(all, base, config));
    } else {
      ALTLAS_TRY(const Facts full, all.inner("full_attention"));
      ALTLAS_TRY(config.rope, read_table(full, base, config));
      if (all.has("sliding_attention")) {
        ALTLAS_TRY(const Facts sliding, all.inner("sliding_attention"));
        ALTLAS_TRY(config.window_rope,
                   read_table(sliding, window_base > 0 ? window_base : base, config));
        return {};
      }
    }
  }
  config.window_rope = config.rope;
  if (window_base > 0) {
    ALTLAS_TRY(config.window_rope, read_table(plain, window_base, config));
  }
  return {};
}

Result<void> read_layer_types(const Facts& facts, Hyperparameters& config) {
  const json::value* types = facts.find("layer_types");
  if (!types->is_array() || types->get_array().size() != config.layer_count)
    return facts.wrong("layer_types", fmt::format("a list of {} strings", config.layer_count));
  config.window_layers.clear();
  for (const json::value& type : types->get_array()) {
    if (type != "full_attention" && type != "sliding_attention")
      return facts.wrong("layer_types", "of full_attention and sliding_attention");
    config.window_layers.push_back(type == "sliding_attention");
  }
  return {};
}

Result<void> read_windows(const Facts& facts, Hyperparameters& config) {
  Architecture& kind = config.architecture;
  const bool is_qwen = kind.name.starts_with("qwen");
  ALTLAS_TRY(const bool used, facts.flag_or("use_sliding_window", !is_qwen));
  if (used && facts.has("sliding_window")) {
    ALTLAS_TRY(config.window, facts.count("sliding_window", kWindowMax, 0));
  }
  if (is_qwen && config.window > 0) kind.windows = WindowRule::kEvery;
  apply_window_rule(config);
  if (config.window == 0) return {};
  // The class of Mistral itself has no layer types.
  if (facts.has("layer_types") && (is_qwen || kind.windows == WindowRule::kAllButEachNth))
    return read_layer_types(facts, config);
  if (is_qwen && kind.name != "qwen3moe") {
    ALTLAS_TRY(const uint32_t first, facts.count("max_window_layers", kLayersMax, 0));
    for (uint32_t i = 0; i < std::min(first, config.layer_count); ++i) config.window_layers[i] = 0;
  }
  if (kind.windows != WindowRule::kAllButEachNth) return {};
  for (const char* key : {"_sliding_window_pattern", "sliding_window_pattern"})
    if (facts.has(key)) {
      ALTLAS_TRY(kind.window_period, facts.count(key, kLayersMax));
    }
  apply_window_rule(config);
  return {};
}

Result<void> read_attention(const Facts& facts, Hyperparameters& config) {
  ALTLAS_TRY(config.q_heads, facts.count("num_attention_heads", kHeadsMax));
  ALTLAS_TRY(config.kv_heads, facts.count_or("num_key_value_heads", kHeadsMax, config.q_heads));
  ALTLAS_TRY(config.head_dim,
             facts.count_or("head_dim", kHeadDimMax, config.hidden / config.q_heads));
  const bool gemma = config.architecture.embedding_scale;
  ALTLAS_TRY(const double divisor,
             facts.number_or("query_pre_attn_scalar", gemma ? 256 : config.head_dim, 1e-3, 1e6));
  config.attention_scale =
      static_cast<float>(1 / std::sqrt(gemma ? divisor : std::max(1u, config.head_dim)));
  // An explicit null switches a softcap off.
  const auto softcap = [&](std::string_view key, double fallback) {
    return facts.number_or(key, facts.object.contains(key) ? 0 : fallback, 0, kSoftcapMax);
  };
  const Architecture& kind = config.architecture;
  ALTLAS_TRY(const double attention, softcap("attn_logit_softcapping", kind.attention_softcap));
  ALTLAS_TRY(const double logits, softcap("final_logit_softcapping", kind.logit_softcap));
  if (gemma) {
    config.attention_softcap = static_cast<float>(attention);
    config.logit_softcap = static_cast<float>(logits);
  }
  for (const char* key : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
    ALTLAS_TRY(const bool set, facts.flag_or(key, false));
    if (set) return invalid(fmt::format("{}: {} is not supported", facts.path, key));
  }
  return read_windows(facts, config);
}

Result<void> read_experts(const Facts& facts, Hyperparameters& config) {
  ExpertConfig& experts = config.experts;
  const std::string_view name = config.architecture.name;
  if (name != "mixtral" && name != "qwen2moe" && name != "qwen3moe") return {};
  ALTLAS_TRY(experts.count,
             facts.count(facts.has("num_local_experts") ? "num_local_experts" : "num_experts",
                         kExpertsMax));
  ALTLAS_TRY(experts.used, facts.count("num_experts_per_tok", experts.count));
  ALTLAS_TRY(experts.feed_forward,
             facts.count_or("moe_intermediate_size", kWidthMax, config.feed_forward));
  if (name == "qwen2moe") {
    ALTLAS_TRY(experts.shared_feed_forward,
               facts.count("shared_expert_intermediate_size", kWidthMax));
  }
  experts.normalized = true;
  if (name != "mixtral") {
    ALTLAS_TRY(experts.normalized, facts.flag_or("norm_topk_prob", false));
  }
  return {};
}

// Checks that the activation's name, as transformers has it, means the architecture's gate.
Result<void> check_activation(const Facts& facts, const Hyperparameters& config) {
  const bool gelu = config.architecture.gate == GateKind::kGelu;
  const std::string_view right = gelu ? "gelu_pytorch_tanh" : "silu";
  const char* key = facts.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  ALTLAS_TRY(const std::string_view name, facts.text_or(key, right));
  if (name != right && !(name == "swish" && !gelu))
    return invalid(fmt::format("{}: {} '{}' is not supported for {}; {} is", facts.path, key,
                               name.substr(0, 40), config.architecture.hugging_face, right));
  return {};
}

Result<void> read_sizes(const Facts& facts, Hyperparameters& config) {
  ALTLAS_TRY(config.layer_count, facts.count("num_hidden_layers", kLayersMax));
  ALTLAS_TRY(config.hidden, facts.count("hidden_size", kWidthMax));
  ALTLAS_TRY(config.feed_forward, facts.count("intermediate_size", kWidthMax));
  ALTLAS_TRY(config.vocab_size, facts.count("vocab_size", kVocabMax));
  ALTLAS_TRY(config.context_length, facts.count("max_position_embeddings", kContextMax));
  return {};
}

Result<Hyperparameters> read_decoder(const Facts& facts, const Architecture& kind) {
  Hyperparameters config{.architecture = kind};
  // Checkpoints keep q and k in the order of training.
  config.architecture.rope = ops::RopeStyle::kNeox;
  config.norm_offset = kind.stored_gamma_minus_1 ? 1 : 0;
  if (facts.has("quantization_config"))
    return invalid(facts.path +
                   ": quantised safetensors are not supported; F32, F16 and BF16 are, and "
                   "quantised GGUF files");
  ALTLAS_TRY_VOID(read_sizes(facts, config));
  ALTLAS_TRY(const double eps, facts.number_or("rms_norm_eps", 1e-6, 0, 1));
  config.norm_eps = static_cast<float>(eps);
  ALTLAS_TRY_VOID(check_activation(facts, config));
  ALTLAS_TRY_VOID(read_attention(facts, config));
  ALTLAS_TRY_VOID(read_rope(facts, config));
  ALTLAS_TRY_VOID(read_experts(facts, config));
  if (const Result<void> checked = check_config(config); !checked.ok())
    return Error(checked.error()).with_context(facts.path);
  return config;
}

Result<Hyperparameters> read_encoder(const Facts& facts, const Architecture& kind) {
  Hyperparameters config{.architecture = kind};
  config.pooling = Pooling::kMean;
  ALTLAS_TRY_VOID(read_sizes(facts, config));
  ALTLAS_TRY(config.q_heads, facts.count("num_attention_heads", kHeadsMax));
  config.kv_heads = config.q_heads;
  config.head_dim = config.hidden / config.q_heads;
  config.attention_scale = static_cast<float>(1 / std::sqrt(std::max(1u, config.head_dim)));
  ALTLAS_TRY(const double eps, facts.number_or("layer_norm_eps", 1e-12, 0, 1));
  config.norm_eps = static_cast<float>(eps);
  ALTLAS_TRY(const std::string_view act, facts.text_or("hidden_act", "gelu"));
  ALTLAS_TRY(const std::string_view positions,
             facts.text_or("position_embedding_type", "absolute"));
  if (act != "gelu" || positions != "absolute")
    return invalid(
        facts.path +
        ": of encoders hidden_act gelu and position_embedding_type absolute are supported");
  if (const Result<void> checked = check_config(config); !checked.ok())
    return Error(checked.error()).with_context(facts.path);
  return config;
}

Result<json::value> parse_object(std::string_view text, const std::string& path) {
  if (text.size() > kHfConfigBytesMax)
    return invalid(fmt::format("{}: it has {} bytes; at most {} are allowed", path, text.size(),
                               kHfConfigBytesMax));
  ALTLAS_TRY(text, skip_byte_order_mark(text, path));
  json::error_code failed;
  json::value root = json::parse(text, failed);
  if (failed) return invalid(fmt::format("{}: its JSON is not valid: {}", path, failed.message()));
  if (!root.is_object()) return invalid(fmt::format("{}: its JSON is not an object", path));
  return root;
}

}  // namespace

Result<Pooling> read_hf_pooling(std::string_view text, const std::string& path) {
  ALTLAS_TRY(const json::value root, parse_object(text, path));
  const Facts facts{root.get_object(), path};
  constexpr struct {
    std::string_view key;
    Pooling pooling;
  } kModes[] = {{"pooling_mode_cls_token", Pooling::kCls},
                {"pooling_mode_mean_tokens", Pooling::kMean},
                {"pooling_mode_lasttoken", Pooling::kLast}};
  for (const auto& mode : kModes) {
    ALTLAS_TRY(const bool set, facts.flag_or(mode.key, false));
    if (set) return mode.pooling;
  }
  return invalid(path + ": pooling by first token, mean or last token is supported");
}

Result<HfConfig> read_hf_config(std::string_view text, const std::string& path) {
  ALTLAS_TRY(const json::value root, parse_object(text, path));
  const Facts outer{root.get_object(), path};
  // A model that also sees images has its text part's numbers in an object of their own.
  const json::value* inner = outer.find("text_config");
  const Facts facts{inner != nullptr && inner->is_object() ? inner->get_object() : outer.object,
                    path};
  ALTLAS_TRY(const std::string_view type, facts.text_or("model_type", ""));
  const auto kind = std::ranges::find(architectures(), type, &Architecture::hugging_face);
  if (kind == architectures().end())
    return invalid(fmt::format("{}: model_type '{}' is not supported; {} are", path,
                               type.substr(0, 40), known_architectures(true)));
  HfConfig out;
  if (kind->encoder) {
    ALTLAS_TRY(out.model, read_encoder(facts, *kind));
    return out;
  }
  ALTLAS_TRY(out.model, read_decoder(facts, *kind));
  ALTLAS_TRY(const bool tied, facts.flag_or("tie_word_embeddings", kind->embedding_scale));
  ALTLAS_TRY(out.tied, outer.flag_or("tie_word_embeddings", tied));
  return out;
}

}  // namespace altlas::model
