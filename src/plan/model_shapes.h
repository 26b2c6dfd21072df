// The numbers of a decoder that its speed and memory follow from, and the published ones by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::plan {

struct ModelShape {
  std::string_view name;  // "llama-3-70b"; empty for one that was read from a file.
  int32_t layers = 0;
  int32_t hidden = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t ffn = 0;  // The width of one expert where there are experts.
  int32_t vocab = 0;
  int32_t context = 0;  // Prompt and answer at most.
  bool tied = false;    // The head is the embedding.
  bool qk_norm = false;
  int32_t experts = 0;       // 0: dense.
  int32_t experts_used = 0;  // Per token, without shared ones.
  int32_t shared_ffn = 0;    // The width of the experts that every token takes.
  int32_t dense_layers = 0;  // Layers at the start without experts.
  int32_t dense_ffn = 0;     // Theirs.
  // Multi-head latent attention: key and value of a token in one layer, not divided over tensor
  // ranks; 0: 2 * kv_heads * head_dim, divided.
  int32_t latent_values = 0;
  // The attention weights of one layer; 0: as the head counts have it.
  int64_t attention_weights = 0;

  // Weights of one layer's attention, of one feed-forward block (every expert), of the embedding
  // and head, of everything.
  double layer_attention_parameters() const;
  double layer_ffn_parameters(int32_t layer) const;
  double vocabulary_parameters() const;
  double parameters() const;
  // Key and value of one token in all layers on one of `tensor` ranks, in values.
  double kv_values_per_token(int32_t tensor) const;
};

std::span<const ModelShape> model_shapes();
// By a name as people and Hugging Face write it: "llama-3-70b",
// "meta-llama/Llama-3.1-70B-Instruct", "Qwen3-32B-FP8". Errors: kNotFound, with the nearest name or
// all of them.
Result<ModelShape> model_shape(std::string_view name);

}  // namespace altlas::plan
