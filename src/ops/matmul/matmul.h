// Matrix products with weights packed in panels: y[t, r] = sum_k x[t, k] * w[r, k], in the weights'
// own bits.
//
// No function here starts a thread: each works on a range (of panels, of tokens), and the caller
// splits ranges over its team. Quantised weights take int8 activations with one scale per 32
// values; float weights take float activations. Every y[t, r] is one chain over k in one fixed
// order: the same bits for every batch size, range, thread count and SIMD target that keeps bits
// (simd_keeps_bits() in simd.h; avx512_bf16 and amx_bf16 do not).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/integers.h"
#include "base/range.h"
#include "tensor/dtype.h"
#include "tensor/rows.h"

namespace altlas::ops {

// Output rows of one panel; the last panel is padded with zero rows.
inline constexpr size_t kPanelRows = 16;
inline constexpr size_t kActivationBlock = 32;  // Values that share one activation scale.

// A view of a packed matrix; `data` is 64-byte aligned and outlives it.
struct PackedMatrix {
  DType type{};
  uint32_t rows = 0;
  uint32_t cols = 0;
  const std::byte* data = nullptr;
  // Panels of the same kind that the thread multiplies after the last of these, so that they are
  // fetched in time; null: they are not known.
  const std::byte* next = nullptr;
};

// True for the types that `pack_panels` takes with this many columns.
bool matmul_supports(DType type, size_t cols);
// True for types whose activations are int8 (all but F32, F16, BF16).
bool takes_quantized_activations(DType type);

constexpr size_t panel_count(size_t rows) { return ceil_div(rows, kPanelRows); }
size_t packed_panel_bytes(DType type, size_t cols);
inline size_t packed_bytes(DType type, size_t rows, size_t cols) {
  return panel_count(rows) * packed_panel_bytes(type, cols);
}
// A matrix as GGUF files have it: row after row.
struct RowMajorMatrix {
  DType type{};
  size_t rows = 0;
  size_t cols = 0;
  const std::byte* data = nullptr;
};
// Packs `panels` of a matrix into `packed` (which starts at panel 0).
void pack_panels(const RowMajorMatrix& matrix, Range panels, std::byte* packed);
// One row of a packed matrix as floats: out [cols]. For embeddings that share the head's panels.
void unpack_row(const PackedMatrix& weights, size_t row, float* out);

// Bytes of `tokens` quantised activation rows (ops/quantize makes them).
size_t quantized_bytes(size_t tokens, size_t cols);
// The input of a product; the form that the weights' type takes must be set.
struct Activations {
  size_t tokens = 0;
  const std::byte* quantized = nullptr;  // quantize_rows' output.
  const float* values = nullptr;         // [tokens, cols] with row stride `stride`.
  size_t stride = 0;

  // Tokens [begin, end) of rows of `cols` values.
  Activations rows(size_t begin, size_t end, size_t cols) const {
    return {end - begin, quantized == nullptr ? nullptr : quantized + quantized_bytes(begin, cols),
            values == nullptr ? nullptr : values + begin * stride, stride};
  }
};

// Bytes of scratch that one thread needs.
size_t matmul_scratch_bytes(DType type);
// y[t, r] for all tokens and the rows of `panels`. y: [tokens, rows]. scratch: this thread's own,
// 64-byte aligned.
void matmul(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
            std::byte* scratch);

}  // namespace altlas::ops
