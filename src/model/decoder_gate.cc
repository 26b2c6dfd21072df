// The gated part of a feed-forward layer: a thread multiplies some rows of gate and up for some
// tokens, and makes of them the input of the next product while they are in its cache.
#include <algorithm>

#include "model/decoder.h"
#include "ops/quantize/quantize.h"

namespace altlas::model {
namespace {

constexpr size_t kUnitPanels = 4;      // Two records of the next product's input.
constexpr size_t kTokensAtOnce = 192;  // Whose input stays in the second cache, twice what a
                                       // product takes at once.
static_assert(2 * kUnitPanels * ops::kPanelRows * kTokensAtOnce <= kGateFloats);

// Panels [first, end) of a matrix whose rows end at `rows`.
ops::PackedMatrix slice(const ops::PackedMatrix& matrix, size_t first, size_t rows) {
  return {matrix.type, static_cast<uint32_t>(rows), matrix.cols,
          matrix.data + first * ops::packed_panel_bytes(matrix.type, matrix.cols)};
}

}  // namespace

void Decoder::multiply_gated(uint32_t thread, const Linear& gate_up, const ops::Activations& x,
                             const Gated& to, OpClock& clock) {
  const size_t wide = to.wide, hidden = config_.hidden;
  const auto own =
      device::split((ops::panel_count(wide) + kUnitPanels - 1) / kUnitPanels, thread, team_.size());
  const size_t pieces = (x.tokens + kTokensAtOnce - 1) / kTokensAtOnce;
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    const auto rows = device::split(x.tokens, piece, static_cast<uint32_t>(pieces));
    const size_t count = rows.end - rows.begin,
                 units = kGateFloats / (2 * kUnitPanels * ops::kPanelRows * count);
    const ops::Activations in{.tokens = count,
                              .quantized = x.quantized + ops::quantized_bytes(rows.begin, hidden),
                              .values = x.values + rows.begin * x.stride,
                              .stride = x.stride};
    for (size_t unit = own.begin; unit < own.end; unit += units) {
      const size_t panel = unit * kUnitPanels, first = panel * ops::kPanelRows,
                   end = std::min(unit + units, own.end) * kUnitPanels * ops::kPanelRows,
                   width = std::min(wide, end) - first;
      float* outs[2];
      outs[0] = work_.gate_chunk + size_t{thread} * kGateFloats;
      outs[1] = outs[0] + count * width;
      for (size_t i = 0; i < 2; ++i)
        ops::matmul(slice(gate_up.parts[i].matrix, panel, width), in, 0, ops::panel_count(width),
                    outs[i], width, scratch(thread));
      clock.lap(Op::kGateUp);
      gate_chunk(outs[0], outs[1], rows, {first, first + width}, to);
      clock.lap(Op::kGate);
    }
  }
}

void Decoder::gate_chunk(const float* gate, const float* up, const device::Range& rows,
                         const device::Range& columns, const Gated& to) const {
  const size_t wide = to.wide, width = columns.end - columns.begin, count = rows.end - rows.begin;
  if (to.takes_quantized)
    return ops::gate_quantize_cpu(
        config_.architecture.gate == GateKind::kSilu ? ops::GateAct::kSilu : ops::GateAct::kGelu,
        gate, up, width, count,
        {.out = to.quantized + ops::quantized_bytes(rows.begin, wide),
         .cols = wide,
         .column = columns.begin,
         .width = width});
  for (size_t row = 0; row < count; ++row)
    gate_row(gate + row * width, up + row * width, width,
             to.values + (rows.begin + row) * 2 * wide + columns.begin);
}

}  // namespace altlas::model
