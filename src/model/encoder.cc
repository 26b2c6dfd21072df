#include "model/encoder.h"

#include <algorithm>

#include "base/check.h"
#include "ops/dequantize/dequantize.h"
#include "ops/elementwise/elementwise.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/quantize/quantize.h"

namespace altlas::model {

Encoder::Work Encoder::lay_out(Arena& arena, const ModelConfig& config,
                               const DecoderWeights& weights, const ops::KvLayout& layout,
                               uint32_t tokens, uint32_t threads) {
  const uint64_t hidden = config.hidden;
  Work work;
  work.x = arena.take_array<float>(tokens * hidden);
  work.delta = arena.take_array<float>(tokens * hidden);
  work.qkv = arena.take_array<float>(tokens * 3 * hidden);
  work.attended = arena.take_array<float>(tokens * hidden);
  work.wide = arena.take_array<float>(uint64_t{tokens} * config.feed_forward);
  work.quantized =
      arena.take(ops::quantized_bytes(tokens, std::max(config.hidden, config.feed_forward)));
  const ops::AttentionShape shape{.q_heads = config.q_heads, .layout = layout};
  work.scratch_bytes = ops::attention_scratch_bytes(shape);
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      for (const Linear::Part& part : linear->parts)
        work.scratch_bytes = std::max<uint64_t>(
            work.scratch_bytes, ops::matmul_scratch_bytes(part.matrix.type, part.matrix.cols));
  work.scratch_bytes = (work.scratch_bytes + 4095) / 4096 * 4096 + 64;
  work.scratch = arena.take(work.scratch_bytes * threads);
  return work;
}

uint64_t Encoder::workspace_bytes(const ModelConfig& config, const DecoderWeights& weights,
                                  const ops::KvLayout& layout, uint32_t step_tokens_max,
                                  uint32_t threads) {
  Arena arena;
  lay_out(arena, config, weights, layout, step_tokens_max, threads);
  return arena.used();
}

Encoder::Encoder(const ModelConfig& config, const DecoderWeights& weights, const KvGroup& group,
                 const ops::KvLayout& layout, uint32_t step_tokens_max, Arena workspace,
                 device::Team& team)
    : config_(config),
      weights_(weights),
      group_(group),
      layout_(layout),
      team_(team),
      work_(lay_out(workspace, config, weights, layout, step_tokens_max, team.size())) {
  tokens_.reserve(step_tokens_max);
  items_.reserve(uint64_t{step_tokens_max} * config.kv_heads);
}

void Encoder::forward(std::span<const BatchEntry> entries) {
  tokens_.clear();
  items_.clear();
  const ops::AttentionShape shape{.q_heads = config_.q_heads, .layout = layout_};
  const auto at_once = static_cast<uint32_t>(shape.tokens_max());
  for (uint32_t e = 0; e < entries.size(); ++e) {
    const auto first = static_cast<uint32_t>(tokens_.size()),
               count = static_cast<uint32_t>(entries[e].tokens.size());
    for (uint32_t i = 0; i < count; ++i) tokens_.push_back({entries[e].tokens[i], i, e});
    for (uint32_t i = 0; i < count; i += at_once)
      for (uint32_t head = 0; head < config_.kv_heads; ++head)
        items_.push_back({e, first + i, std::min(at_once, count - i), head});
  }
  ALTLAS_CHECK(tokens_.size() <= tokens_.capacity(), "a step within its token budget");
  team_.run([&](uint32_t thread) { run_layers(thread, entries); });
}

void Encoder::run_layers(uint32_t thread, std::span<const BatchEntry> entries) {
  const size_t hidden = config_.hidden, wide = config_.feed_forward;
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) embed(tokens_[row], work_.x + row * hidden);
  for (const LayerWeights& layer : weights_.layers) {
    product(thread, layer.qkv, work_.x, work_.qkv);
    for (size_t row = own.begin; row < own.end; ++row) {
      float* qkv = work_.qkv + row * 3 * hidden;
      ops::add_cpu(layer.qkv_bias, 3 * hidden, qkv);
      ops::kv_write_cpu(layout_, group_.data, layout_.block_bytes(),
                        entries[tokens_[row].entry].tables[0].data(), tokens_[row].position,
                        qkv + hidden, qkv + 2 * hidden);
    }
    if (thread == 0) next_item_.store(0, std::memory_order_relaxed);
    team_.barrier();
    attend(thread, entries);
    team_.barrier();
    product(thread, layer.output, work_.attended, work_.delta);
    add_and_norm(own, layer.output_bias, layer.post_attention_norm, layer.post_attention_beta);
    product(thread, layer.gate_up, work_.x, work_.wide);
    for (size_t row = own.begin; row < own.end; ++row) {
      ops::add_cpu(layer.up_bias, wide, work_.wide + row * wide);
      ops::gelu_erf_cpu(wide, work_.wide + row * wide);
    }
    product(thread, layer.down, work_.wide, work_.delta);
    add_and_norm(own, layer.down_bias, layer.post_feed_forward_norm, layer.post_feed_forward_beta);
  }
}

