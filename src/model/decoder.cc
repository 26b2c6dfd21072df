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

// The widest input of a product that lies in StepContext::quantized.
size_t widest(const Hyperparameters& config) { return std::max(config.hidden, config.q_width()); }

// The scratch memory of each thread, enough for any product of the model.
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
  return whole_pages(bytes) + 64;
}

}  // namespace

Decoder::Parts::Parts(const DecoderPart& part, std::span<const KvGroup> groups,
                      const StepThreads& threads, const RankTeam& team, Workspace<Arena>& arena)
    : x(arena.shared.take_rows<float>(part.step_tokens_max, part.config.hidden)),
      normed(arena.shared.take_rows<float>(part.step_tokens_max, part.config.hidden)),
      delta(arena.shared.take_rows<float>(part.step_tokens_max, part.config.hidden)),
      angles{arena.shared.take_rows<float>(part.step_tokens_max, part.config.head_dim),
             arena.shared.take_rows<float>(part.step_tokens_max, part.config.head_dim)},
      inbox(arena.shared.take_rows<float>(
          part.shard.first ? 0 : uint64_t{threads.depth} * part.step_tokens_max,
          part.config.hidden)),
      staging(arena.shared.take(threads.processes > 1 ? threads.processes * StageLink::kBlockBytes
                                                      : 0)),
      quantized(arena.shared.take(ops::quantized_bytes(part.step_tokens_max, widest(part.config)))),
      own_x(arena.own.take_rows<float>(threads.own, line_floats(part.config.hidden))),
      own_normed(arena.own.take_rows<float>(threads.own, line_floats(part.config.hidden))),
      own_angles{arena.own.take_rows<float>(threads.own, line_floats(part.config.head_dim)),
                 arena.own.take_rows<float>(threads.own, line_floats(part.config.head_dim))},
      own_quantized(arena.own.take_rows<std::byte>(
          threads.own, (ops::quantized_bytes(1, widest(part.config)) + 63) / 64 * 64)),
      attention(part, groups, threads.own, arena),
      feed_forward(part, threads.own, arena),
      experts(part, threads.own, feed_forward, arena),
      scratch(arena.own.take_rows<std::byte>(threads.own, scratch_bytes(part.weights, attention))),
      head(part, {x, normed, quantized, scratch}, threads, team, arena) {}

Workspace<uint64_t> Decoder::workspace_bytes(const DecoderPart& part, const StepThreads& threads) {
  Workspace<Arena> arena;
  const Parts parts(part, {}, threads, {}, arena);
  return {arena.own.used(), arena.shared.used()};
}

Decoder::Decoder(const DecoderPart& part, std::span<const KvGroup> groups,
                 Workspace<Arena> workspace, const RankTeam& team)
    : config_(part.config),
      shard_(part.shard),
      weights_(part.weights),
      team_(team),
      parts_(part, groups,
             {team.team->size(), team.group->threads(), team.group->depth(),
              team.group->splits() ? team.group->link()->processes() : 1},
             team, workspace),
      tokens_(part.step_tokens_max, part.shard.kv_heads.size()) {
  if (team_.rank != 0) return;
  if (!shard_.first) team_.group->open_inbox(parts_.inbox);
  if (team_.group->splits()) team_.group->link()->set_staging(parts_.staging);
}

void Decoder::forward(std::span<const BatchEntry> entries) {
  tokens_.list(entries, parts_.attention.tokens_at_once());
  adapts_ = std::ranges::any_of(entries, &BatchEntry::adapter);
  const uint32_t threads = team_.team->size();
  shares_tokens_ = threads > 1 && tokens_.size() >= size_t{threads} * kOwnTokens;
  StageLink* const link = team_.group->link();
  if (!shard_.first) {
    if (team_.rank == 0 && link != nullptr && link->receives()) {
      link->receive(inbox_rows());
      team_.group->deliver();
    }
    team_.group->wait_delivered(steps_ + 1);
  }
  team_.run([&](uint32_t thread, uint32_t group_thread) {
    StepContext step = context(thread, group_thread, entries);
    run_layers(step);
    if (!shard_.last && team_.group->next() != nullptr) send_on(step);
  });
  if (!shard_.last && team_.rank == 0) {
    if (team_.group->next() != nullptr) team_.group->next()->deliver();
    if (link != nullptr && link->sends())
      link->send(std::as_bytes(std::span(parts_.x.data, tokens_.size() * config_.hidden)));
  }
  ++steps_;
}

// Where this step's hidden states of the stage before belong.
std::span<std::byte> Decoder::inbox_rows() const {
  const size_t turn = steps_ % team_.group->depth();
  return std::as_writable_bytes(
      std::span(parts_.inbox[turn * tokens_.capacity()], tokens_.size() * config_.hidden));
}

