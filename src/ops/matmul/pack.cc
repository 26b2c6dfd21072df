// Packs rows into panels, and unpacks them.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "ops/dequantize/dequantize.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/panel_format.h"

namespace altlas::ops {
namespace {

size_t float_bytes(DType type) { return type == DType::kF32 ? 4 : 2; }

// Copies `count` values, from every from_step'th place to every to_step'th one.
template <class Value>
void copy_values(const std::byte* from, size_t from_step, size_t count, std::byte* to,
                 size_t to_step) {
  constexpr size_t kBytes = sizeof(Value);
  for (size_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_step * kBytes, from + i * from_step * kBytes, kBytes);
}
auto copy_of(DType type) {
  return type == DType::kF32 ? copy_values<uint32_t> : copy_values<uint16_t>;
}

// The layout of float panels: [cols][16 rows], rounded up to 64 bytes.
void pack_float_panel(const RowMajorMatrix& matrix, size_t first, std::byte* panel) {
  const auto& [type, rows, cols, row_major] = matrix;
  const size_t bytes = float_bytes(type);
  for (size_t r = 0; r < std::min(kPanelRows, rows - first); ++r)
    copy_of(type)(row_major + (first + r) * cols * bytes, 1, cols, panel + r * bytes, kPanelRows);
}

// Unpacks values [k, k + count) of a float panel's row, at most kBlockValues.
void unpack_floats(DType type, const std::byte* panel, size_t k, size_t count, size_t row,
                   float* out) {
  std::byte picked[kBlockValues * sizeof(float)];
  copy_of(type)(panel + (k * kPanelRows + row) * float_bytes(type), kPanelRows, count, picked, 1);
  dequantize_row(type, picked, count, out);
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

void pack_panels(const RowMajorMatrix& matrix, Range panels, std::byte* packed) {
  const auto& [type, rows, cols, row_major] = matrix;
  const size_t panel_bytes = packed_panel_bytes(type, cols);
  ALTLAS_CHECK(panels.begin <= panels.end && panels.end <= panel_count(rows),
               "panels of this matrix");
  const bool quantized = takes_quantized_activations(type);
  const PanelFormat format = panel_format(type);
  const size_t bytes = row_bytes(type, cols);
  for (size_t p = panels.begin; p < panels.end; ++p) {
    std::byte* panel = packed + p * panel_bytes;
    std::memset(panel, 0, panel_bytes);
    const size_t first = p * kPanelRows;
    if (!quantized) {
      pack_float_panel(matrix, first, panel);
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
  const bool quantized = takes_quantized_activations(weights.type);
  const PanelFormat format = panel_format(weights.type);
  const size_t r = row % kPanelRows;
  for (size_t k = 0; k < weights.cols; k += kBlockValues) {
    if (quantized)
      dequantize_block(weights.type, load_panel_block(format, panel, k / kBlockValues, r), out + k);
    else
      unpack_floats(weights.type, panel, k, std::min(kBlockValues, weights.cols - k), r, out + k);
  }
}

}  // namespace altlas::ops
