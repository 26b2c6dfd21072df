#include "model/attention.h"

#include <algorithm>

#include "base/integers.h"
#include "model/adapt.h"
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

Attention::Attention(const DecoderPart& part, std::span<const KvGroup> groups, uint32_t threads,
                     Workspace<Arena>& arena)
    : config_(part.config),
      shard_(part.shard),
      layout_(part.layout),
      groups_(groups),
      places_(part.config.layer_count) {
  for (uint32_t g = 0; g < groups.size(); ++g)
    for (uint32_t i = 0; i < groups[g].layers.size(); ++i) places_[groups[g].layers[i]] = {g, i};
  qkv_ = arena.own.take_rows<float>(part.step_tokens_max, q_width() + 2 * kv_width());
  attended_ = arena.shared.take_rows<float>(part.step_tokens_max, config_.q_width());
  const size_t whole = config_.q_width() + 2 * size_t{config_.kv_width()};
  if (qkv_.stride != whole) whole_ = arena.own.take_rows<float>(threads, (whole + 15) / 16 * 16);
  partials_ = arena.own.take_rows<float>(shard_.kv_heads.size(),
                                         kSharedTiles * ops::attention_partial_floats(shape(0)));
  states_ = arena.own.take_rows<float>(shard_.q_heads.size(), state_floats(config_.head_dim));
}

// One KV head with as many query heads as any has.
ops::AttentionShape Attention::shape(uint32_t window) const {
  ops::KvLayout one_head = layout_;
  one_head.kv_heads = 1;
  return {.q_heads = config_.q_heads / config_.kv_heads,
          .scale = config_.attention_scale,
          .softcap = config_.attention_softcap,
          .window = window,
          .layout = one_head};
}

// head: of the rank's KV heads.
Attention::Head Attention::head_of(uint32_t head, uint32_t window) const {
  const HeadGroup& group = shard_.head_groups[head];
  const size_t dim = config_.head_dim;
  Head out{.shape = shape(window),
           .q = (group.q_heads.begin - shard_.q_heads.begin) * dim,
           .attended = group.q_heads.begin * dim,
           .width = group.q_heads.size() * dim,
           .kv = head * dim};
  out.shape.q_heads = group.q_heads.size();
  return out;
}

std::array<Attention::Columns, 3> Attention::columns() const {
  const size_t dim = config_.head_dim, q = config_.q_width(), kv = config_.kv_width(),
               first_kv = shard_.kv_heads.begin * dim;
  return {{{shard_.q_heads.begin * dim, 0, q_width()},
           {q + first_kv, q_width(), kv_width()},
           {q + kv + first_kv, q_width() + kv_width(), kv_width()}}};
}

// The number of a head's pairs of values that rope turns.
size_t Attention::turning(const KvGroup& group) const {
  return (group.window != 0 ? config_.window_rope : config_.rope).frequency.size();
}

void Attention::adapt(const StepContext& step, uint32_t index) {
  if (!step.adapts) return;
  if (whole_.data == nullptr)  // Then its threads are all that there are.
    return model::adapt(step, index, &LayerAdapter::qkv, step.normed, qkv_);
  // Adapters add to whole rows.
  float* whole = whole_[step.thread];
  for (size_t row = step.rank_own.begin; row < step.rank_own.end; ++row) {
    for (const Columns& part : columns())
      std::copy_n(qkv_[row] + part.own, part.count, whole + part.whole);
    add_pairs(pairs_of(step, row, index, &LayerAdapter::qkv), step.normed[row], whole);
    for (const Columns& part : columns())
      std::copy_n(whole + part.whole, part.count, qkv_[row] + part.own);
  }
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
  step.meet_columns(&ShardPlan::q_heads, attended_, config_.head_dim);
  uint64_t seen = 0;
  for (const BatchEntry& entry : step.entries)
    seen += keys_seen(entry.position, entry.tokens.size(), window);
  step.clock.lap(Op::kAttention, 0, 0, 2 * seen * q_width());
  if (!layer.output.takes_quantized || (!step.single && quantizes_items(step, layer.output)))
    return;
  ops::quantize_rows(attended_, config_.q_width(), step.own, step.quantized);
  step.meet_rows();
}

