#include "model/encoder.h"

#include <algorithm>

#include "ops/dequantize/dequantize.h"
#include "ops/elementwise/elementwise.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/quantize/quantize.h"

namespace altlas::model {

Encoder::Work Encoder::lay_out(Arena& arena, const EncoderPart& part, uint32_t threads) {
  const Hyperparameters& config = part.config;
  const uint32_t tokens = part.step_tokens_max;
  const uint64_t hidden = config.hidden;
  Work work;
  work.x = arena.take_rows<float>(tokens, hidden);
  work.delta = arena.take_rows<float>(tokens, hidden);
  work.qkv = arena.take_rows<float>(tokens, 3 * hidden);
  work.attended = arena.take_rows<float>(tokens, hidden);
  work.wide = arena.take_rows<float>(tokens, config.feed_forward);
  work.quantized =
      arena.take(ops::quantized_bytes(tokens, std::max(config.hidden, config.feed_forward)));
  const ops::AttentionShape shape{.q_heads = config.q_heads, .layout = part.layout};
  uint64_t scratch = ops::attention_scratch_bytes(shape);
  for (const LayerWeights& layer : part.weights.layers)
    for (const Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      scratch = std::max(scratch, linear->scratch_bytes());
  work.scratch = arena.take_rows<std::byte>(threads, whole_pages(scratch) + 64);
  return work;
}

uint64_t Encoder::workspace_bytes(const EncoderPart& part, uint32_t threads) {
  Arena arena;
  lay_out(arena, part, threads);
  return arena.used();
}

Encoder::Encoder(const EncoderPart& part, const KvGroup& group, Arena workspace, device::Team& team)
    : config_(part.config),
      weights_(part.weights),
      group_(group),
      layout_(part.layout),
      team_(team),
      work_(lay_out(workspace, part, team.size())),
      tokens_(part.step_tokens_max, part.config.kv_heads) {}

void Encoder::forward(std::span<const BatchEntry> entries) {
  const ops::AttentionShape shape{.q_heads = config_.q_heads, .layout = layout_};
  tokens_.list(entries, shape.tokens_max());
  team_.run([&](uint32_t thread) { run_layers(thread, entries); });
}

void Encoder::run_layers(uint32_t thread, std::span<const BatchEntry> entries) {
  const size_t hidden = config_.hidden, wide = config_.feed_forward;
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) embed(tokens_[row], work_.x[row]);
  for (const LayerWeights& layer : weights_.layers) {
    product(thread, layer.qkv, work_.x, work_.qkv);
    for (size_t row = own.begin; row < own.end; ++row) {
      float* qkv = work_.qkv[row];
      ops::add_cpu(layer.qkv_bias, 3 * hidden, qkv);
      ops::kv_write_cpu(layout_,
                        {.blocks = group_.data,
                         .block_stride = layout_.block_bytes(),
                         .table = entries[tokens_[row].entry].tables[0].data(),
                         .position = tokens_[row].position},
                        qkv + hidden, qkv + 2 * hidden);
    }
    if (thread == 0) tokens_.put_back();
    team_.barrier();
    attend(thread, entries);
    team_.barrier();
    product(thread, layer.output, work_.attended, work_.delta);
    add_and_norm(own, layer.output_bias, layer.post_attention_norm, layer.post_attention_beta);
    product(thread, layer.gate_up, work_.x, work_.wide);
    for (size_t row = own.begin; row < own.end; ++row) {
      ops::add_cpu(layer.up_bias, wide, work_.wide[row]);
      ops::gelu_erf_cpu(wide, work_.wide[row]);
    }
    product(thread, layer.down, work_.wide, work_.delta);
    add_and_norm(own, layer.down_bias, layer.post_feed_forward_norm, layer.post_feed_forward_beta);
  }
}

void Encoder::embed(const StepToken& token, float* x) const {
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

void Encoder::product(uint32_t thread, const Linear& linear, Rows<const float> x, Rows<float> y) {
  const auto own = device::split(tokens_.size(), thread, team_.size());
  if (linear.takes_quantized) ops::quantize_rows(x, linear.cols, own, work_.quantized);
  team_.barrier();
  linear.multiply({.tokens = tokens_.size(),
                   .quantized = work_.quantized,
                   .values = x.data,
                   .stride = x.stride},
                  y, thread, team_.size(), work_.scratch[thread]);
  team_.barrier();
}

void Encoder::add_and_norm(const Range& own, const float* bias, const float* gamma,
                           const float* beta) {
  const size_t hidden = config_.hidden;
  for (size_t row = own.begin; row < own.end; ++row) {
    float* x = work_.x[row];
    ops::add_cpu(work_.delta[row], hidden, x);
    ops::add_cpu(bias, hidden, x);
    ops::layer_norm_cpu({x, hidden}, {gamma, hidden}, {beta, hidden}, config_.norm_eps,
                        {x, hidden});
  }
}

// Every query is given the position of the text's end, so that it sees all of the text.
void Encoder::attend(uint32_t thread, std::span<const BatchEntry> entries) {
  const ops::AttentionShape shape{
      .q_heads = config_.q_heads, .scale = config_.attention_scale, .layout = layout_};
  while (const AttentionItem* taken = tokens_.take()) {
    const AttentionItem& item = *taken;
    const BatchEntry& entry = entries[item.entry];
    const ops::AttentionCall call{.blocks = group_.data,
                                  .block_stride = layout_.block_bytes(),
                                  .table = entry.tables[0].data(),
                                  .position = entry.tokens.size() - 1,
                                  .tokens = item.tokens,
                                  .sees_same = true,
                                  .kv_head = item.kv_head,
                                  .q = work_.qkv[item.first_row],
                                  .q_stride = work_.qkv.stride,
                                  .out = work_.attended[item.first_row],
                                  .out_stride = work_.attended.stride};
    ops::attention_cpu(shape, call, work_.scratch[thread]);
  }
}

}  // namespace altlas::model
