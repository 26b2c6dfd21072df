#include "model/attention.h"

#include <algorithm>

#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"

namespace altlas::model {
namespace {

// Tiles of one token's attention that are computed between two merges.
constexpr uint32_t kSharedTiles = 64;

size_t state_floats(uint32_t head_dim) { return (head_dim + 2 + 15) / 16 * 16; }

// Norms each of `heads` heads in place.
void norm_heads(float* x, size_t heads, size_t head_dim, const float* gamma, float eps) {
  ops::rms_norm_cpu({x, heads * head_dim}, {gamma, head_dim}, eps, {x, heads * head_dim});
}

}  // namespace

Attention::Attention(const ModelConfig& config, const ops::KvLayout& layout,
                     std::span<const KvGroup> groups, uint32_t step_tokens_max, Arena& arena)
    : config_(config), layout_(layout), groups_(groups), places_(config.layer_count) {
  for (uint32_t g = 0; g < groups.size(); ++g)
    for (uint32_t i = 0; i < groups[g].layers.size(); ++i) places_[groups[g].layers[i]] = {g, i};
  qkv_ = arena.take_rows<float>(step_tokens_max, config.q_width() + 2 * config.kv_width());
  attended_ = arena.take_rows<float>(step_tokens_max, config.q_width());
  partials_ = arena.take_rows<float>(config.kv_heads,
                                     kSharedTiles * ops::attention_partial_floats(shape(0)));
  states_ = arena.take_rows<float>(config.q_heads, state_floats(config.head_dim));
}

ops::AttentionShape Attention::shape(uint32_t window) const {
  return {.q_heads = config_.q_heads,
          .scale = config_.attention_scale,
          .softcap = config_.attention_softcap,
          .window = window,
          .layout = layout_};
}

// The number of a head's pairs of values that rope turns.
size_t Attention::turning(const KvGroup& group) const {
  return (group.window != 0 ? config_.window_rope : config_.rope).frequency.size();
}

void Attention::run(StepContext& step, const LayerWeights& layer, uint32_t index) {
  const Place place = places_[index];
  const uint32_t window = groups_[place.group].window;
  if (step.single) {
    attend_token(step, layer, place);
  } else {
    write_kv(step, layer, place);
    if (step.thread == 0) step.tokens.put_back();
    step.team.barrier();
    step.clock.lap(Op::kKvWrite);
    attend(step, layer, place);
  }
  step.team.barrier();
  uint64_t seen = 0;
  for (const BatchEntry& entry : step.entries)
    seen += keys_seen(entry.position, entry.tokens.size(), window);
  step.clock.lap(Op::kAttention, 0, 0, 2 * seen * config_.q_width());
  if (!layer.output.takes_quantized || (!step.single && quantizes_items(layer.output))) return;
  ops::quantize_rows(attended_.data, attended_.stride, config_.q_width(), step.own.begin,
                     step.own.end, step.quantized);
  step.meet_rows();
}

// Adds the bias to q and k, norms their heads, turns them by rope, and writes k and v to the cache.
void Attention::write_kv(StepContext& step, const LayerWeights& layer, const Place& place) {
  const size_t q = config_.q_width(), kv = config_.kv_width(), dim = config_.head_dim;
  const KvGroup& group = groups_[place.group];
  std::byte* blocks = group.layer_data(layout_, place.index);
  const Rows<float> angles = step.angles[group.window != 0 ? 1 : 0];
  const size_t half = turning(group);
  for (size_t row = step.own.begin; row < step.own.end; ++row) {
    float* qkv = qkv_[row];
    if (layer.qkv_bias != nullptr) ops::add_cpu(layer.qkv_bias, q + 2 * kv, qkv);
    if (layer.q_norm != nullptr)
      norm_heads(qkv, config_.q_heads, dim, layer.q_norm, config_.norm_eps);
    if (layer.k_norm != nullptr)
      norm_heads(qkv + q, config_.kv_heads, dim, layer.k_norm, config_.norm_eps);
    ops::rope_cpu(qkv, config_.q_heads + config_.kv_heads, dim, half, angles[row],
                  config_.architecture.rope);
    const StepToken& token = step.tokens[row];
    ops::kv_write_cpu(layout_, blocks, layout_.block_bytes(),
                      step.entries[token.entry].tables[place.group].data(), token.position, qkv + q,
                      qkv + q + kv);
  }
}

// Whether attend() quantises its results, one item at a time.
bool Attention::quantizes_items(const Linear& next) const {
  return next.takes_quantized && config_.q_width() / config_.kv_heads % ops::kActivationBlock == 0;
}

void Attention::attend(StepContext& step, const LayerWeights& layer, const Place& place) {
  const KvGroup& group = groups_[place.group];
  const ops::AttentionShape attention = shape(group.window);
  const size_t q = config_.q_width(), own = q / config_.kv_heads;
  const bool quantizes = quantizes_items(layer.output);
  while (const AttentionItem* taken = step.tokens.take()) {
    const AttentionItem& item = *taken;
    const ops::AttentionCall call{.blocks = group.layer_data(layout_, place.index),
                                  .block_stride = layout_.block_bytes(),
                                  .table = step.entries[item.entry].tables[place.group].data(),
                                  .position = step.tokens[item.first_row].position,
                                  .tokens = item.tokens,
                                  .kv_head = item.kv_head,
                                  .q = qkv_[item.first_row],
                                  .q_stride = qkv_.stride,
                                  .out = attended_[item.first_row],
                                  .out_stride = attended_.stride};
    ops::attention_cpu(attention, call, step.scratch);
    if (quantizes)
      ops::quantize_part_cpu(call.out + item.kv_head * own, attended_.stride, item.tokens,
                             {.out = step.quantized + ops::quantized_bytes(item.first_row, q),
                              .cols = q,
                              .column = item.kv_head * own,
                              .width = own});
  }
}

// Bias, norms and rope of one KV head and its queries.
void Attention::turn_head(StepContext& step, const LayerWeights& layer, const KvGroup& group,
                          uint32_t head) const {
  const size_t q = config_.q_width(), kv = config_.kv_width(), dim = config_.head_dim,
               heads = config_.q_heads / config_.kv_heads;
  const float* angles = step.angles[group.window != 0 ? 1 : 0].data;
  const size_t half = turning(group);
  struct Piece {
    size_t column, heads;
    const float* norm;
    bool turns;
  };
  const Piece pieces[] = {{head * heads * dim, heads, layer.q_norm, true},
                          {q + head * dim, 1, layer.k_norm, true},
                          {q + kv + head * dim, 1, nullptr, false}};
  for (const Piece& piece : pieces) {
    float* x = qkv_.data + piece.column;
    if (layer.qkv_bias != nullptr)
      ops::add_cpu(layer.qkv_bias + piece.column, piece.heads * dim, x);
    if (piece.norm != nullptr) norm_heads(x, piece.heads, dim, piece.norm, config_.norm_eps);
    if (piece.turns) ops::rope_cpu(x, piece.heads, dim, half, angles, config_.architecture.rope);
  }
}

// Of a step of one token: every team.size()th KV head, from its bias to its attention.
void Attention::attend_token(StepContext& step, const LayerWeights& layer, const Place& place) {
  const size_t q = config_.q_width(), kv = config_.kv_width(), dim = config_.head_dim;
  const BatchEntry& entry = step.entries[0];
  const KvGroup& group = groups_[place.group];
  const ops::AttentionShape attention = shape(group.window);
  std::byte* blocks = group.layer_data(layout_, place.index);
  const uint32_t* table = entry.tables[place.group].data();
  ops::KvLayout one_head = layout_;
  one_head.kv_heads = 1;
  const bool shared = shares_token(step, attention, entry.position);
  ops::AttentionCall call{.blocks = blocks,
                          .block_stride = layout_.block_bytes(),
                          .table = table,
                          .position = entry.position,
                          .tokens = 1,
                          .q = qkv_.data,
                          .q_stride = qkv_.stride,
                          .out = attended_.data,
                          .out_stride = attended_.stride};
  for (uint32_t head = step.thread; head < config_.kv_heads; head += step.team.size()) {
    turn_head(step, layer, group, head);
    ops::kv_write_cpu(one_head, blocks + head * layout_.head_bytes(), layout_.block_bytes(), table,
                      entry.position, qkv_.data + q + head * dim, qkv_.data + q + kv + head * dim);
    call.kv_head = head;
    if (!shared) ops::attention_cpu(attention, call, step.scratch);
  }
  if (shared) attend_together(step, attention, call);
}

// Whether sharing tiles is worth two barriers: with whole heads threads would be idle, and there
// are enough tiles for all.
bool Attention::shares_token(const StepContext& step, const ops::AttentionShape& shape,
                             size_t position) const {
  constexpr size_t kTilesMin = 4;
  const size_t heads = config_.kv_heads, threads = step.team.size(),
               places = (heads + threads - 1) / threads * threads;
  const ops::AttentionTiles tiles = ops::attention_tiles(shape, position);
  return threads > 1 && tiles.last - tiles.first >= kTilesMin && 4 * places > 5 * heads;
}

// Tiles of all KV heads are split over the threads, then the rows that merge them.
void Attention::attend_together(StepContext& step, const ops::AttentionShape& shape,
                                ops::AttentionCall call) {
  const ops::AttentionTiles tiles = ops::attention_tiles(shape, call.position);
  const size_t stride = ops::attention_partial_floats(shape), heads = config_.kv_heads;
  for (size_t at = tiles.first; at < tiles.last; at += kSharedTiles) {
    const size_t count = std::min<size_t>(kSharedTiles, tiles.last - at);
    // Keys and values are written by then, and earlier partial results merged.
    step.team.barrier();
    const auto own = device::split(heads * count, step.thread, step.team.size());
    for (size_t i = own.begin; i < own.end;) {
      const size_t head = i / count, first = i % count,
                   last = std::min(count, first + (own.end - i));
      call.kv_head = static_cast<uint32_t>(head);
      ops::attention_partial_cpu(shape, call, at + first, at + last,
                                 partials_[head] + first * stride, step.scratch);
      i += last - first;
    }
    step.team.barrier();
    const auto rows = device::split(config_.q_heads, step.thread, step.team.size());
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const size_t head = row / shape.group();
      call.kv_head = static_cast<uint32_t>(head);
      ops::attention_merge_cpu(shape, call,
                               {.partials = partials_[head],
                                .partial_stride = stride,
                                .count = count,
                                .row = static_cast<uint32_t>(row % shape.group()),
                                .first = at == tiles.first,
                                .last = at + count == tiles.last},
                               states_[row]);
    }
  }
}

}  // namespace altlas::model
