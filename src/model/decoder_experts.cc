// The feed-forward part of layers with experts. Tokens are sorted by expert, so that each expert's
// weights are read once for all its tokens; a token's experts are added in ascending order, so its
// bits do not depend on the others.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/decoder.h"
#include "ops/elementwise/elementwise.h"
#include "ops/experts/choose.h"
#include "ops/math/scalar.h"

namespace altlas::model {

void Decoder::lay_out_experts(Arena& arena, const ModelConfig& config, uint64_t tokens,
                              Work& work) {
  const ExpertConfig& experts = config.experts;
  const uint64_t places = tokens * experts.used;
  work.router = arena.take_array<float>(tokens * (experts.count + 1));
  work.chosen = arena.take_array<uint32_t>(places);
  work.share = arena.take_array<float>(places);
  work.place = arena.take_array<uint32_t>(places);
  work.row_at = arena.take_array<uint32_t>(places);
  work.first = arena.take_array<uint32_t>(uint64_t{experts.count} + 1);
  work.expert_rows = arena.take_array<float>(places * config.hidden);
  work.expert_wide = arena.take_array<float>(places * 2 * experts.feed_forward);
  work.expert_quantized = arena.take(ops::quantized_bytes(places, config.hidden));
  work.expert_gated = arena.take(ops::quantized_bytes(places, experts.feed_forward));
}

void Decoder::run_experts(uint32_t thread, const ExpertWeights& layer, OpClock& clock) {
  const ExpertConfig& experts = config_.experts;
  const size_t tokens = tokens_.size(), hidden = config_.hidden, wide = experts.feed_forward,
               shared = experts.shared_feed_forward;
  const auto own = device::split(tokens, thread, team_.size());
  multiply(thread, layer.router, input(tokens, work_.normed, hidden), work_.router,
           layer.router.rows);
  team_.barrier();
  choose(own);
  team_.barrier();
  if (thread == 0) sort_places();
  team_.barrier();
  gather(thread, layer.gate_up[0]);
  team_.barrier();
  clock.lap(Op::kGate, layer.router.bytes, uint64_t{layer.router.rows} * hidden * tokens);
  const auto each_expert = [&](const std::vector<Linear>& linears, const auto& run) {
    uint64_t bytes = 0;
    for (uint32_t e = 0; e < experts.count; ++e) {
      const size_t first = work_.first[e], count = work_.first[e + 1] - first;
      if (count == 0) continue;
      bytes += linears[e].bytes;
      run(e, first, count);
    }
    return bytes;
  };
  const uint64_t products = tokens * (experts.used * wide + shared) * hidden;
  uint64_t bytes = each_expert(layer.gate_up, [&](uint32_t e, size_t first, size_t count) {
    multiply_gated(thread, layer.gate_up[e],
                   {.tokens = count,
                    .quantized = work_.expert_quantized + ops::quantized_bytes(first, hidden),
                    .values = work_.expert_rows + first * hidden,
                    .stride = hidden},
                   expert_gated_for(layer.down[e], first), clock);
  });
  if (shared > 0)
    multiply_gated(thread, layer.shared_gate_up, input(tokens, work_.normed, hidden),
                   gated_for(layer.shared_down), clock);
  team_.barrier();
  clock.lap(Op::kGateUp, bytes + layer.shared_gate_up.bytes, 2 * products);
  bytes = each_expert(layer.down, [&](uint32_t e, size_t first, size_t count) {
    multiply(thread, layer.down[e], expert_gated_for(layer.down[e], first).input(count),
             work_.expert_rows + first * hidden, hidden);
  });
  if (shared > 0)
    multiply(thread, layer.shared_down, gated_for(layer.shared_down).input(tokens), work_.delta,
             hidden);
  team_.barrier();
  clock.lap(Op::kDown, bytes + layer.shared_down.bytes, products);
  add_experts(own, shared > 0);
  team_.barrier();
  clock.lap(Op::kGate);
}

void Decoder::choose(const device::Range& own) {
  const ExpertConfig& experts = config_.experts;
  const size_t width = experts.count + (experts.shared_feed_forward > 0 ? 1 : 0);
  for (size_t row = own.begin; row < own.end; ++row)
    ops::choose_experts(work_.router + row * width, experts.count, experts.used, experts.normalized,
                        work_.chosen + row * experts.used, work_.share + row * experts.used);
}

void Decoder::sort_places() {
  const ExpertConfig& experts = config_.experts;
  const size_t places = tokens_.size() * experts.used;
  uint32_t* first = work_.first;
  std::fill_n(first, experts.count + 1, 0u);
  for (size_t i = 0; i < places; ++i) ++first[work_.chosen[i] + 1];
  for (uint32_t e = 0; e < experts.count; ++e) first[e + 1] += first[e];
  for (size_t i = 0; i < places; ++i) {  // first[e] moves to the expert's end.
    const uint32_t place = first[work_.chosen[i]]++;
    work_.place[i] = place;
    work_.row_at[place] = static_cast<uint32_t>(i / experts.used);
  }
  for (uint32_t e = experts.count; e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

// Every place's input, in the form that the experts take.
void Decoder::gather(uint32_t thread, const Linear& next) {
  const size_t hidden = config_.hidden, row_bytes = ops::quantized_bytes(1, hidden);
  const auto own = device::split(tokens_.size() * config_.experts.used, thread, team_.size());
  for (size_t place = own.begin; place < own.end; ++place) {
    const size_t row = work_.row_at[place];
    std::memcpy(work_.expert_rows + place * hidden, work_.normed + row * hidden,
                hidden * sizeof(float));
    if (next.takes_quantized)
      std::memcpy(work_.expert_quantized + place * row_bytes, work_.quantized + row * row_bytes,
                  row_bytes);
  }
}

// delta = what the token's experts give, by their shares.
void Decoder::add_experts(const device::Range& own, bool shared) {
  const size_t hidden = config_.hidden, used = config_.experts.used,
               width = config_.experts.count + 1;
  for (size_t row = own.begin; row < own.end; ++row) {
    float* delta = work_.delta + row * hidden;
    if (shared)
      ops::scale_cpu(1 / (1 + ops::exp_f32(-work_.router[row * width + width - 1])), hidden, delta);
    else
      std::fill_n(delta, hidden, 0.0f);
    for (size_t i = row * used; i < (row + 1) * used; ++i)
      ops::add_scaled_cpu(work_.expert_rows + size_t{work_.place[i]} * hidden, work_.share[i],
                          hidden, delta);
  }
}

// One token: every thread chooses for itself, then adds what its own rows of all experts' products
// give. The bits are those of run_experts.
void Decoder::run_experts_single(uint32_t thread, const Single& own, const ExpertWeights& layer,
                                 const ops::Activations& x, OpClock& clock) {
  const ExpertConfig& experts = config_.experts;
  const size_t hidden = config_.hidden, used = experts.used;
  const bool shared = experts.shared_feed_forward > 0;
  multiply(thread, layer.router, x, work_.router, layer.router.rows);
  team_.barrier();
  ops::choose_experts(work_.router, experts.count, used, experts.normalized, own.chosen, own.share);
  clock.lap(Op::kGate, layer.router.bytes, uint64_t{layer.router.rows} * hidden);
  uint64_t gate_up_bytes = layer.shared_gate_up.bytes, down_bytes = layer.shared_down.bytes;
  for (size_t i = 0; i < used; ++i) {
    const uint32_t e = own.chosen[i];
    multiply_gated(thread, layer.gate_up[e], x, expert_gated_for(layer.down[e], i), clock);
    gate_up_bytes += layer.gate_up[e].bytes;
    down_bytes += layer.down[e].bytes;
  }
  if (shared) multiply_gated(thread, layer.shared_gate_up, x, gated_for(layer.shared_down), clock);
  team_.barrier();
  const uint64_t products =
      (uint64_t{used} * experts.feed_forward + experts.shared_feed_forward) * hidden;
  clock.lap(Op::kGateUp, gate_up_bytes, 2 * products);
  const auto panels = device::split(ops::panel_count(hidden), thread, team_.size());
  const size_t first = std::min(hidden, panels.begin * ops::kPanelRows),
               count = std::min(hidden, panels.end * ops::kPanelRows) - first;
  const auto down = [&](const Linear& linear, const Gated& from, float* y) {
    ops::matmul(linear.parts[0].matrix, from.input(1), panels.begin, panels.end, y, hidden,
                scratch(thread));
  };
  float* delta = work_.delta + first;
  if (shared) {
    down(layer.shared_down, gated_for(layer.shared_down), work_.delta);
    ops::scale_cpu(1 / (1 + ops::exp_f32(-work_.router[experts.count])), count, delta);
  } else {
    std::fill_n(delta, count, 0.0f);
  }
  for (size_t i = 0; i < used; ++i) {
    const Linear& linear = layer.down[own.chosen[i]];
    float* y = work_.expert_rows + i * hidden;
    down(linear, expert_gated_for(linear, i), y);
    ops::add_scaled_cpu(y + first, own.share[i], count, delta);
  }
  team_.barrier();
  clock.lap(Op::kDown, down_bytes, products);
}

}  // namespace altlas::model
