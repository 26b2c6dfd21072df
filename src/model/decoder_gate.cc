// The gated part of a feed-forward layer: a thread multiplies some rows of gate and up for some
// tokens, and makes of them the input of the next product while they are in its cache.
#include <algorithm>

#include "model/decoder.h"
#include "ops/quantize/quantize.h"

namespace altlas::model {
namespace {

constexpr size_t kUnitPanels = 4;      // Two records of the next product's input.
constexpr size_t kTokensAtOnce = 256;  // As a product; their input stays in the second cache.
static_assert(2 * kUnitPanels * ops::kPanelRows * kTokensAtOnce <= kGateFloats);

const std::byte* panel_at(const ops::PackedMatrix& matrix, size_t panel) {
  return matrix.data + panel * ops::packed_panel_bytes(matrix.type, matrix.cols);
}

// `rows` rows from a panel on.
ops::PackedMatrix slice(const ops::PackedMatrix& matrix, size_t first, size_t rows,
                        const std::byte* next) {
  return {matrix.type, static_cast<uint32_t>(rows), matrix.cols, panel_at(matrix, first), next};
}

}  // namespace

void Decoder::multiply_gated(const Share& share, const Linear& gate_up, const ops::Activations& x,
                             const Gated& to, OpClock& clock) {
  const size_t wide = to.wide, all_units = (ops::panel_count(wide) + kUnitPanels - 1) / kUnitPanels;
  const auto own = device::split(all_units, share.index, share.count);
  const size_t tokens = share.tokens.end - share.tokens.begin;
  const auto pieces = static_cast<uint32_t>((tokens + kTokensAtOnce - 1) / kTokensAtOnce);
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
      outs[0] = work_.gate_chunk + size_t{share.thread} * kGateFloats;
      outs[1] = outs[0] + in.tokens * width;
      const size_t next_panel = (unit + units < own.end ? unit + units : own.begin) * kUnitPanels;
      const ops::PackedMatrix &gate = gate_up.parts[0].matrix, &up = gate_up.parts[1].matrix;
      const auto multiply_chunk = [&](const ops::PackedMatrix& chunk, float* out) {
        ops::matmul(chunk, in, 0, ops::panel_count(width), out, width, scratch(share.thread));
      };
      multiply_chunk(slice(gate, panel, width, panel_at(up, panel)), outs[0]);
      multiply_chunk(slice(up, panel, width, panel_at(gate, next_panel)), outs[1]);
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
