#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/dequantize/dequantize.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"

namespace altlas::model {
namespace {

std::span<const float> row_of(const float* x, size_t cols) { return {x, cols}; }

// In place, each of `heads` heads.
void norm_heads(float* x, size_t heads, size_t head_dim, const float* gamma, float eps) {
  ops::rms_norm_cpu({x, heads * head_dim}, {gamma, head_dim}, eps, {x, heads * head_dim});
}

}  // namespace

std::vector<KvGroup> kv_groups(const ModelConfig& config) {
  std::vector<KvGroup> groups;
  if (config.architecture.encoder) return {KvGroup{.layers = {0}}};  // One layer's at a time.
  for (const bool window : {false, true}) {
    KvGroup group{.window = window ? config.window : 0};
    for (uint32_t layer = 0; layer < config.layer_count; ++layer)
      if (config.is_window_layer(layer) == window) group.layers.push_back(layer);
    if (!group.layers.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

Decoder::Work Decoder::lay_out(Arena& arena, const ModelConfig& config,
                               const DecoderWeights& weights, const ops::KvLayout& layout,
                               uint32_t tokens, uint32_t threads, std::vector<Single>& singles) {
  const uint64_t q = config.q_width(),
                 wide = std::max(config.feed_forward, config.experts.shared_feed_forward),
                 widest = std::max<uint64_t>(config.hidden, q);
  Work work;
  work.x = arena.take_array<float>(uint64_t{tokens} * config.hidden);
  work.normed = arena.take_array<float>(uint64_t{tokens} * config.hidden);
  work.delta = arena.take_array<float>(uint64_t{tokens} * config.hidden);
  work.qkv = arena.take_array<float>(tokens * (q + 2 * config.kv_width()));
  work.attended = arena.take_array<float>(tokens * q);
  work.wide = arena.take_array<float>(uint64_t{tokens} * 2 * wide);
  if (config.experts.count > 0) lay_out_experts(arena, config, tokens, work);
  for (float*& angles : work.angles)
    angles = arena.take_array<float>(uint64_t{tokens} * config.head_dim);
  work.quantized = arena.take(ops::quantized_bytes(tokens, widest));
  work.gated = arena.take(ops::quantized_bytes(tokens, wide));
  work.gate_chunk = arena.take_array<float>(uint64_t{threads} * kGateFloats);
  for (uint32_t i = 0; i < threads; ++i) singles.push_back(single_at(arena, config));
  work.samplers = arena.take(std::min(tokens, kSampledRowsMax) *
                             ops::RowSampler::bytes(config.vocab_size, threads));
  ops::AttentionShape shape{.q_heads = config.q_heads, .layout = layout};
  work.scratch_bytes =
      std::max<uint64_t>(ops::attention_scratch_bytes(shape), weights.head.scratch_bytes());
  const auto also = [&](const Linear& linear) {
    work.scratch_bytes = std::max(work.scratch_bytes, linear.scratch_bytes());
  };
  for (const LayerWeights& layer : weights.layers) {
    for (const Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      also(*linear);
    if (!layer.experts) continue;
    const ExpertWeights& experts = *layer.experts;
    for (const Linear* linear : {&experts.router, &experts.shared_gate_up, &experts.shared_down})
      also(*linear);
    for (const auto* linears : {&experts.gate_up, &experts.down})
      for (const Linear& linear : *linears) also(linear);
  }
  work.scratch_bytes = (work.scratch_bytes + 4095) / 4096 * 4096 +
                       64;  // Threads don't share lines, or cache sets alone.
  work.scratch = arena.take(work.scratch_bytes * threads);
  work.partials = arena.take_array<float>(uint64_t{config.kv_heads} * kSharedTiles *
                                          ops::attention_partial_floats(shape));
  work.attention_state = arena.take_array<float>(config.q_heads * state_stride(config.head_dim));
  work.head_chunk = arena.take_array<float>(uint64_t{threads} * kHeadRowsMax * kHeadChunkPanels *
                                            ops::kPanelRows);
  work.best = arena.take_array<ops::Best>(uint64_t{threads} * kHeadRowsMax);
  return work;
}

uint64_t Decoder::workspace_bytes(const ModelConfig& config, const DecoderWeights& weights,
                                  const ops::KvLayout& layout, uint32_t step_tokens_max,
                                  uint32_t threads) {
  Arena arena;
  std::vector<Single> singles;
  lay_out(arena, config, weights, layout, step_tokens_max, threads, singles);
  return arena.used();
}

Decoder::Decoder(const ModelConfig& config, const DecoderWeights& weights,
                 std::span<const KvGroup> groups, const ops::KvLayout& layout,
                 uint32_t step_tokens_max, Arena workspace, device::Team& team)
    : config_(config),
      weights_(weights),
      groups_(groups),
      layout_(layout),
      team_(team),
      work_(lay_out(workspace, config, weights, layout, step_tokens_max, team.size(), singles_)),
      place_of_layer_(config.layer_count),
      tokens_(step_tokens_max, config.kv_heads) {
  for (uint32_t g = 0; g < groups.size(); ++g)
    for (uint32_t i = 0; i < groups[g].layers.size(); ++i)
      place_of_layer_[groups[g].layers[i]] = {g, i};
}

ops::AttentionShape Decoder::attention_shape(uint32_t window) const {
  return {.q_heads = config_.q_heads,
          .scale = config_.attention_scale,
          .softcap = config_.attention_softcap,
          .window = window,
          .layout = layout_};
}

void Decoder::forward(std::span<const BatchEntry> entries) {
  tokens_.list(entries, attention_shape(0).tokens_max());
  step_entries_ = entries;
  adapts_ = std::ranges::any_of(entries, &BatchEntry::adapter);
  shares_tokens_ = team_.size() > 1 && tokens_.size() >= size_t{team_.size()} * kOwnTokens;
  team_.run([&](uint32_t thread) {
    if (tokens_.size() == 1 && !adapts_)
      run_single(thread, entries[0]);
    else
      run_layers(thread, entries);
  });
}

void Decoder::run_layers(uint32_t thread, std::span<const BatchEntry> entries) {
  const size_t tokens = tokens_.size(), hidden = config_.hidden, q = config_.q_width(),
               wide = config_.feed_forward;
  const auto own = device::split(tokens, thread, team_.size());
  const Share share = share_of_step(thread);
  OpClock clock(thread == 0 ? times_ : nullptr);
  for (size_t row = own.begin; row < own.end; ++row)
    embed(tokens_[row], work_.x + row * hidden, work_.angles[0] + row * config_.head_dim,
          work_.angles[1] + row * config_.head_dim);
  clock.lap(Op::kEmbed);
  const auto lap = [&](Op op, const Linear& linear) {
    clock.lap(op, linear.bytes, uint64_t{linear.rows} * linear.cols * tokens);
  };
  const LayerWeights* before = nullptr;
  for (uint32_t l = 0; l < config_.layer_count; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    if (before != nullptr)
      adapt(thread, *before, &LayerAdapter::down, work_.wide, 2 * wide, work_.delta, hidden);
    add_and_norm(thread, before ? before->post_feed_forward_norm : nullptr, layer.attention_norm,
                 forms_of(layer.qkv), before != nullptr);
    meet();
    clock.lap(Op::kNorm);
    multiply(share, layer.qkv, input(tokens, work_.normed, hidden), work_.qkv, layer.qkv.rows);
    meet();
    lap(Op::kQkv, layer.qkv);
    adapt(thread, layer, &LayerAdapter::qkv, work_.normed, hidden, work_.qkv, layer.qkv.rows);
    write_kv(thread, entries, layer, l);
    if (thread == 0) tokens_.put_back();
    team_.barrier();
    clock.lap(Op::kKvWrite);
    attend(thread, entries, l);
    team_.barrier();
    const uint32_t window = config_.is_window_layer(l) ? config_.window : 0;
    uint64_t seen = 0;
    for (const BatchEntry& entry : entries)
      seen += keys_seen(entry.position, entry.tokens.size(), window);
    clock.lap(Op::kAttention, 0, 0, 2 * seen * q);
    if (layer.output.takes_quantized && !quantizes_items(layer.output)) {
      ops::quantize_rows(work_.attended, q, q, own.begin, own.end, work_.quantized);
      meet();
    }
    multiply(share, layer.output, input(tokens, work_.attended, q), work_.delta, hidden);
    team_.barrier();  // Rows of q and of hidden lie differently in work_.quantized.
    lap(Op::kOutput, layer.output);
    feed_forward(thread, layer, clock);
    before = &layer;
  }
  adapt(thread, *before, &LayerAdapter::down, work_.wide, 2 * wide, work_.delta, hidden);
  for (size_t row = own.begin; row < own.end; ++row) {
    float* delta = work_.delta + row * hidden;
    if (before->post_feed_forward_norm != nullptr)
      norm_heads(delta, 1, hidden, before->post_feed_forward_norm, config_.norm_eps);
    ops::add_cpu(delta, hidden, work_.x + row * hidden);
  }
  clock.lap(Op::kNorm);
}

// A token's embedding and its rope angles.
void Decoder::embed(const StepToken& token, float* x, float* angles, float* window_angles) const {
  const size_t hidden = config_.hidden, id = static_cast<size_t>(token.id);
  if (weights_.tied)
    ops::unpack_row(weights_.head.parts[0].matrix, id, x);
  else
    ops::dequantize_row(weights_.embedding_type,
                        weights_.embedding + id * row_bytes(weights_.embedding_type, hidden),
                        hidden, x);
  if (config_.architecture.embedding_scale)
    ops::scale_cpu(std::sqrt(static_cast<float>(hidden)), hidden, x);
  const uint32_t position[] = {token.position};
  const auto turn = [&](const RopeTable& rope, float* out) {
    ops::rope_angles(position, rope.frequency, out);
    if (rope.scale != 1) ops::scale_cpu(rope.scale, 2 * rope.frequency.size(), out);
  };
  turn(config_.rope, angles);
  if (config_.window != 0) turn(config_.window_rope, window_angles);
}

Decoder::Forms Decoder::forms_of(const Linear& next) const {
  const bool some_floats = std::ranges::any_of(next.parts, [](const Linear::Part& part) {
    return !ops::takes_quantized_activations(part.matrix.type);
  });
  return {.quantized = next.takes_quantized, .floats = adapts_ || some_floats};
}

Decoder::Forms Decoder::feed_forward_forms(const LayerWeights& layer) const {
  if (!layer.experts) return forms_of(layer.gate_up);
  const ExpertWeights& experts = *layer.experts;
  return {experts.gate_up[0].takes_quantized || experts.router.takes_quantized ||
              experts.shared_gate_up.takes_quantized,
          true};
}

// x += delta (normed first where the model asks), normed = norm(x), quantised for the next product.
void Decoder::add_and_norm(uint32_t thread, const float* post_norm, const float* norm,
                           const Forms& forms, bool add) {
  const size_t hidden = config_.hidden;
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) {
    float *x = work_.x + row * hidden, *delta = work_.delta + row * hidden;
    float* normed = forms.floats ? work_.normed + row * hidden : singles_[thread].normed;
    if (add) {
      if (post_norm != nullptr) norm_heads(delta, 1, hidden, post_norm, config_.norm_eps);
      ops::add_cpu(delta, hidden, x);
    }
    ops::rms_norm_cpu(row_of(x, hidden), row_of(norm, hidden), config_.norm_eps, {normed, hidden});
    if (forms.quantized)
      ops::quantize_rows(normed, hidden, hidden, 0, 1,
                         work_.quantized + ops::quantized_bytes(row, hidden));
  }
}

// Bias, head norms and rope of q and k; k and v into the cache.
void Decoder::write_kv(uint32_t thread, std::span<const BatchEntry> entries,
                       const LayerWeights& layer, uint32_t layer_index) {
  const size_t q = config_.q_width(), kv = config_.kv_width(), dim = config_.head_dim,
               width = q + 2 * kv;
  const Place place = place_of_layer_[layer_index];
  const KvGroup& group = groups_[place.group];
  std::byte* blocks = group.layer_data(layout_, place.index);
  const float* angles = work_.angles[group.window != 0 ? 1 : 0];
  const size_t half = (group.window != 0 ? config_.window_rope : config_.rope).frequency.size();
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) {
    float* qkv = work_.qkv + row * width;
    if (layer.qkv_bias != nullptr) ops::add_cpu(layer.qkv_bias, width, qkv);
    if (layer.q_norm != nullptr)
      norm_heads(qkv, config_.q_heads, dim, layer.q_norm, config_.norm_eps);
    if (layer.k_norm != nullptr)
      norm_heads(qkv + q, config_.kv_heads, dim, layer.k_norm, config_.norm_eps);
    ops::rope_cpu(qkv, config_.q_heads + config_.kv_heads, dim, half, angles + row * dim,
                  config_.architecture.rope);
    ops::kv_write_cpu(layout_, blocks, layout_.block_bytes(),
                      entries[tokens_[row].entry].tables[place.group].data(), tokens_[row].position,
                      qkv + q, qkv + q + kv);
  }
}

bool Decoder::quantizes_items(const Linear& next) const {
  return next.takes_quantized && config_.q_width() / config_.kv_heads % ops::kActivationBlock == 0;
}

void Decoder::attend(uint32_t thread, std::span<const BatchEntry> entries, uint32_t layer_index) {
  const Place place = place_of_layer_[layer_index];
  const KvGroup& group = groups_[place.group];
  const ops::AttentionShape shape = attention_shape(group.window);
  const size_t q = config_.q_width(), width = q + 2 * config_.kv_width(),
               own = q / config_.kv_heads;
  const bool quantizes = quantizes_items(weights_.layers[layer_index].output);
  while (const AttentionItem* taken = tokens_.take()) {
    const AttentionItem& item = *taken;
    const ops::AttentionCall call{.blocks = group.layer_data(layout_, place.index),
                                  .block_stride = layout_.block_bytes(),
                                  .table = entries[item.entry].tables[place.group].data(),
                                  .position = tokens_[item.first_row].position,
                                  .tokens = item.tokens,
                                  .kv_head = item.kv_head,
                                  .q = work_.qkv + item.first_row * width,
                                  .q_stride = width,
                                  .out = work_.attended + item.first_row * q,
                                  .out_stride = q};
    ops::attention_cpu(shape, call, scratch(thread));
    if (quantizes)
      ops::quantize_part_cpu(call.out + item.kv_head * own, q, item.tokens,
                             {.out = work_.quantized + ops::quantized_bytes(item.first_row, q),
                              .cols = q,
                              .column = item.kv_head * own,
                              .width = own});
  }
}

void Decoder::feed_forward(uint32_t thread, const LayerWeights& layer, OpClock& clock) {
  const size_t tokens = tokens_.size(), hidden = config_.hidden, wide = config_.feed_forward;
  const Forms forms = feed_forward_forms(layer);
  adapt(thread, layer, &LayerAdapter::output, work_.attended, config_.q_width(), work_.delta,
        hidden);
  add_and_norm(thread, layer.post_attention_norm, layer.feed_forward_norm, forms, true);
  if (layer.experts) {
    team_.barrier();
    clock.lap(Op::kNorm);
    return run_experts(thread, *layer.experts, clock);
  }
  meet();
  clock.lap(Op::kNorm);
  const Share share = share_of_step(thread);
  const auto lap = [&](Op op, const Linear& linear) {
    clock.lap(op, linear.bytes, uint64_t{linear.rows} * linear.cols * tokens);
  };
  if (adapts_) {
    multiply(share, layer.gate_up, input(tokens, work_.normed, hidden), work_.wide, 2 * wide);
    meet();
    adapt(thread, layer, &LayerAdapter::gate_up, work_.normed, hidden, work_.wide, 2 * wide);
    gate(thread, layer.down);
  } else {
    multiply_gated(share, layer.gate_up, input(tokens, work_.normed, hidden), gated_for(layer.down),
                   clock);
  }
  meet();
  lap(Op::kGateUp, layer.gate_up);
  multiply(share, layer.down, gated_for(layer.down).input(tokens), work_.delta, hidden);
  meet();
  lap(Op::kDown, layer.down);
}

void Decoder::gate_row(const float* gate, const float* up, size_t wide, float* product) const {
  const auto gate_mul =
      config_.architecture.gate == GateKind::kSilu ? ops::silu_mul_cpu : ops::gelu_mul_cpu;
  gate_mul(gate, up, wide, product);
}

void Decoder::gate(uint32_t thread, const Linear& next) {
  const size_t wide = config_.feed_forward;
  const auto own = device::split(tokens_.size(), thread, team_.size());
  for (size_t row = own.begin; row < own.end; ++row) {
    float* gate_up = work_.wide + row * 2 * wide;
    gate_row(gate_up, gate_up + wide, wide, gate_up);
    if (next.takes_quantized)
      ops::quantize_rows(work_.wide, 2 * wide, wide, row, row + 1, work_.gated);
  }
}

// The head's input: the rows' last norm, quantised.
void Decoder::norm_head_rows(uint32_t thread, std::span<const uint32_t> rows) {
  const size_t hidden = config_.hidden, threads = team_.size();
  ALTLAS_CHECK(rows.size() <= kHeadRowsMax && rows.size() <= tokens_.capacity(),
               "rows that the workspace holds");
  for (size_t i = thread; i < rows.size(); i += threads) {
    ops::rms_norm_cpu(row_of(work_.x + rows[i] * hidden, hidden),
                      row_of(weights_.output_norm, hidden), config_.norm_eps,
                      {work_.normed + i * hidden, hidden});
    if (weights_.head.takes_quantized)
      ops::quantize_rows(work_.normed, hidden, hidden, i, i + 1, work_.quantized);
  }
  team_.barrier();
}

void Decoder::final_hidden(size_t row, std::span<float> out) const {
  const size_t hidden = config_.hidden;
  ops::rms_norm_cpu(row_of(work_.x + row * hidden, hidden), row_of(weights_.output_norm, hidden),
                    config_.norm_eps, out);
}

// The ids whose logits this thread computes: whole runs.
device::Range Decoder::head_share(uint32_t thread) const {
  const size_t vocab = config_.vocab_size, runs = (vocab + ops::kSampleRun - 1) / ops::kSampleRun;
  const auto own = device::split(runs, thread, team_.size());
  return {std::min(vocab, own.begin * ops::kSampleRun), std::min(vocab, own.end * ops::kSampleRun)};
}

// Rows of logits of ids [first, first + count), at most as many as kHeadChunkPanels hold; valid
// until this thread's next call. first: of a panel.
float* Decoder::head_chunk(uint32_t thread, size_t rows, size_t first, size_t count) {
  const ops::PackedMatrix& head = weights_.head.parts[0].matrix;
  constexpr size_t kWidth = size_t{kHeadChunkPanels} * ops::kPanelRows;
  const size_t panel = first / ops::kPanelRows;
  float* chunk = work_.head_chunk + thread * kHeadRowsMax * kWidth;
  const ops::PackedMatrix part{head.type, static_cast<uint32_t>(count), head.cols,
                               head.data + panel * ops::packed_panel_bytes(head.type, head.cols)};
  ops::matmul(part, input(rows, work_.normed, config_.hidden), 0, ops::panel_count(count), chunk,
              kWidth, scratch(thread));
  if (config_.logit_softcap > 0)
    for (size_t i = 0; i < rows; ++i)
      ops::softcap_cpu(config_.logit_softcap, count, chunk + i * kWidth);
  return chunk;
}

void Decoder::logits_again(uint32_t thread, size_t i, size_t first, size_t count,
                           float* out) const {
  const ops::PackedMatrix& head = weights_.head.parts[0].matrix;
  const size_t panel = first / ops::kPanelRows, hidden = config_.hidden;
  const ops::PackedMatrix part{head.type, static_cast<uint32_t>(count), head.cols,
                               head.data + panel * ops::packed_panel_bytes(head.type, head.cols)};
  const ops::Activations x{.tokens = 1,
                           .quantized = work_.quantized + ops::quantized_bytes(i, hidden),
                           .values = work_.normed + i * hidden,
                           .stride = hidden};
  ops::matmul(part, x, 0, ops::panel_count(count), out, ops::kSampleRun, scratch(thread));
  if (config_.logit_softcap > 0) ops::softcap_cpu(config_.logit_softcap, count, out);
}

void Decoder::best_tokens(std::span<const uint32_t> rows, std::span<int32_t> out) {
  team_.run([&](uint32_t thread) {
    OpClock clock(thread == 0 ? times_ : nullptr);
    norm_head_rows(thread, rows);
    clock.lap(Op::kNorm);
    find_best(thread, rows.size());
    team_.barrier();
    clock.lap(Op::kHead, weights_.head.bytes,
              uint64_t{weights_.head.rows} * weights_.head.cols * rows.size());
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    ops::Best best;
    for (uint32_t t = 0; t < team_.size(); ++t) {  // Ascending ids: of equal ones the lowest.
      const ops::Best& one = work_.best[t * kHeadRowsMax + i];
      if (one.logit > best.logit) best = one;
    }
    out[i] = best.id;
  }
}

// The best of this thread's share of the vocabulary, chunk by chunk while their logits are in its
// cache.
void Decoder::find_best(uint32_t thread, size_t rows) {
  constexpr size_t kWidth = size_t{kHeadChunkPanels} * ops::kPanelRows;
  const size_t vocab = config_.vocab_size;
  ops::Best* best = work_.best + thread * kHeadRowsMax;
  std::fill_n(best, rows, ops::Best{});
  const auto own = device::split(ops::panel_count(vocab), thread, team_.size());
  const size_t end = std::min(vocab, own.end * ops::kPanelRows);
  for (size_t first = own.begin * ops::kPanelRows; first < end; first += kWidth) {
    const size_t count = std::min(kWidth, end - first);
    const float* chunk = head_chunk(thread, rows, first, count);
    for (size_t i = 0; i < rows; ++i)
      ops::best_cpu(chunk + i * kWidth, count, static_cast<int32_t>(first), best[i]);
  }
}

}  // namespace altlas::model