StepContext Decoder::context(uint32_t thread, uint32_t group_thread,
                             std::span<const BatchEntry> entries) {
  const size_t tokens = tokens_.size();
  const bool single = tokens == 1 && !adapts_;
  const uint32_t threads = team_.team->size();
  const auto split = device::split(tokens, thread, threads);
  const auto own_row = [&](const Rows<float>& rows) { return rows.rows(thread, thread + 1); };
  return {.thread = thread,
          .team = *team_.team,
          .group = *team_.group,
          .group_thread = group_thread,
          .entries = entries,
          .tokens = tokens_,
          .single = single,
          .alone = shares_tokens_ && team_.group->size() == 1 && !team_.group->splits(),
          .adapts = adapts_,
          .own = single ? Range{0, 1} : device::split(tokens, group_thread, team_.group->threads()),
          .rank_own = single ? Range{0, 1} : split,
          .share = shares_tokens_ ? ProductShare{split, 0, 1}
                                  : ProductShare{{0, tokens}, thread, threads},
          .x = single && group_thread != 0 ? own_row(parts_.own_x) : parts_.x,
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
  begin_rows(step);
  step.clock.lap(Op::kEmbed);
  const LayerWeights* before = nullptr;
  for (uint32_t l = shard_.layers.begin; l < shard_.layers.end; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    if (stream_ != nullptr && step.thread == 0) stream_->enter(l);
    if (before != nullptr) adapt_down(step, l - 1);
    add_and_norm(step, before != nullptr, before ? before->post_feed_forward_norm : nullptr,
                 layer.attention_norm, forms_of(layer.qkv));
    step.meet_rows();
    step.clock.lap(Op::kNorm);
    step.multiply(layer.qkv, step.input(step.normed), attention.qkv());
    step.meet_products();
    step.lap(Op::kQkv, layer.qkv);
    attention.adapt(step, l);
    attention.run(step, layer, l);
    step.multiply(layer.output, step.input(attention.attended()), step.delta);
    // Rows of step.quantized differ in size: q's before, hidden's now.
    step.meet_columns(&ShardPlan::hidden, step.delta);
    step.lap(Op::kOutput, layer.output);
    adapt(step, l, &LayerAdapter::output, attention.attended(), step.delta);
    add_and_norm(step, true, layer.post_attention_norm, layer.feed_forward_norm,
                 feed_forward_forms(layer));
    feed_forward(step, l);
    before = &layer;
  }
  adapt_down(step, shard_.layers.end - 1);
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    add_branch(step, row, before->post_feed_forward_norm, step.row);
  step.clock.lap(Op::kNorm);
}

void Decoder::feed_forward(StepContext& step, uint32_t index) {
  const LayerWeights& layer = weights_.layers[index];
  if (layer.experts) {
    // An expert's rows come from all threads, so each waits for the others.
    if (!step.single) step.meet();
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

// What this thread's rows begin with.
void Decoder::begin_rows(StepContext& step) const {
  for (size_t row = step.own.begin; row < step.own.end; ++row) begin_row(step, row);
  if (shard_.first && step.group.splits()) merge_embeddings(step);
}

// Each process has the embeddings of some ids, and zeros where the others' belong.
void Decoder::merge_embeddings(StepContext& step) const {
  step.group.meet_all(step.group_thread, [&](StageLink& link) {
    link.merge(
        std::as_writable_bytes(std::span(parts_.x.data, step.tokens.size() * config_.hidden)));
  });
  // Every thread has the row of a step of one token.
  if (step.single && step.group_thread != 0)
    std::copy_n(parts_.x.data, config_.hidden, step.x.data);
}

// What a row of the step begins with: its hidden state and its rope angles.
void Decoder::begin_row(StepContext& step, size_t row) const {
  const StepToken& token = tokens_[row];
  if (shard_.first) {
    embed(token, step.x[row]);
  } else {
    const size_t turn = steps_ % team_.group->depth();
    std::copy_n(parts_.inbox[turn * tokens_.capacity() + row], config_.hidden, step.x[row]);
  }
  const uint32_t position[] = {token.position};
  const auto turn = [&](const RopeTable& rope, float* out) {
    ops::rope_angles(position, rope.frequency, out);
    if (rope.scale != 1) ops::scale_cpu(rope.scale, 2 * rope.frequency.size(), out);
  };
  turn(config_.rope, step.angles[0][row]);
  if (config_.window != 0) turn(config_.window_rope, step.angles[1][row]);
}

// The rows of this thread, for the next stage.
void Decoder::send_on(const StepContext& step) const {
  if (step.single && step.group_thread != 0) return;  // All threads have the same row.
  RankGroup& next = *team_.group->next();
  const size_t turn = steps_ % next.depth();
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    std::copy_n(step.x[row], config_.hidden, next.inbox()[turn * tokens_.capacity() + row]);
}

// A token's embedding.
void Decoder::embed(const StepToken& token, float* x) const {
  const size_t hidden = config_.hidden;
  const auto id = static_cast<uint32_t>(token.id);
  const RankGroup::Shard* const shard = team_.group->shard_of(id);
  if (shard == nullptr) {
    std::fill_n(x, hidden, 0.0f);
    return;
  }
  const DecoderWeights& weights = *shard->weights;
  const size_t row = id - shard->vocab.begin;
  if (weights.tied)
    ops::unpack_row(weights.head.parts[0].matrix, row, x);
  else
    ops::dequantize_row(weights.embedding_type,
                        weights.embedding + row * row_bytes(weights.embedding_type, hidden), hidden,
                        x);
  if (config_.architecture.embedding_scale)
    ops::scale_cpu(std::sqrt(static_cast<float>(hidden)), hidden, x);
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
      ops::quantize_rows({normed, 1, hidden}, hidden, {0, 1},
                         step.quantized + ops::quantized_bytes(row, hidden));
  }
}

}  // namespace altlas::model
