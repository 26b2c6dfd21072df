// int8 activations: the records that products with quantised weights take
// (ops/matmul/activation.h). Straight from the operation before them, so that its floats stay in
// the cache. Same bits on every SIMD target.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/range.h"
#include "tensor/rows.h"

namespace altlas::ops {

// Some rows of x [x.count, cols] into `out` (which starts at row 0). cols: whole blocks of 32.
void quantize_rows(Rows<const float> x, size_t cols, Range rows, std::byte* out);

// Where columns [column, column + width) of rows with `cols` columns go: both multiples of 32.
struct QuantizedPart {
  std::byte* out = nullptr;  // Where row 0 goes, as quantize_rows'.
  size_t cols = 0;
  size_t column = 0;
  size_t width = 0;
};

// All rows of x [x.count, part.width]. Where the part ends a row, its padding is written as well.
void quantize_part_cpu(Rows<const float> x, const QuantizedPart& part);

enum class GateAct : uint8_t { kSilu, kGelu };
// The same of act(gate) * up, as silu_mul_cpu and gelu_mul_cpu; gate, up: [rows, part.width],
// of one stride.
void gate_quantize_cpu(GateAct act, Rows<const float> gate, Rows<const float> up,
                       const QuantizedPart& part);

}  // namespace altlas::ops
