#include "plan/step_time.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace altlas::plan {
namespace {

constexpr WeightFormat kWeightFormats[] = {
    {"bf16", 2, MathType::kBf16, 2}, {"fp16", 2, MathType::kBf16, 2},
    {"fp8", 1, MathType::kFp8, 1},   {"fp4", 0.5625, MathType::kFp4, 1},
    {"int8", 1, MathType::kBf16, 2}, {"int4", 0.5625, MathType::kBf16, 2},
};
constexpr double kActivationBytes = 2;  // The width of values between operators.

// The sizes and times of one layer on one tensor rank, for `tokens` rows.
struct LayerTimer {
  const StepModel& model;
  double tensor;
  double tokens;

  double product(double rows, double columns, double depth, double experts = 1) const {
    return gemm_seconds(model.device, {.rows = rows,
                                       .columns = std::max(1.0, columns),
                                       .depth = std::max(1.0, depth),
                                       .weight_bytes_per_value = model.weights.bytes_per_value,
                                       .type = model.weights.math,
                                       .experts = experts,
                                       .quantised_before = true});
  }
  // The norm before a product. Where ranks add up their parts, it is part of the all-reduce.
  double norm() const { return tensor > 1 ? 0 : elementwise(4 * tokens * model.shape.hidden); }
  double elementwise(double values) const {
    return elementwise_seconds(model.device, values * kActivationBytes);
  }
  double all_reduce() const {
    return all_reduce_seconds(model.device, model.layout.tensor_parallel_size,
                              tokens * model.shape.hidden * kActivationBytes);
  }

  double attention(const StepLoad& load) const {
    const ModelShape& s = model.shape;
    const double heads = std::max(1.0, s.heads / tensor);
    const double kv_heads = std::max(1.0, s.kv_heads / tensor);
    const double width = heads * s.head_dim;
    double qkv = (heads + 2 * kv_heads) * s.head_dim;
    if (s.attention_weights > 0)
      qkv = static_cast<double>(s.attention_weights) / tensor / s.hidden - width;
    // The norm and the rotation, and the norms of queries and keys where there are any.
    double seconds = norm() + elementwise(2 * tokens * qkv);
    if (s.qk_norm) seconds += elementwise(2 * tokens * qkv);
    seconds += product(tokens, qkv, s.hidden);
    seconds += prefill_seconds(model.device, {.sequences = load.prefill_sequences,
                                              .tokens = load.prefill_tokens,
                                              .pairs = load.prefill_pairs,
                                              .heads = heads,
                                              .kv_heads = s.latent_values > 0 ? 1 : kv_heads,
                                              .head_dim = static_cast<double>(s.head_dim)});
    DecodeShape decode{.sequences = load.decode_sequences,
                       .context = load.decode_context,
                       .kv_heads = kv_heads,
                       .head_dim = static_cast<double>(s.head_dim),
                       .kv_bytes_per_value = model.weights.kv_bytes_per_value};
    if (s.latent_values > 0) {
      decode.kv_heads = 1;
      decode.head_dim = s.latent_values / 2.0;
    }
    seconds += decode_seconds(model.device, decode);
    return seconds + product(tokens, s.hidden, width) + all_reduce();
  }

  double gated(double rows, double ffn, double experts) const {
    return product(rows, 2 * ffn, model.shape.hidden, experts) + elementwise(3 * rows * ffn) +
           product(rows, model.shape.hidden, ffn, experts);
  }
  double feed_forward(bool dense) const {
    const ModelShape& s = model.shape;
    double seconds = norm() + all_reduce();
    if (dense) return seconds + gated(tokens, (s.experts > 0 ? s.dense_ffn : s.ffn) / tensor, 1);
    if (s.shared_ffn > 0) seconds += gated(tokens, s.shared_ffn / tensor, 1);
    seconds += product(tokens, s.experts, s.hidden) + elementwise(4 * tokens * s.hidden);
    // Tokens choose experts as if at random, so a few tokens leave some experts unread.
    const double share = static_cast<double>(s.experts_used) / s.experts;
    const double touched = std::max(1.0, s.experts * (1 - std::pow(1 - share, tokens)));
    // With expert parallelism a rank has whole experts, without it a part of each; either way it
    // reads one share of the weights.
    const double parallel = std::max(1, model.layout.expert_parallel_size);
    const double here = std::max(1.0, touched / parallel);
    return seconds + gated(tokens * s.experts_used / parallel, s.ffn * parallel / tensor, here);
  }
};
}  // namespace

Result<WeightFormat> weight_format(std::string_view name) {
  if (name.ends_with('?')) name.remove_suffix(1);
  if (name.empty()) return kWeightFormats[0];
  if (name == "bfloat16") name = "bf16";
  if (name == "float16" || name == "f16") name = "fp16";
  if (name == "nvfp4") name = "fp4";
  std::string known;
  for (const WeightFormat& type : kWeightFormats) {
    if (type.name == name) return type;
    known += (known.empty() ? "" : ", ") + std::string(type.name);
  }
  return invalid("dtype '" + std::string(name.substr(0, 40)) + "' is not known: use one of " +
                 known);
}

double step_seconds(const StepModel& model, const StepLoad& whole) {
  const ModelShape& s = model.shape;
  const double stages = std::max(1, model.layout.pipeline_parallel_size);
  const double tensor = std::max(1, model.layout.tensor_parallel_size);
  StepLoad load = whole;
  for (double* part : {&load.prefill_sequences, &load.prefill_tokens, &load.prefill_pairs,
                       &load.decode_sequences, &load.decode_context, &load.sampled})
    *part /= stages;
  const double tokens = load.prefill_tokens + load.decode_sequences;
  if (tokens <= 0) return 0;
  const LayerTimer layer{model, tensor, tokens};
  const double dense_layers = s.experts > 0 ? s.dense_layers : s.layers;
  double seconds = s.layers * layer.attention(load);
  if (dense_layers > 0) seconds += dense_layers * layer.feed_forward(true);
  if (s.layers > dense_layers) seconds += (s.layers - dense_layers) * layer.feed_forward(false);
  // Stages take turns, so `stages` micro-batches pass all layers once. The last stage's head and
  // the hand-over come with each of them.
  const double row_bytes = tokens * s.hidden * kActivationBytes;
  double per_batch = 0;
  if (load.sampled > 0) {
    per_batch += gemm_seconds(model.device, {.rows = load.sampled,
                                             .columns = s.vocab / tensor,
                                             .depth = static_cast<double>(s.hidden)});
    per_batch += elementwise_seconds(model.device, load.sampled * s.vocab * 4 / tensor);
    if (tensor > 1)
      per_batch += send_seconds(model.device, load.sampled * s.vocab * 2 * (tensor - 1) / tensor);
  }
  if (stages > 1) per_batch += send_seconds(model.device, row_bytes / tensor);
  return seconds + stages * per_batch;
}

}  // namespace altlas::plan
