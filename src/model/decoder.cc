#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include "model/adapt.h"
#include "ops/dequantize/dequantize.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"

namespace altlas::model {
namespace {

// Rounds up to whole cache lines, so that threads don't share one.
size_t line_floats(size_t values) { return (values + 15) / 16 * 16; }

// Of each thread: what any product of the model takes.
uint64_t scratch_bytes(const DecoderWeights& weights, const Attention& attention) {
  uint64_t bytes = std::max(attention.scratch_bytes(), Head::scratch_bytes(weights));
  const auto also = [&](const Linear& linear) { bytes = std::max(bytes, linear.scratch_bytes()); };
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
  // Threads don't share cache lines, and their memory does not start in the same cache sets.
  return (bytes + 4095) / 4096 * 4096 + 64;
}

}  // namespace

Decoder::Parts::Parts(const ModelConfig& config, const DecoderWeights& weights,
                      std::span<const KvGroup> groups, const ops::KvLayout& layout,
                      uint32_t step_tokens_max, uint32_t threads, device::Team* team, Arena& arena)
    : x(arena.take_rows<float>(step_tokens_max, config.hidden)),
      normed(arena.take_rows<float>(step_tokens_max, config.hidden)),
      delta(arena.take_rows<float>(step_tokens_max, config.hidden)),
      angles{arena.take_rows<float>(step_tokens_max, config.head_dim),
             arena.take_rows<float>(step_tokens_max, config.head_dim)},
      quantized(arena.take(
          ops::quantized_bytes(step_tokens_max, std::max(config.hidden, config.q_width())))),
      own_x(arena.take_rows<float>(threads, line_floats(config.hidden))),
      own_normed(arena.take_rows<float>(threads, line_floats(config.hidden))),
      own_angles{arena.take_rows<float>(threads, line_floats(config.head_dim)),
                 arena.take_rows<float>(threads, line_floats(config.head_dim))},
      own_quantized(arena.take_rows<std::byte>(
          threads,
          (ops::quantized_bytes(1, std::max(config.hidden, config.q_width())) + 63) / 64 * 64)),
      attention(config, layout, groups, step_tokens_max, arena),
      feed_forward(config, step_tokens_max, threads, arena),
      experts(config, step_tokens_max, threads, feed_forward, arena),
      scratch(arena.take_rows<std::byte>(threads, scratch_bytes(weights, attention))),
      head(config, weights, {x, normed, quantized, scratch}, threads, team, arena) {}

uint64_t Decoder::workspace_bytes(const ModelConfig& config, const DecoderWeights& weights,
                                  const ops::KvLayout& layout, uint32_t step_tokens_max,
                                  uint32_t threads) {
  Arena arena;
  const Parts parts(config, weights, {}, layout, step_tokens_max, threads, nullptr, arena);
  return arena.used();
}

Decoder::Decoder(const ModelConfig& config, const DecoderWeights& weights,
                 std::span<const KvGroup> groups, const ops::KvLayout& layout,
                 uint32_t step_tokens_max, Arena workspace, device::Team& team)
    : config_(config),
      weights_(weights),
      team_(team),
      parts_(config, weights, groups, layout, step_tokens_max, team.size(), &team, workspace),
      tokens_(step_tokens_max, config.kv_heads) {}

void Decoder::forward(std::span<const BatchEntry> entries) {
  tokens_.list(entries, parts_.attention.tokens_at_once());
  adapts_ = std::ranges::any_of(entries, &BatchEntry::adapter);
  shares_tokens_ = team_.size() > 1 && tokens_.size() >= size_t{team_.size()} * kOwnTokens;
  team_.run([&](uint32_t thread) {
    StepContext step = context(thread, entries);
    run_layers(step);
  });
}

StepContext Decoder::context(uint32_t thread, std::span<const BatchEntry> entries) {
  const size_t tokens = tokens_.size();
  const bool single = tokens == 1 && !adapts_;
  const auto split = device::split(tokens, thread, team_.size());
  const auto own_row = [&](const Rows<float>& rows) { return rows.rows(thread, thread + 1); };
  return {.thread = thread,
          .team = team_,
          .entries = entries,
          .tokens = tokens_,
          .single = single,
          .shares_tokens = shares_tokens_,
          .adapts = adapts_,
          .own = single ? device::Range{0, 1} : split,
          .share = shares_tokens_ ? ProductShare{split, 0, 1}
                                  : ProductShare{{0, tokens}, thread, team_.size()},
          .x = single && thread != 0 ? own_row(parts_.own_x) : parts_.x,
          .normed = single ? own_row(parts_.own_normed) : parts_.normed,
          .delta = parts_.delta,
          .quantized = single ? parts_.own_quantized[thread] : parts_.quantized,
          .angles = {single ? own_row(parts_.own_angles[0]) : parts_.angles[0],
                     single ? own_row(parts_.own_angles[1]) : parts_.angles[1]},
          .row = parts_.own_normed[thread],
          .scratch = parts_.scratch[thread],
          .clock = OpClock(thread == 0 ? times_ : nullptr)};
}

void Decoder::run_layers(StepContext& step) {
  Attention& attention = parts_.attention;
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    embed(tokens_[row], step.x[row], step.angles[0][row], step.angles[1][row]);
  step.clock.lap(Op::kEmbed);
  const LayerWeights* before = nullptr;
  for (uint32_t l = 0; l < config_.layer_count; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    if (before != nullptr) adapt_down(step, l - 1);
    add_and_norm(step, before != nullptr, before ? before->post_feed_forward_norm : nullptr,
                 layer.attention_norm, forms_of(layer.qkv));
    step.meet_rows();
    step.clock.lap(Op::kNorm);
    step.multiply(layer.qkv, step.input(step.normed), attention.qkv());
    step.meet_products();
    step.lap(Op::kQkv, layer.qkv);
    adapt(step, l, &LayerAdapter::qkv, step.normed, attention.qkv());
    attention.run(step, layer, l);
    step.multiply(layer.output, step.input(attention.attended()), step.delta);
    team_.barrier();  // Rows of q and of hidden lie differently in step.quantized.
    step.lap(Op::kOutput, layer.output);
    adapt(step, l, &LayerAdapter::output, attention.attended(), step.delta);
    add_and_norm(step, true, layer.post_attention_norm, layer.feed_forward_norm,
                 feed_forward_forms(layer));
    feed_forward(step, l);
    before = &layer;
  }
  adapt_down(step, config_.layer_count - 1);
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    add_branch(step, row, before->post_feed_forward_norm, step.row);
  step.clock.lap(Op::kNorm);
}

void Decoder::feed_forward(StepContext& step, uint32_t index) {
  const LayerWeights& layer = weights_.layers[index];
  if (layer.experts) {
    if (!step.single) team_.barrier();  // Every expert's rows are others' too.
    step.clock.lap(Op::kNorm);
    parts_.experts.run(step, *layer.experts);
    return;
  }
  step.meet_rows();
  step.clock.lap(Op::kNorm);
  parts_.feed_forward.run(step, layer, index);
}

// Adds what adapters give to the last product of a layer.
void Decoder::adapt_down(StepContext& step, uint32_t index) const {
  if (!step.adapts) return;
  const Rows<float> gated = parts_.feed_forward.gated_values(weights_.layers[index].down);
  adapt(step, index, &LayerAdapter::down, gated, step.delta);
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

// Adds delta to x, normed first where the model asks for it. `spare` has room for one row.
void Decoder::add_branch(StepContext& step, size_t row, const float* post_norm,
                         float* spare) const {
  const size_t hidden = config_.hidden;
  const float* branch = step.delta[row];
  if (post_norm != nullptr) {
    ops::rms_norm_cpu({branch, hidden}, {post_norm, hidden}, config_.norm_eps, {spare, hidden});
    branch = spare;
  }
  ops::add_cpu(branch, hidden, step.x[row]);
}

// For this thread's rows: adds delta to x if there is a branch, then norms x in the forms that the
// next product takes.
void Decoder::add_and_norm(StepContext& step, bool branch, const float* post_norm,
                           const float* norm, const Forms& forms) const {
  const size_t hidden = config_.hidden;
  for (size_t row = step.own.begin; row < step.own.end; ++row) {
    float* normed = forms.floats ? step.normed[row] : step.row;
    if (branch) add_branch(step, row, post_norm, normed);
    ops::rms_norm_cpu({step.x[row], hidden}, {norm, hidden}, config_.norm_eps, {normed, hidden});
    if (forms.quantized)
      ops::quantize_rows(normed, hidden, hidden, 0, 1,
                         step.quantized + ops::quantized_bytes(row, hidden));
  }
}

}  // namespace altlas::model
