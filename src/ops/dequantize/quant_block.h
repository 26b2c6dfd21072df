// One block of 32 quantised values, taken apart: the common form that dequantising, packing and the
// scalar product share. K types have eight such blocks in their 256 values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace altlas::ops {

inline constexpr size_t kBlockValues = 32;

// How the value of code q at k follows from the block's parameters (h = k / 16, the half). Every
// operation is a float operation of its own, as in the GGUF reference.
enum class BlockScheme : uint8_t {
  kScale,         // d * (q - bias): Q4_0, Q5_0, Q8_0.
  kScaleMin,      // d * q + m: Q4_1, Q5_1.
  kSubScaleMin,   // (d * scale[0]) * q - m * min[0]: Q4_K, Q5_K.
  kHalfScale,     // (d * scale[h]) * (q - bias): Q3_K, Q6_K.
  kHalfScaleMin,  // (d * scale[h]) * q - m * min[h]: Q2_K.
};

struct QuantBlock {
  uint8_t code[kBlockValues];  // Without sign; Q8_0's are biased by 128.
  uint16_t d = 0, m = 0;       // binary16 bits.
  int16_t scale[2] = {1, 1};
  int16_t min[2] = {0, 0};
};

// For quantised types only; the others abort.
BlockScheme block_scheme(DType type);
uint8_t block_bias(DType type);

// Block `index` (of 32 values) of a GGUF row.
QuantBlock read_quant_block(DType type, const std::byte* row, size_t index);
// out: 32 values.
void dequantize_block(DType type, const QuantBlock& block, float* out);

}  // namespace altlas::ops
