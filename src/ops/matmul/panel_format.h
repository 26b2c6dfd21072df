// How packed panels lie in memory: one place for packing, the reference and every SIMD kernel.
//
// A panel is 16 rows, stored as groups of `group_blocks` blocks of 32 values: first the group's
// scales, then its codes, so that a panel is one linear stream. Columns are padded to whole groups
// with zero scales.
//
// Codes of a block: "vector" g (0..7) is 64 bytes, 16 rows x the 4 values k = 4g..4g+3, at byte
// 4 * row + k % 4. A "line" is 64 bytes laid out like a vector, whose bytes hold several fields.
//   base 8: eight vectors of bytes.
//   base 4: four lines; line g holds vector g (low nibble) and vector g + 4 (high nibble).
//   base 2: two lines; line h holds vectors 4h..4h+3 at bit 2 * (g % 4).
//   high 1: one more line; bit g of a byte is the next bit of vector g.
//   high 2: two more lines, as in base 2.
//
// Scales of a group, arrays of 16 rows each (b: block in the group):
//   kF16:          d[b]
//   kF16Min:       d[b], m[b]
//   kSixBit:       d, m, low[8], high[4]. Fields scale and min: low[b] has the low nibble of the
//                  first in its low half, of the second in its high half; high[b % 4] has two bits
//                  of the first and two of the second at bit 4 * (b / 4).
//   kSixBitHalves: as kSixBit without m; the fields are scale + 32 of both halves of a block.
//   kByteHalves:   d, 32 bytes of padding, scale[b][half]
//   kNibbleHalves: d, m, (scale | min << 4)[b][half]
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/integers.h"
#include "ops/dequantize/quant_block.h"
#include "ops/matmul/matmul.h"
#include "tensor/dtype.h"

namespace altlas::ops {

enum class PanelScales : uint8_t {
  kF16,
  kF16Min,
  kSixBit,
  kByteHalves,
  kNibbleHalves,
  kSixBitHalves
};

struct PanelFormat {
  PanelScales scales;
  BlockScheme scheme;
  uint8_t base;  // 8, 4 or 2 bits.
  uint8_t high;  // 0, 1 or 2 bits.
  uint8_t bias;
  uint8_t group_blocks;

  constexpr size_t scale_bytes() const {
    switch (scales) {
      case PanelScales::kF16:
        return 32u * group_blocks;
      case PanelScales::kF16Min:
        return 64u * group_blocks;
      case PanelScales::kSixBit:
      case PanelScales::kSixBitHalves:
        return 64 + 128 + 64;
      case PanelScales::kByteHalves:
      case PanelScales::kNibbleHalves:
        return 64 + 256;
    }
    return 0;
  }
  // Bytes of the codes of one block.
  constexpr size_t code_bytes() const { return 64u * (base + high); }
  constexpr size_t group_bytes() const { return scale_bytes() + code_bytes() * group_blocks; }
  constexpr unsigned max_code() const { return (1u << (base + high)) - 1; }
};

constexpr PanelFormat panel_format(DType type) {
  using enum PanelScales;
  using enum BlockScheme;
  switch (type) {
    case DType::kQ4_0:
      return {kF16, kScale, 4, 0, 8, 2};
    case DType::kQ4_1:
      return {kF16Min, kScaleMin, 4, 0, 0, 2};
    case DType::kQ5_0:
      return {kF16, kScale, 4, 1, 16, 2};
    case DType::kQ5_1:
      return {kF16Min, kScaleMin, 4, 1, 0, 2};
    case DType::kQ8_0:
      return {kF16, kScale, 8, 0, 128, 2};
    case DType::kQ2_K:
      return {kNibbleHalves, kHalfScaleMin, 2, 0, 0, 8};
    case DType::kQ3_K:
      return {kSixBitHalves, kHalfScale, 2, 1, 4, 8};
    case DType::kQ4_K:
      return {kSixBit, kSubScaleMin, 4, 0, 0, 8};
    case DType::kQ5_K:
      return {kSixBit, kSubScaleMin, 4, 1, 0, 8};
    case DType::kQ6_K:
      return {kByteHalves, kHalfScale, 4, 2, 32, 8};
    default:
      return {};
  }
}

// Blocks of a panel, padding included.
constexpr size_t panel_blocks(const PanelFormat& format, size_t cols) {
  const size_t blocks = cols / kBlockValues;
  return round_up(blocks, format.group_blocks);
}

// Writes row `row` of block `block`; the panel must start as zeros (6-bit scales share bytes).
void store_panel_block(const PanelFormat& format, std::byte* panel, size_t block, size_t row,
                       const QuantBlock& value);
QuantBlock load_panel_block(const PanelFormat& format, const std::byte* panel, size_t block,
                            size_t row);

}  // namespace altlas::ops