// Adds the bias to q and k, norms their heads, turns them by rope, and writes k and v to the cache.
void Attention::write_kv(StepContext& step, const LayerWeights& layer, const Place& place) {
  const size_t q = q_width(), kv = kv_width(), dim = config_.head_dim;
  const uint32_t q_heads = shard_.q_heads.size(), kv_heads = shard_.kv_heads.size();
  const KvGroup& group = groups_[place.group];
  std::byte* blocks = group.layer_data(layout_, place.index);
  const Rows<float> angles = step.angles[group.window != 0 ? 1 : 0];
  const size_t half = turning(group);
  for (size_t row = step.rank_own.begin; row < step.rank_own.end; ++row) {
    float* qkv = qkv_[row];
    if (layer.qkv_bias != nullptr) ops::add_cpu(layer.qkv_bias, q + 2 * kv, qkv);
    if (layer.q_norm != nullptr) norm_heads(qkv, q_heads, dim, layer.q_norm, config_.norm_eps);
    if (layer.k_norm != nullptr) norm_heads(qkv + q, kv_heads, dim, layer.k_norm, config_.norm_eps);
    ops::rope_cpu(qkv, {q_heads + kv_heads, dim, half, config_.architecture.rope}, angles[row]);
    const StepToken& token = step.tokens[row];
    ops::kv_write_cpu(layout_,
                      {.blocks = blocks,
                       .block_stride = layout_.block_bytes(),
                       .table = step.entries[token.entry].tables[place.group].data(),
                       .position = token.position},
                      qkv + q, qkv + q + kv);
  }
}

// Whether attend() quantises its results, one item at a time. Processes give each other floats.
bool Attention::quantizes_items(const StepContext& step, const Linear& next) const {
  return next.takes_quantized && shard_.attends_whole_blocks && !step.group.splits();
}

// Returns the call of attention for a KV head of the rank, from a row of the step on. blocks: the
// layer's. Its table, position and number of tokens are the caller's to fill in.
ops::AttentionCall Attention::call_of(const Head& head, uint32_t index, std::byte* blocks,
                                      size_t first_row) const {
  return {.blocks = blocks + index * layout_.head_bytes(),
          .block_stride = layout_.block_bytes(),
          .tokens = 1,
          .q = qkv_[first_row] + head.q,
          .q_stride = qkv_.stride,
          .out = attended_[first_row] + head.attended,
          .out_stride = attended_.stride};
}

void Attention::attend(StepContext& step, const LayerWeights& layer, const Place& place) {
  const KvGroup& group = groups_[place.group];
  const size_t q = config_.q_width();
  const bool quantizes = quantizes_items(step, layer.output);
  std::byte* blocks = group.layer_data(layout_, place.index);
  while (const AttentionItem* taken = step.tokens.take()) {
    const AttentionItem& item = *taken;
    const Head head = head_of(item.kv_head, group.window);
    ops::AttentionCall call = call_of(head, item.kv_head, blocks, item.first_row);
    call.table = step.entries[item.entry].tables[place.group].data();
    call.position = step.tokens[item.first_row].position;
    call.tokens = item.tokens;
    ops::attention_cpu(head.shape, call, step.scratch);
    if (quantizes)
      ops::quantize_part_cpu({call.out, item.tokens, attended_.stride},
                             {.out = step.quantized + ops::quantized_bytes(item.first_row, q),
                              .cols = q,
                              .column = head.attended,
                              .width = head.width});
  }
}

// Adds the bias to one KV head of the rank and its queries, norms them, and turns them by rope.
void Attention::turn_head(StepContext& step, const LayerWeights& layer, const KvGroup& group,
                          uint32_t head) const {
  const size_t q = q_width(), kv = kv_width(), dim = config_.head_dim;
  const float* angles = step.angles[group.window != 0 ? 1 : 0].data;
  const size_t half = turning(group);
  const Head own = head_of(head, 0);
  struct Piece {
    size_t column, heads;
    const float* norm;
    bool turns;
  };
  const Piece pieces[] = {{own.q, own.width / dim, layer.q_norm, true},
                          {q + own.kv, 1, layer.k_norm, true},
                          {q + kv + own.kv, 1, nullptr, false}};
  for (const Piece& piece : pieces) {
    float* x = qkv_.data + piece.column;
    if (layer.qkv_bias != nullptr)
      ops::add_cpu(layer.qkv_bias + piece.column, piece.heads * dim, x);
    if (piece.norm != nullptr) norm_heads(x, piece.heads, dim, piece.norm, config_.norm_eps);
    if (piece.turns) ops::rope_cpu(x, {piece.heads, dim, half, config_.architecture.rope}, angles);
  }
}

