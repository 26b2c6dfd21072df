// Packing rows into panels, and rows back out of them.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "ops/dequantize/dequantize.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/panel_format.h"

namespace altlas::ops {
namespace {

size_t float_bytes(DType type) { return type == DType::kF32 ? 4 : 2; }

// Float panels: [cols][16 rows], rounded up to 64 bytes.
void pack_float_panel(DType type, size_t rows, size_t cols, const std::byte* row_major,
                      size_t first, std::byte* panel) {
  const size_t bytes = float_bytes(type);
  for (size_t r = 0; r < std::min(kPanelRows, rows - first); ++r) {
    const std::byte* row = row_major + (first + r) * cols * bytes;
    for (size_t k = 0; k < cols; ++k)
      std::memcpy(panel + (k * kPanelRows + r) * bytes, row + k * bytes, bytes);
  }
}

}  // namespace

bool takes_quantized_activations(DType type) {
  return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16;
}

bool matmul_supports(DType type, size_t cols) {
  return dequantize_supports(type) && cols > 0 && cols % dtype_info(type).block_values == 0;
}

size_t packed_panel_bytes(DType type, size_t cols) {
  ALTLAS_CHECK(matmul_supports(type, cols), "a float or quantised type, whole blocks");
  if (!takes_quantized_activations(type))
    return (cols * kPanelRows * float_bytes(type) + 63) / 64 * 64;
  const PanelFormat format = panel_format(type);
  return panel_blocks(format, cols) / format.group_blocks * format.group_bytes();
}

void pack_panels(DType type, size_t rows, size_t cols, const std::byte* row_major,
                 size_t panel_begin, size_t panel_end, std::byte* packed) {
  const size_t panel_bytes = packed_panel_bytes(type, cols);
  ALTLAS_CHECK(panel_begin <= panel_end && panel_end <= panel_count(rows), "panels of this matrix");
  const bool quantized = takes_quantized_activations(type);
  const PanelFormat format = panel_format(type);
  const size_t bytes = row_bytes(type, cols);
  for (size_t p = panel_begin; p < panel_end; ++p) {
    std::byte* panel = packed + p * panel_bytes;
    std::memset(panel, 0, panel_bytes);
    const size_t first = p * kPanelRows;
    if (!quantized) {
      pack_float_panel(type, rows, cols, row_major, first, panel);
      continue;
    }
    for (size_t b = 0; b < cols / kBlockValues; ++b) {
      for (size_t r = 0; r < std::min(kPanelRows, rows - first); ++r) {
        store_panel_block(format, panel, b, r,
                          read_quant_block(type, row_major + (first + r) * bytes, b));
      }
    }
  }
}

void unpack_row(const PackedMatrix& weights, size_t row, float* out) {
  ALTLAS_CHECK(row < weights.rows, "a row of this matrix");
  const std::byte* panel =
      weights.data + row / kPanelRows * packed_panel_bytes(weights.type, weights.cols);
  const size_t r = row % kPanelRows;
  if (!takes_quantized_activations(weights.type)) {
    const size_t bytes = float_bytes(weights.type);
    for (size_t k = 0; k < weights.cols; ++k) {
      dequantize_row(weights.type, panel + (k * kPanelRows + r) * bytes, 1, out + k);
    }
    return;
  }
  const PanelFormat format = panel_format(weights.type);
  for (size_t b = 0; b < weights.cols / kBlockValues; ++b) {
    dequantize_block(weights.type, load_panel_block(format, panel, b, r), out + b * kBlockValues);
  }
}

}  // namespace altlas::ops
