#include "model/hf_tensors.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::model {
namespace {

struct NamePair {
  std::string_view hugging_face, gguf;
};
// Names of modules: the part after "layers.N." and before ".weight" or ".bias".
constexpr NamePair kModules[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};
// In models with norms after the branches as well, one of the names means another norm.
constexpr NamePair kPostNormModules[] = {
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};
constexpr NamePair kExpertModules[] = {
    {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"}, {"down_proj", "ffn_down"},
    {"w1", "ffn_gate"},        {"w3", "ffn_up"},      {"w2", "ffn_down"},
};
constexpr NamePair kOuter[] = {
    {"embed_tokens.weight", "token_embd.weight"},
    {"norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

// Names of BERT's modules: the part after "encoder.layer.N." and before ".weight" or ".bias".
constexpr NamePair kEncoderModules[] = {
    {"attention.self.query", "attn_q"},
    {"attention.self.key", "attn_k"},
    {"attention.self.value", "attn_v"},
    {"attention.output.dense", "attn_output"},
    {"attention.output.LayerNorm", "attn_output_norm"},
    {"intermediate.dense", "ffn_up"},
    {"output.dense", "ffn_down"},
    {"output.LayerNorm", "layer_output_norm"},
};
constexpr NamePair kEncoderOuter[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight"},
    {"embeddings.position_embeddings.weight", "position_embd.weight"},
    {"embeddings.token_type_embeddings.weight", "token_types.weight"},
    {"embeddings.LayerNorm.weight", "token_embd_norm.weight"},
    {"embeddings.LayerNorm.bias", "token_embd_norm.bias"},
};

std::string_view find(std::span<const NamePair> pairs, std::string_view name) {
  const auto found = std::ranges::find(pairs, name, &NamePair::hugging_face);
  return found == pairs.end() ? std::string_view() : found->gguf;
}

// Takes the part before the first '.' off `rest`.
std::string_view take_part(std::string_view& rest) {
  const size_t dot = std::min(rest.find('.'), rest.size());
  const std::string_view part = rest.substr(0, dot);
  rest.remove_prefix(std::min(dot + 1, rest.size()));
  return part;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 6 &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Translates names such as "self_attn.q_proj" to "attn_q" and "mlp.experts.7.up_proj" to
// "ffn_up.7".
std::string module_name(std::string_view module, const Architecture& kind) {
  for (const std::string_view experts : {"mlp.experts.", "block_sparse_moe.experts."})
    if (module.starts_with(experts)) {
      std::string_view rest = module.substr(experts.size());
      const std::string_view index = take_part(rest), name = find(kExpertModules, rest);
      return name.empty() || !is_number(index) ? "" : fmt::format("{}.{}", name, index);
    }
  if (kind.post_norms)
    if (const std::string_view name = find(kPostNormModules, module); !name.empty())
      return std::string(name);
  return std::string(find(kModules, module));
}

std::string encoder_name(std::string_view rest) {
  if (rest.starts_with("bert.")) rest.remove_prefix(5);
  if (const std::string_view outer = find(kEncoderOuter, rest); !outer.empty())
    return std::string(outer);
  if (take_part(rest) != "encoder" || take_part(rest) != "layer") return "";
  const std::string_view layer = take_part(rest);
  const size_t dot = rest.rfind('.');
  if (!is_number(layer) || dot == std::string_view::npos) return "";
  const std::string_view module = find(kEncoderModules, rest.substr(0, dot));
  return module.empty() ? "" : fmt::format("blk.{}.{}.{}", layer, module, rest.substr(dot + 1));
}

}  // namespace

std::string gguf_name_of(std::string_view hugging_face, const Architecture& kind) {
  if (kind.encoder) return encoder_name(hugging_face);
  std::string_view rest = hugging_face;
  // The prefix of a language model, of one within a model that also sees images, or of a bare
  // decoder.
  for (const std::string_view prefix :
       {"language_model.model.", "model.language_model.", "language_model.", "model."})
    if (rest.starts_with(prefix)) {
      rest.remove_prefix(prefix.size());
      break;
    }
  if (const std::string_view outer = find(kOuter, rest); !outer.empty()) return std::string(outer);
  if (take_part(rest) != "layers") return "";
  const std::string_view layer = take_part(rest);
  const size_t dot = rest.rfind('.');
  if (!is_number(layer) || dot == std::string_view::npos) return "";
  const std::string module = module_name(rest.substr(0, dot), kind);
  return module.empty() ? "" : fmt::format("blk.{}.{}.{}", layer, module, rest.substr(dot + 1));
}

HfTensors::HfTensors(const weights::TensorSource& files, const Architecture& kind, bool tied)
    : files_(files) {
  bool bare = true;  // Whether the checkpoint has the decoder alone: then it has no head.
  for (const std::string_view name : files.tensor_names()) {
    if (name.find('.') != std::string_view::npos && !name.starts_with("layers.") &&
        !name.starts_with("embed_tokens.") && !name.starts_with("norm."))
      bare = false;
    std::string ours = gguf_name_of(name, kind);
    if (!ours.empty()) names_.emplace(std::move(ours), name);
  }
  if (tied || kind.encoder)
    names_.erase("output.weight");
  else if (!bare && !names_.contains("output.weight"))
    // The tensor is missing, and its source will say so.
    names_.emplace("output.weight", "lm_head.weight");
}

std::vector<std::string_view> HfTensors::tensor_names() const {
  std::vector<std::string_view> names;
  for (const auto& [ours, theirs] : names_) names.push_back(ours);
  return names;
}

Result<weights::TensorView> HfTensors::tensor(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end())
    return not_found(
        fmt::format("the checkpoint has no tensor that is '{}' in GGUF's naming", name));
  return files_.tensor(found->second);
}

}  // namespace altlas::model