// Computes a step of one token: each thread takes every team.size()th KV head of the rank, from its
// bias to its attention.
void Attention::attend_token(StepContext& step, const LayerWeights& layer, const Place& place) {
  const size_t q = q_width(), kv = kv_width();
  const BatchEntry& entry = step.entries[0];
  const KvGroup& group = groups_[place.group];
  std::byte* blocks = group.layer_data(layout_, place.index);
  const uint32_t* table = entry.tables[place.group].data();
  const bool shared = shares_token(step, shape(group.window), entry.position);
  for (uint32_t index = step.thread; index < shard_.kv_heads.size(); index += step.team.size()) {
    turn_head(step, layer, group, index);
    const Head head = head_of(index, group.window);
    ops::kv_write_cpu(head.shape.layout,
                      {.blocks = blocks + index * layout_.head_bytes(),
                       .block_stride = layout_.block_bytes(),
                       .table = table,
                       .position = entry.position},
                      qkv_.data + q + head.kv, qkv_.data + q + kv + head.kv);
    if (shared) continue;
    ops::AttentionCall call = call_of(head, index, blocks, 0);
    call.table = table;
    call.position = entry.position;
    ops::attention_cpu(head.shape, call, step.scratch);
  }
  if (shared) attend_together(step, place);
}

// Whether sharing tiles is worth two barriers: with whole heads threads would be idle, and there
// are enough tiles for all.
bool Attention::shares_token(const StepContext& step, const ops::AttentionShape& shape,
                             size_t position) const {
  constexpr size_t kTilesMin = 4;
  const size_t heads = shard_.kv_heads.size(), threads = step.team.size(),
               places = round_up(heads, threads);
  const ops::AttentionTiles tiles = ops::attention_tiles(shape, position);
  return threads > 1 && tiles.last - tiles.first >= kTilesMin && 4 * places > 5 * heads;
}

// Splits the tiles of all KV heads of the rank over its threads, then the rows that merge them.
void Attention::attend_together(StepContext& step, const Place& place) {
  const KvGroup& group = groups_[place.group];
  const BatchEntry& entry = step.entries[0];
  std::byte* blocks = group.layer_data(layout_, place.index);
  const ops::AttentionTiles tiles = ops::attention_tiles(shape(group.window), entry.position);
  const size_t heads = shard_.kv_heads.size();
  const auto call_of_head = [&](const Head& head, uint32_t index) {
    ops::AttentionCall call = call_of(head, index, blocks, 0);
    call.table = entry.tables[place.group].data();
    call.position = entry.position;
    return call;
  };
  for (size_t at = tiles.first; at < tiles.last; at += kSharedTiles) {
    const size_t count = std::min<size_t>(kSharedTiles, tiles.last - at);
    // Keys and values are written by then, and earlier partial results merged.
    step.team.barrier();
    const auto own = device::split(heads * count, step.thread, step.team.size());
    for (size_t i = own.begin; i < own.end;) {
      const auto index = static_cast<uint32_t>(i / count);
      const size_t first = i % count, last = std::min(count, first + (own.end - i));
      const Head head = head_of(index, group.window);
      ops::attention_partial_cpu(
          head.shape, call_of_head(head, index), {at + first, at + last},
          partials_[index] + first * ops::attention_partial_floats(head.shape), step.scratch);
      i += last - first;
    }
    step.team.barrier();
    const auto rows = device::split(shard_.q_heads.size(), step.thread, step.team.size());
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const uint32_t q_head = shard_.q_heads.begin + static_cast<uint32_t>(row);
      const uint32_t index = q_head / (config_.q_heads / config_.kv_heads) - shard_.kv_heads.begin;
      const Head head = head_of(index, group.window);
      ops::attention_merge_cpu(head.shape, call_of_head(head, index),
                               {.partials = partials_[index],
                                .partial_stride = ops::attention_partial_floats(head.shape),
                                .count = count,
                                .row = q_head - shard_.head_groups[index].q_heads.begin,
                                .first = at == tiles.first,
                                .last = at + count == tiles.last},
                               states_[row]);
    }
  }
}

}  // namespace altlas::model
