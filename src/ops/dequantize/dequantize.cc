#include "ops/dequantize/dequantize.h"

#include <cstring>

#include "base/check.h"
#include "ops/dequantize/quant_block.h"
#include "tensor/half.h"

namespace altlas::ops {
namespace {

template <float (*kFloatFrom)(uint16_t)>
void widen(const std::byte* row, size_t cols, float* out) {
  for (size_t k = 0; k < cols; ++k) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * k, sizeof bits);
    out[k] = kFloatFrom(bits);
  }
}

}  // namespace

bool dequantize_supports(DType type) { return type != DType::kI32; }

void dequantize_row(DType type, const std::byte* row, size_t cols, float* out) {
  ALTLAS_CHECK(dequantize_supports(type), "a float or quantised type");
  ALTLAS_CHECK(cols % dtype_info(type).block_values == 0, "cols: a multiple of the block");
  if (type == DType::kF32) {
    std::memcpy(out, row, cols * sizeof(float));
    return;
  }
  if (type == DType::kF16) return widen<float_from_f16>(row, cols, out);
  if (type == DType::kBF16) return widen<float_from_bf16>(row, cols, out);
  for (size_t b = 0; b < cols / kBlockValues; ++b) {
    dequantize_block(type, read_quant_block(type, row, b), out + b * kBlockValues);
  }
}

}  // namespace altlas::ops