void Encoder::embed(const Token& token, float* x) const {
  const size_t hidden = config_.hidden;
  ops::dequantize_row(weights_.embedding_type,
                      weights_.embedding + static_cast<size_t>(token.id) *
                                               row_bytes(weights_.embedding_type, hidden),
                      hidden, x);
  ops::add_cpu(weights_.token_type, hidden, x);
  ops::add_cpu(weights_.position_embedding + token.position * hidden, hidden, x);
  ops::layer_norm_cpu({x, hidden}, {weights_.output_norm, hidden},
                      {weights_.embedding_beta, hidden}, config_.norm_eps, {x, hidden});
}

void Encoder::product(uint32_t thread, const Linear& linear, const float* x, float* y) {
  const auto own = device::split(tokens_.size(), thread, team_.size());
  if (linear.takes_quantized)
    ops::quantize_rows(x, linear.cols, linear.cols, own.begin, own.end, work_.quantized);
  team_.barrier();
  const ops::Activations in{
      .tokens = tokens_.size(), .quantized = work_.quantized, .values = x, .stride = linear.cols};
  for (const Linear::Part& part : linear.parts) {
    const auto panels = device::split(ops::panel_count(part.matrix.rows), thread, team_.size());
    if (panels.begin < panels.end)
      ops::matmul(part.matrix, in, panels.begin, panels.end, y + part.first_column, linear.rows,
                  scratch(thread));
  }
  team_.barrier();
}

void Encoder::add_and_norm(const device::Range& own, const float* bias, const float* gamma,
                           const float* beta) {
  const size_t hidden = config_.hidden;
  for (size_t row = own.begin; row < own.end; ++row) {
    float* x = work_.x + row * hidden;
    ops::add_cpu(work_.delta + row * hidden, hidden, x);
    ops::add_cpu(bias, hidden, x);
    ops::layer_norm_cpu({x, hidden}, {gamma, hidden}, {beta, hidden}, config_.norm_eps,
                        {x, hidden});
  }
}

// Every query stands where the text ends, so it sees all of it.
void Encoder::attend(uint32_t thread, std::span<const BatchEntry> entries) {
  const size_t hidden = config_.hidden;
  const ops::AttentionShape shape{
      .q_heads = config_.q_heads, .scale = config_.attention_scale, .layout = layout_};
  for (;;) {
    const uint32_t taken = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (taken >= items_.size()) return;
    const AttentionItem& item = items_[taken];
    const BatchEntry& entry = entries[item.entry];
    const ops::AttentionCall call{.blocks = group_.data,
                                  .block_stride = layout_.block_bytes(),
                                  .table = entry.tables[0].data(),
                                  .position = entry.tokens.size() - 1,
                                  .tokens = item.tokens,
                                  .sees_same = true,
                                  .kv_head = item.kv_head,
                                  .q = work_.qkv + item.first_row * 3 * hidden,
                                  .q_stride = 3 * hidden,
                                  .out = work_.attended + item.first_row * hidden,
                                  .out_stride = hidden};
    ops::attention_cpu(shape, call, scratch(thread));
  }
}

}  // namespace altlas::model
