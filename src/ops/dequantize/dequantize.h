// Rows of GGUF tensors as floats: the readable reference of every block format.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace altlas::ops {

// True for F32, F16, BF16 and the quantised types of DType.
bool dequantize_supports(DType type);
// row: row_bytes(type, cols) bytes, any alignment; out [cols]. cols must be a multiple of the
// type's block. The same bits as the `gguf` Python package. Source: the GGUF block formats as ggml
// stores them.
void dequantize_row(DType type, const std::byte* row, size_t cols, float* out);

}  // namespace altlas::ops
