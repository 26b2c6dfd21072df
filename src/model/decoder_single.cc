// A step of one token: every thread computes what has one row for itself and its share of the
// rest, with five barriers per layer. The bits are those of run_layers.
#include <algorithm>

#include "model/decoder.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"

namespace altlas::model {

Decoder::Single Decoder::single_at(Arena& arena, const ModelConfig& config) {
  const uint64_t widest = std::max(config.hidden, config.q_width());
  Single own{.x = arena.take_array<float>(config.hidden)};
  own.normed = arena.take_array<float>(config.hidden);
  for (float*& angles : own.angles) angles = arena.take_array<float>(config.head_dim);
  own.quantized = arena.take(ops::quantized_bytes(1, widest));
  own.chosen = arena.take_array<uint32_t>(config.experts.used);
  own.share = arena.take_array<float>(config.experts.used);
  return own;
}

void Decoder::run_single(uint32_t thread, const BatchEntry& entry) {
  const size_t hidden = config_.hidden, q = config_.q_width();
  Single own = singles_[thread];
  if (thread == 0) own.x = work_.x;  // The head reads it there.
  OpClock clock(thread == 0 ? times_ : nullptr);
  embed(tokens_[0], own.x, own.angles[0], own.angles[1]);
  const auto input = [&](const float* values, size_t cols) {
    return ops::Activations{
        .tokens = 1, .quantized = own.quantized, .values = values, .stride = cols};
  };
  clock.lap(Op::kEmbed);
  const auto lap = [&](Op op, const Linear& linear) {
    clock.lap(op, linear.bytes, uint64_t{linear.rows} * linear.cols);
  };
  const LayerWeights* before = nullptr;
  for (uint32_t l = 0; l < config_.layer_count; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    if (before != nullptr) add_branch(before->post_feed_forward_norm, own);
    norm_single(layer.attention_norm, layer.qkv.takes_quantized, own);
    clock.lap(Op::kNorm);
    multiply(thread, layer.qkv, input(own.normed, hidden), work_.qkv, layer.qkv.rows);
    team_.barrier();
    lap(Op::kQkv, layer.qkv);
    attend_single(thread, own, entry, layer, l);
    team_.barrier();
    const uint32_t window = config_.is_window_layer(l) ? config_.window : 0;
    clock.lap(Op::kAttention, 0, 0, 2 * keys_seen(entry.position, 1, window) * q);
    if (layer.output.takes_quantized) ops::quantize_rows(work_.attended, q, q, 0, 1, own.quantized);
    multiply(thread, layer.output, input(work_.attended, q), work_.delta, hidden);
    team_.barrier();
    lap(Op::kOutput, layer.output);
    add_branch(layer.post_attention_norm, own);
    norm_single(layer.feed_forward_norm, feed_forward_forms(layer).quantized, own);
    clock.lap(Op::kNorm);
    if (layer.experts) {
      run_experts_single(thread, own, *layer.experts, input(own.normed, hidden), clock);
    } else {
      multiply_gated(thread, layer.gate_up, input(own.normed, hidden), gated_for(layer.down),
                     clock);
      team_.barrier();
      lap(Op::kGateUp, layer.gate_up);
      multiply(thread, layer.down, gated_for(layer.down).input(1), work_.delta, hidden);
      team_.barrier();
      lap(Op::kDown, layer.down);
    }
    before = &layer;
  }
  if (thread == 0) add_branch(before->post_feed_forward_norm, own);
}

// own.x += what the last product left in delta, normed first where the model asks.
void Decoder::add_branch(const float* post_norm, const Single& own) const {
  const size_t hidden = config_.hidden;
  const float* delta = work_.delta;
  if (post_norm != nullptr) {
    ops::rms_norm_cpu({delta, hidden}, {post_norm, hidden}, config_.norm_eps, {own.normed, hidden});
    delta = own.normed;
  }
  ops::add_cpu(delta, hidden, own.x);
}

void Decoder::norm_single(const float* norm, bool quantize, const Single& own) const {
  const size_t hidden = config_.hidden;
  ops::rms_norm_cpu({own.x, hidden}, {norm, hidden}, config_.norm_eps, {own.normed, hidden});
  if (quantize) ops::quantize_rows(own.normed, hidden, hidden, 0, 1, own.quantized);
}

// Every team.size()th KV head, from its bias to its attention.
void Decoder::attend_single(uint32_t thread, const Single& own, const BatchEntry& entry,
                            const LayerWeights& layer, uint32_t layer_index) {
  const size_t q = config_.q_width(), kv = config_.kv_width(), dim = config_.head_dim;
  const Place place = place_of_layer_[layer_index];
  const KvGroup& kv_group = groups_[place.group];
  const ops::AttentionShape shape = attention_shape(kv_group.window);
  const float* angles = own.angles[kv_group.window != 0 ? 1 : 0];
  const size_t half = (kv_group.window != 0 ? config_.window_rope : config_.rope).frequency.size();
  std::byte* blocks = kv_group.layer_data(layout_, place.index);
  const uint32_t* table = entry.tables[place.group].data();
  ops::KvLayout one_head = layout_;
  one_head.kv_heads = 1;
  const size_t heads = shape.group();
  const bool shared = shares_attention(shape, entry.position);
  ops::AttentionCall call{.blocks = blocks,
                          .block_stride = layout_.block_bytes(),
                          .table = table,
                          .position = entry.position,
                          .tokens = 1,
                          .q = work_.qkv,
                          .q_stride = q + 2 * kv,
                          .out = work_.attended,
                          .out_stride = q};
  for (uint32_t head = thread; head < config_.kv_heads; head += team_.size()) {
    struct Piece {
      size_t column, heads;
      const float* norm;
      bool turns;
    };
    const Piece pieces[] = {{head * heads * dim, heads, layer.q_norm, true},
                            {q + head * dim, 1, layer.k_norm, true},
                            {q + kv + head * dim, 1, nullptr, false}};
    for (const Piece& piece : pieces) {
      float* x = work_.qkv + piece.column;
      const size_t count = piece.heads * dim;
      if (layer.qkv_bias != nullptr) ops::add_cpu(layer.qkv_bias + piece.column, count, x);
      if (piece.norm != nullptr)
        ops::rms_norm_cpu({x, count}, {piece.norm, dim}, config_.norm_eps, {x, count});
      if (piece.turns) ops::rope_cpu(x, piece.heads, dim, half, angles, config_.architecture.rope);
    }
    ops::kv_write_cpu(one_head, blocks + head * layout_.head_bytes(), layout_.block_bytes(), table,
                      entry.position, work_.qkv + q + head * dim, work_.qkv + q + kv + head * dim);
    call.kv_head = head;
    if (!shared) ops::attention_cpu(shape, call, scratch(thread));
  }
  if (shared) attend_together(thread, shape, call);
}

// Whether sharing tiles is worth two barriers: whole heads would leave threads idle, and there are
// tiles for all.
bool Decoder::shares_attention(const ops::AttentionShape& shape, size_t position) const {
  constexpr size_t kTilesMin = 4;
  const size_t heads = config_.kv_heads, threads = team_.size(),
               places = (heads + threads - 1) / threads * threads;
  const ops::AttentionTiles tiles = ops::attention_tiles(shape, position);
  return threads > 1 && tiles.last - tiles.first >= kTilesMin && 4 * places > 5 * heads;
}

// Tiles of all KV heads are split over the threads, then the rows that merge them.
void Decoder::attend_together(uint32_t thread, const ops::AttentionShape& shape,
                              ops::AttentionCall call) {
  const ops::AttentionTiles tiles = ops::attention_tiles(shape, call.position);
  const size_t stride = ops::attention_partial_floats(shape), heads = config_.kv_heads;
  for (size_t at = tiles.first; at < tiles.last; at += kSharedTiles) {
    const size_t count = std::min<size_t>(kSharedTiles, tiles.last - at);
    const auto partials = [&](size_t head) {
      return work_.partials + head * kSharedTiles * stride;
    };
    team_.barrier();  // Keys and values are written, earlier partials merged.
    const auto own = device::split(heads * count, thread, team_.size());
    for (size_t i = own.begin; i < own.end;) {
      const size_t head = i / count, first = i % count,
                   last = std::min(count, first + (own.end - i));
      call.kv_head = static_cast<uint32_t>(head);
      ops::attention_partial_cpu(shape, call, at + first, at + last,
                                 partials(head) + first * stride, scratch(thread));
      i += last - first;
    }
    team_.barrier();
    const auto rows = device::split(config_.q_heads, thread, team_.size());
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const size_t head = row / shape.group();
      call.kv_head = static_cast<uint32_t>(head);
      ops::attention_merge_cpu(shape, call,
                               {.partials = partials(head),
                                .partial_stride = stride,
                                .count = count,
                                .row = static_cast<uint32_t>(row % shape.group()),
                                .first = at == tiles.first,
                                .last = at + count == tiles.last},
                               work_.attention_state + row * state_stride(config_.head_dim));
    }
  }
}

}  // namespace altlas::model
