#include "model/feed_forward.h"

#include <algorithm>

#include "base/integers.h"
#include "model/adapt.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"

namespace altlas::model {
namespace {

constexpr uint32_t kGateFloats = 1 << 16;  // Values of gate and up that a thread holds at once.
// Their rows make two records of the next product's input.
constexpr size_t kUnitPanels = 4;
// Tokens of one product; their input stays in the second-level cache.
constexpr size_t kTokensAtOnce = 256;
static_assert(2 * kUnitPanels * ops::kPanelRows * kTokensAtOnce <= kGateFloats);

const std::byte* panel_at(const ops::PackedMatrix& matrix, size_t panel) {
  return matrix.data + panel * ops::packed_panel_bytes(matrix.type, matrix.cols);
}

// Returns `rows` rows of the matrix, from the panel `first` on.
ops::PackedMatrix slice(const ops::PackedMatrix& matrix, size_t first, size_t rows,
                        const std::byte* next) {
  return {matrix.type, static_cast<uint32_t>(rows), matrix.cols, panel_at(matrix, first), next};
}

uint64_t widest(const Hyperparameters& config) {
  return std::max(config.feed_forward, config.experts.shared_feed_forward);
}

}  // namespace

FeedForward::FeedForward(const DecoderPart& part, uint32_t threads, Workspace<Arena>& arena)
    : config_(part.config),
      shard_(part.shard),
      wide_(
          arena.shared.take_array<float>(uint64_t{part.step_tokens_max} * 2 * widest(part.config))),
      gated_(arena.shared.take(ops::quantized_bytes(part.step_tokens_max, widest(part.config)))),
      chunks_(arena.own.take_rows<float>(threads, kGateFloats)),
      tokens_(part.step_tokens_max) {}

Gated FeedForward::gated_for(const Linear& down, const ShardRange& columns) const {
  return {columns.begin,
          down.cols,
          down.takes_quantized,
          gated_,
          {wide_, tokens_, 2 * size_t{down.cols}}};
}

void FeedForward::run(StepContext& step, const LayerWeights& layer, uint32_t index) {
  const Gated gated = gated_for(layer.down, shard_.feed_forward);
  const ops::Activations input = step.input(step.normed);
  if (step.adapts) {
    step.multiply(layer.gate_up, input, gated.values);
    if (step.group.splits()) {
      Rows<float> up = gated.values;
      up.data += gated.wide;
      step.meet_columns(&ShardPlan::feed_forward, gated.values);
      step.meet_columns(&ShardPlan::feed_forward, up);
    } else {
      step.meet_products();
    }
    adapt(step, index, &LayerAdapter::gate_up, step.normed, gated.values);
    gate(step, layer.down);
  } else {
    multiply_gated(step, step.share, layer.gate_up, input, gated);
  }
  if (!step.group.splits() || step.adapts)
    step.meet_products();
  else if (gated.takes_quantized)
    step.meet_quantized(&ShardPlan::feed_forward, gated.quantized, gated.wide);
  else
    step.meet_columns(&ShardPlan::feed_forward, gated.values);
  step.lap(Op::kGateUp, layer.gate_up);
  step.multiply(layer.down, gated.input(step.tokens.size()), step.delta);
  if (step.group.splits())
    step.meet_columns(&ShardPlan::hidden, step.delta);
  else
    step.meet_products();
  step.lap(Op::kDown, layer.down);
}

void FeedForward::gate_row(const float* gate, const float* up, size_t wide, float* product) const {
  const auto gate_mul =
      config_.architecture.gate == GateKind::kSilu ? ops::silu_mul_cpu : ops::gelu_mul_cpu;
  gate_mul(gate, up, wide, product);
}

// Gates this thread's rows, each as a whole.
void FeedForward::gate(const StepContext& step, const Linear& down) {
  const Gated gated = gated_for(down, shard_.feed_forward);
  for (size_t row = step.own.begin; row < step.own.end; ++row) {
    float* gate_up = gated.values[row];
    gate_row(gate_up, gate_up + gated.wide, gated.wide, gate_up);
    if (gated.takes_quantized)
      ops::quantize_rows(gated.values, gated.wide, {row, row + 1}, gated.quantized);
  }
}

// Multiplies some of the rank's rows of gate and up for some tokens, and makes the input of the
// next product from them while they are in this thread's cache.
void FeedForward::multiply_gated(StepContext& step, const ProductShare& share,
                                 const Linear& gate_up, const ops::Activations& x,
                                 const Gated& to) {
  const ops::PackedMatrix &gate = gate_up.parts[0].matrix, &up = gate_up.parts[1].matrix;
  const size_t wide = gate.rows, all_units = ceil_div(ops::panel_count(wide), kUnitPanels);
  const auto own = device::split(all_units, share.index, share.count);
  const size_t tokens = share.tokens.end - share.tokens.begin;
  const auto pieces = static_cast<uint32_t>(ceil_div(tokens, kTokensAtOnce));
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    auto rows = device::split(tokens, piece, pieces);
    rows = {rows.begin + share.tokens.begin, rows.end + share.tokens.begin};
    const ops::Activations in = x.rows(rows.begin, rows.end, gate_up.cols);
    const size_t units = kGateFloats / (2 * kUnitPanels * ops::kPanelRows * in.tokens);
    for (size_t unit = own.begin; unit < own.end; unit += units) {
      const size_t panel = unit * kUnitPanels, first = panel * ops::kPanelRows,
                   end = std::min(unit + units, own.end) * kUnitPanels * ops::kPanelRows,
                   width = std::min(wide, end) - first;
      float* outs[2];
      outs[0] = chunks_[step.thread];
      outs[1] = outs[0] + in.tokens * width;
      const size_t next_panel = (unit + units < own.end ? unit + units : own.begin) * kUnitPanels;
      const auto multiply_chunk = [&](const ops::PackedMatrix& chunk, float* out) {
        ops::matmul(chunk, in, {0, ops::panel_count(width)}, {out, in.tokens, width}, step.scratch);
      };
      multiply_chunk(slice(gate, panel, width, panel_at(up, panel)), outs[0]);
      multiply_chunk(slice(up, panel, width, panel_at(gate, next_panel)), outs[1]);
      step.clock.lap(Op::kGateUp);
      gate_chunk(outs[0], outs[1], rows, {to.column + first, to.column + first + width}, to);
      step.clock.lap(Op::kGate);
    }
  }
}

void FeedForward::gate_chunk(const float* gate, const float* up, const Range& rows,
                             const Range& columns, const Gated& to) const {
  const size_t wide = to.wide, width = columns.end - columns.begin, count = rows.end - rows.begin;
  if (to.takes_quantized)
    return ops::gate_quantize_cpu(
        config_.architecture.gate == GateKind::kSilu ? ops::GateAct::kSilu : ops::GateAct::kGelu,
        {gate, count, width}, {up, count, width},
        {.out = to.quantized + ops::quantized_bytes(rows.begin, wide),
         .cols = wide,
         .column = columns.begin,
         .width = width});
  for (size_t row = 0; row < count; ++row)
    gate_row(gate + row * width, up + row * width, width,
             to.values[rows.begin + row] + columns.begin);
}

}  // namespace altlas::model
