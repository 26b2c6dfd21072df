#include "model/experts.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/elementwise/elementwise.h"
#include "ops/experts/choose.h"
#include "ops/math/scalar.h"

namespace altlas::model {
namespace {

// The columns that panels of a matrix of `rows` rows give.
Range columns_of(const Range& panels, size_t rows) {
  return {std::min(rows, panels.begin * ops::kPanelRows),
          std::min(rows, panels.end * ops::kPanelRows)};
}

}  // namespace

Experts::Experts(const DecoderPart& part, uint32_t threads, FeedForward& feed_forward,
                 Workspace<Arena>& workspace)
    : config_(part.config), shard_(part.shard), feed_forward_(feed_forward) {
  const ExpertConfig& experts = config_.experts;
  if (experts.count == 0) return;
  const uint32_t step_tokens_max = part.step_tokens_max;
  Arena& arena = workspace.shared;
  const uint64_t places = uint64_t{step_tokens_max} * experts.used;
  const uint32_t shared = experts.shared_feed_forward > 0 ? 1 : 0;
  router_ = arena.take_rows<float>(step_tokens_max, experts.count + shared);
  chosen_ = arena.take_rows<uint32_t>(step_tokens_max, experts.used);
  shares_ = arena.take_rows<float>(step_tokens_max, experts.used);
  place_ = arena.take_rows<uint32_t>(step_tokens_max, experts.used);
  row_at_ = arena.take_array<uint32_t>(places);
  first_ = arena.take_array<uint32_t>(uint64_t{experts.count} + 1);
  rows_ = arena.take_rows<float>(places, config_.hidden);
  wide_ = arena.take_rows<float>(places, 2 * size_t{experts.feed_forward});
  quantized_ = arena.take(ops::quantized_bytes(places, config_.hidden));
  gated_ = arena.take(ops::quantized_bytes(places, experts.feed_forward));
  const size_t line = (experts.used + 15) / 16 * 16;  // Each thread has lines of its own.
  own_chosen_ = workspace.own.take_rows<uint32_t>(threads, line);
  own_shares_ = workspace.own.take_rows<float>(threads, line);
}

void Experts::run(StepContext& step, const ExpertWeights& layer) {
  if (step.single)
    run_token(step, layer);
  else
    run_tokens(step, layer);
}

// Returns where the experts' gated products go, from a place on.
Gated Experts::gated_for(const Linear& down, size_t place) const {
  return {shard_.expert_feed_forward.begin, down.cols, down.takes_quantized,
          gated_ + place * ops::quantized_bytes(1, down.cols), wide_.rows(place, wide_.count)};
}

// Where the shared expert's go.
Gated Experts::shared_gated_for(const Linear& down) const {
  return feed_forward_.gated_for(down, shard_.shared_feed_forward);
}

void Experts::run_tokens(StepContext& step, const ExpertWeights& layer) {
  const ExpertConfig& experts = config_.experts;
  const size_t tokens = step.tokens.size(), hidden = config_.hidden, wide = experts.feed_forward,
               shared = experts.shared_feed_forward;
  place_tokens(step, layer);
  const auto each_expert = [&](const std::vector<Linear>& linears, const auto& run) {
    uint64_t bytes = 0;
    for (uint32_t e = shard_.experts.begin; e < shard_.experts.end; ++e) {
      const size_t first = first_[e], count = first_[e + 1] - first;
      if (count == 0) continue;
      bytes += linears[e].bytes;
      run(e, first, count);
    }
    return bytes;
  };
  const uint64_t products = tokens * (experts.used * wide + shared) * hidden;
  const ProductShare whole = step.share_of_rows(tokens);
  uint64_t bytes = each_expert(layer.gate_up, [&](uint32_t e, size_t first, size_t count) {
    feed_forward_.multiply_gated(step, step.share_of_rows(count), layer.gate_up[e],
                                 {.tokens = count,
                                  .quantized = quantized_ + ops::quantized_bytes(first, hidden),
                                  .values = rows_[first],
                                  .stride = rows_.stride},
                                 gated_for(layer.down[e], first));
  });
  if (shared > 0)
    feed_forward_.multiply_gated(step, whole, layer.shared_gate_up, step.input(step.normed),
                                 shared_gated_for(layer.shared_down));
  step.meet();
  step.clock.lap(Op::kGateUp, bytes + layer.shared_gate_up.bytes, 2 * products);
  bytes = each_expert(layer.down, [&](uint32_t e, size_t first, size_t count) {
    step.multiply(step.share_of_rows(count), layer.down[e],
                  gated_for(layer.down[e], first).input(count), rows_.rows(first, rows_.count));
  });
  if (shared > 0)
    step.multiply(whole, layer.shared_down, shared_gated_for(layer.shared_down).input(tokens),
                  step.delta);
  step.meet();
  step.clock.lap(Op::kDown, bytes + layer.shared_down.bytes, products);
  add_experts(step);
  step.meet();
  step.clock.lap(Op::kGate);
}

// Computes the router's product, chooses experts, and puts the inputs in their places.
void Experts::place_tokens(StepContext& step, const ExpertWeights& layer) {
  const size_t tokens = step.tokens.size();
  step.multiply(step.share_of_rows(tokens), layer.router, step.input(step.normed), router_);
  step.meet();
  choose(step.own);
  step.meet();
  if (step.group_thread == 0) sort_places(tokens);
  step.meet();
  gather(step, layer.gate_up[0]);
  step.meet();
  step.clock.lap(Op::kGate, layer.router.bytes,
                 uint64_t{layer.router.rows} * config_.hidden * tokens);
}

void Experts::choose(const Range& own) {
  const ExpertConfig& experts = config_.experts;
  for (size_t row = own.begin; row < own.end; ++row)
    ops::choose_experts({router_[row], experts.count}, experts.normalized,
                        {chosen_[row], experts.used}, {shares_[row], experts.used});
}

void Experts::sort_places(size_t tokens) {
  const ExpertConfig& experts = config_.experts;
  const size_t places = tokens * experts.used;
  const uint32_t* chosen = chosen_.data;  // Rows of `used` ids follow one another.
  std::fill_n(first_, experts.count + 1, 0u);
  for (size_t i = 0; i < places; ++i) ++first_[chosen[i] + 1];
  for (uint32_t e = 0; e < experts.count; ++e) first_[e + 1] += first_[e];
  // In this loop first_[e] moves to the end of the expert's places.
  for (size_t i = 0; i < places; ++i) {
    const uint32_t place = first_[chosen[i]]++;
    place_.data[i] = place;
    row_at_[place] = static_cast<uint32_t>(i / experts.used);
  }
  for (uint32_t e = experts.count; e > 0; --e) first_[e] = first_[e - 1];
  first_[0] = 0;
}

// Fills every place's input, in the form that the experts take.
void Experts::gather(const StepContext& step, const Linear& next) {
  const size_t hidden = config_.hidden, row_bytes = ops::quantized_bytes(1, hidden);
  const auto own = device::split(step.tokens.size() * config_.experts.used, step.group_thread,
                                 step.group_threads());
  for (size_t place = own.begin; place < own.end; ++place) {
    const size_t row = row_at_[place];
    std::memcpy(rows_[place], step.normed[row], hidden * sizeof(float));
    if (next.takes_quantized)
      std::memcpy(quantized_ + place * row_bytes, step.quantized + row * row_bytes, row_bytes);
  }
}

// Sets delta to the sum of what the token's experts give, weighted by their shares.
void Experts::add_experts(const StepContext& step) {
  for (size_t row = step.own.begin; row < step.own.end; ++row)
    mix(
        {0, config_.hidden}, router_[row], shares_[row],
        [&](size_t i) { return rows_[place_[row][i]]; }, step.delta[row]);
}

// Some columns of a token's delta: the shared expert's part is there already, if the model has one;
// what the others give, rows row_of(0), row_of(1), …, is added by their shares.
void Experts::mix(const Range& columns, const float* router, const float* shares,
                  const auto& row_of, float* delta) const {
  const ExpertConfig& experts = config_.experts;
  const size_t count = columns.size();
  delta += columns.begin;
  if (experts.shared_feed_forward > 0)
    ops::scale_cpu(1 / (1 + ops::exp_f32(-router[experts.count])), count, delta);
  else
    std::fill_n(delta, count, 0.0f);
  for (size_t i = 0; i < experts.used; ++i)
    ops::add_scaled_cpu(row_of(i) + columns.begin, shares[i], count, delta);
}

// Computes one token: every thread chooses the experts by itself. The bits are those of
// run_tokens().
void Experts::run_token(StepContext& step, const ExpertWeights& layer) {
  const ExpertConfig& experts = config_.experts;
  const size_t hidden = config_.hidden, used = experts.used;
  const bool shared = experts.shared_feed_forward > 0;
  const ops::Activations x = step.input(step.normed);
  uint32_t* chosen = own_chosen_[step.thread];
  float* shares = own_shares_[step.thread];
  step.multiply(layer.router, x, router_);
  step.meet();
  ops::choose_experts({router_.data, experts.count}, experts.normalized, {chosen, used},
                      {shares, used});
  step.clock.lap(Op::kGate, layer.router.bytes, uint64_t{layer.router.rows} * hidden);
  uint64_t gate_up_bytes = layer.shared_gate_up.bytes, down_bytes = layer.shared_down.bytes;
  for (size_t i = 0; i < used; ++i) {
    const uint32_t e = chosen[i];
    if (!shard_.experts.holds(e)) continue;
    feed_forward_.multiply_gated(step, step.share, layer.gate_up[e], x,
                                 gated_for(layer.down[e], i));
    gate_up_bytes += layer.gate_up[e].bytes;
    down_bytes += layer.down[e].bytes;
  }
  const Gated shared_gated = shared_gated_for(layer.shared_down);
  if (shared) feed_forward_.multiply_gated(step, step.share, layer.shared_gate_up, x, shared_gated);
  step.meet();
  const uint64_t products =
      (uint64_t{used} * experts.feed_forward + experts.shared_feed_forward) * hidden;
  step.clock.lap(Op::kGateUp, gate_up_bytes, 2 * products);
  add_token(step, layer, shared_gated);
  step.meet();
  step.clock.lap(Op::kDown, down_bytes, products);
}

// This thread's share of a rank's rows of y = x W for one token; the columns of y that it wrote.
Range Experts::down_share(const StepContext& step, const Linear& linear, const Gated& from,
                          float* y) const {
  const ops::PackedMatrix& matrix = linear.parts[0].matrix;
  const size_t rows = matrix.rows, begin = linear.parts[0].first_column;
  const auto panels = device::split(ops::panel_count(rows), step.thread, step.team.size());
  ops::matmul(matrix, from.input(1), panels, {y + begin, 1, config_.hidden}, step.scratch);
  const Range columns = columns_of(panels, rows);
  return {begin + columns.begin, begin + columns.end};
}

// Multiplies by the token's down matrices and adds up what they give. Where every rank has some
// rows of every expert, each thread adds what it multiplied; where experts are spread, what all
// give must be there before any is added.
void Experts::add_token(StepContext& step, const ExpertWeights& layer, const Gated& shared_gated) {
  const uint32_t* chosen = own_chosen_[step.thread];
  Range columns;
  for (size_t i = 0; i < config_.experts.used; ++i) {
    if (!shard_.experts.holds(chosen[i])) continue;
    const Linear& linear = layer.down[chosen[i]];
    columns = down_share(step, linear, gated_for(linear, i), rows_[i]);
  }
  if (layer.shared_down.rows > 0)
    down_share(step, layer.shared_down, shared_gated, step.delta.data);
  if (shard_.experts.size() < config_.experts.count) {
    step.meet();
    columns = columns_of(
        device::split(ops::panel_count(config_.hidden), step.group_thread, step.group_threads()),
        config_.hidden);
  }
  mix(
      columns, router_.data, own_shares_[step.thread], [&](size_t i) { return rows_[i]; },
      step.delta.data);
}

}  // namespace altlas::model
