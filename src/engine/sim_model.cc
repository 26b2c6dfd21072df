#include "engine/sim_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/integers.h"
#include "base/units.h"

namespace altlas::engine {

namespace {
double attention_parameters(const SimShape& s) {
  const double q = static_cast<double>(s.heads) * s.head_dim,
               kv = static_cast<double>(s.kv_heads) * s.head_dim;
  return s.layers * (2 * q + 2 * kv) * s.hidden;  // Query and output, key and value.
}
double ffn_parameters(const SimShape& s) {
  return 3.0 * s.layers * s.hidden * s.ffn;  // Gate, up, down.
}
double head_parameters(const SimShape& s) { return static_cast<double>(s.hidden) * s.vocab; }
// Bytes of one layer's weights, over all ranks.
double layer_bytes(const SimShape& s) {
  const double all = s.experts > 0 ? s.experts : 1;
  const double share = (attention_parameters(s) + ffn_parameters(s) * all) / s.parameters();
  return static_cast<double>(s.weight_bytes) * share / s.layers;
}
// Layers that a device holds around their turn: before, now, next.
constexpr double kStreamWindow = 3;
}  // namespace

double SimShape::active_parameters() const {
  const double used = experts > 0 ? experts_used : 1;
  return attention_parameters(*this) + ffn_parameters(*this) * used + head_parameters(*this);
}

double SimShape::parameters() const {
  const double all = experts > 0 ? experts : 1;
  return attention_parameters(*this) + ffn_parameters(*this) * all + head_parameters(*this);
}

Result<ReplicaLimits> sim_limits(const SimOptions& o) {
  const SimShape& s = o.shape;
  if (s.layers == 0 || s.hidden == 0 || s.heads == 0 || s.kv_heads == 0 || s.head_dim == 0 ||
      s.ffn == 0 || s.vocab == 0 || s.weight_bytes == 0) {
    return invalid(
        "the model's shape has a zero: layers, hidden, heads, kv_heads, head_dim, ffn, vocab and "
        "weight bytes "
        "are all needed to simulate it");
  }
  const auto ranks = static_cast<uint64_t>(std::max(1, o.layout.ranks()));
  ReplicaLimits limits;
  limits.sequences_max = o.sequences_max == 0 ? 256 : o.sequences_max;
  limits.step_tokens_max =
      std::max(o.step_tokens_max == 0 ? 2048 : o.step_tokens_max, limits.sequences_max + 1);
  limits.block_tokens = o.block_tokens;
  limits.vocab_size = s.vocab;
  limits.embedding_size = s.hidden;
  replica::RankMemory rank;
  rank.weights = ceil_div(s.weight_bytes, ranks);
  if (o.streamed_layers > 0) {
    const double window = kStreamWindow * std::max(1, o.layout.pipeline_parallel_size);
    const double away = std::max(0.0, o.streamed_layers - window) * layer_bytes(s);
    rank.weights -= static_cast<uint64_t>(away / static_cast<double>(ranks));
  }
  // Activations are two copies of the widest ones in float32, and the logits of the rows that
  // sample.
  rank.activations =
      uint64_t{limits.step_tokens_max} * (s.hidden + uint64_t{2} * s.ffn) * 4 / ranks +
      uint64_t{limits.sequences_max} * s.vocab * 4;
  const uint64_t block_bytes =
      ceil_div(s.kv_values_per_token() * o.kv_value_bytes * o.block_tokens, ranks);
  rank.blocks = {block_bytes};
  limits.ranks.assign(o.device_count, rank);
  limits.groups = {kv::GroupSpec::attention(/*window=*/0, block_bytes)};
  const auto budget =
      static_cast<uint64_t>(static_cast<double>(o.kind.memory_bytes) * o.memory_utilization);
  const uint64_t fixed = rank.fixed();
  if (budget < fixed + block_bytes) {
    return invalid(fmt::format(
        "does not fit: weights {} + activations {} + one KV block {} per device exceed {} of {}; "
        "use more devices (tensor_parallel_size {} now) or larger ones",
        format_bytes(rank.weights), format_bytes(rank.activations), format_bytes(block_bytes),
        format_bytes(budget), o.kind.name, o.layout.tensor_parallel_size));
  }
  uint64_t length = o.model_len_max != 0 ? o.model_len_max : s.model_len_max;
  // Blocks beyond every slot's full length can't be used.
  uint64_t useful =
      length == 0 ? uint64_t{1} << 24 : ceil_div(length, o.block_tokens) * limits.sequences_max;
  if (o.kv_tokens_max != 0) useful = std::min(useful, ceil_div(o.kv_tokens_max, o.block_tokens));
  const uint64_t blocks = std::min({(budget - fixed) / block_bytes, useful, uint64_t{1} << 24});
  limits.groups[0].blocks = static_cast<uint32_t>(blocks);
  const uint64_t held = blocks * o.block_tokens;
  if (length == 0 || length > held) length = held;
  limits.model_len_max = static_cast<uint32_t>(length);
  limits.swap_places =
      static_cast<uint32_t>(std::min<uint64_t>(o.swap_bytes / block_bytes, uint64_t{1} << 24));
  limits.swap_block_ns = static_cast<uint64_t>(
      std::llround(static_cast<double>(block_bytes) / o.host_bytes_per_s * 1e9));
  limits.draft_model = o.draft_model;
  limits.generates = o.generates;
  limits.reads_payloads = o.reads_payloads;
  const double flops = 2 * s.active_parameters() / static_cast<double>(ranks);
  limits.prefill_token_ns =
      static_cast<uint64_t>(std::llround(flops / (o.kind.bf16_flops * o.efficiency) * 1e9)) + 1;
  return limits;
}

int64_t sim_step_us(const SimOptions& o, const StepPlan& plan) {
  if (plan.entries.empty()) return 0;
  const SimShape& s = o.shape;
  const double tp = std::max(1, o.layout.tensor_parallel_size),
               pp = std::max(1, o.layout.pipeline_parallel_size);
  double tokens = 0, rows = 0, pairs = 0, context = 0;
  for (const StepEntry& entry : plan.entries) {
    const auto count = static_cast<double>(entry.tokens.size());
    tokens += count;
    rows += entry.prompt_logprobs ? count : entry.samples ? 1 + entry.guesses : 0;
    // Each token sees itself and what is before it.
    pairs += count * (entry.position + (count + 1) / 2);
    context += entry.position + count;
  }
  const double weight_byte = static_cast<double>(s.weight_bytes) / s.parameters();
  // The share of the experts that the step reads.
  const double experts_share =
      s.experts > 0 ? std::min(1.0, tokens * s.experts_used / s.experts) : 1;
  const double used = s.experts > 0 ? s.experts_used : 1, all = s.experts > 0 ? s.experts : 1;
  const double activation_bytes = tokens * s.hidden * 2 * s.layers * 8;
  OperatorCost layers;
  layers.flops = 2 * tokens * (attention_parameters(s) + ffn_parameters(s) * used);
  layers.bytes = (attention_parameters(s) + ffn_parameters(s) * all * experts_share) * weight_byte +
                 activation_bytes;
  layers.launches = 7.0 * s.layers;
  OperatorCost attention;
  attention.flops = 4 * pairs * s.heads * s.head_dim * s.layers;
  attention.bytes =
      (context + tokens) * static_cast<double>(s.kv_values_per_token() * o.kv_value_bytes);
  attention.launches = s.layers;
  OperatorCost head;
  head.flops = 2 * rows * head_parameters(s);
  head.bytes = rows > 0 ? head_parameters(s) * weight_byte : 0;
  head.launches = rows > 0 ? 3 : 0;
  double seconds = 0;
  for (OperatorCost cost : {layers, attention, head}) {
    cost.flops /= tp * pp;
    cost.bytes /= tp * pp;
    cost.launches /= pp;
    seconds += roofline_seconds(o.kind, cost, o.efficiency);
  }
  const double row_bytes = tokens * s.hidden * 2;
  // Each layer does two ring all_reduces.
  if (tp > 1) {
    seconds += 2 * s.layers / pp *
               (2 * (tp - 1) / tp * row_bytes / o.kind.link_bytes_per_s + o.kind.launch_s * 2);
  }
  if (pp > 1) {
    const double micro = o.layout.pipeline_micro_batches > 0 ? o.layout.pipeline_micro_batches : pp;
    // Stages are idle while the first micro-batch comes and the last one leaves.
    seconds *= (micro + pp - 1) / micro;
    seconds += (pp - 1) * (row_bytes / micro / o.kind.link_bytes_per_s + o.kind.launch_s);
  }
  // Streamed layers come while others compute.
  seconds = std::max(seconds, o.streamed_layers * layer_bytes(s) / (tp * pp) / o.host_bytes_per_s);
  const double swapped = static_cast<double>(plan.swap_out.size() + plan.swap_in.size());
  seconds += swapped * static_cast<double>(s.kv_values_per_token() * o.kv_value_bytes) *
             o.block_tokens / (tp * pp) / o.host_bytes_per_s;
  return std::max<int64_t>(1, std::llround(seconds * 1e6));
}

}  // namespace altlas::engine
