// Random packed matrices and activations for tests of products.
#include "ops/matmul/test_matrix.h"

#include "ops/quantize/quantize.h"
#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::ops {

// Returns the offsets of a block's binary16 fields.
std::vector<size_t> half_fields(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// Returns random codes (all bit patterns, so Q8_0's -128 too) with scales of both signs around
// 0.01.
std::vector<std::byte> random_weights(DType type, size_t rows, size_t cols, uint64_t seed) {
  std::vector<std::byte> out(rows * row_bytes(type, cols));
  if (!takes_quantized_activations(type)) {
    const std::vector<float> values = testing::normals(rows * cols, seed);
    for (size_t i = 0; i < values.size(); ++i) {
      const uint16_t narrow =
          type == DType::kF16 ? f16_from_float(values[i]) : bf16_from_float(values[i]);
      if (type == DType::kF32)
        std::memcpy(out.data() + 4 * i, &values[i], 4);
      else
        std::memcpy(out.data() + 2 * i, &narrow, 2);
    }
    return out;
  }
  const std::vector<uint8_t> codes = testing::bytes(out.size(), seed);
  std::memcpy(out.data(), codes.data(), codes.size());
  const size_t block_bytes = dtype_info(type).block_bytes;
  const std::vector<float> scales = testing::normals(2 * out.size() / block_bytes, seed + 1);
  for (size_t b = 0, s = 0; b < out.size(); b += block_bytes) {
    for (const size_t at : half_fields(type)) {
      const uint16_t half = f16_from_float(0.01f * scales[s++]);
      std::memcpy(out.data() + b + at, &half, 2);
    }
  }
  return out;
}

Input::Input(DType type, size_t tokens, size_t cols, uint64_t seed)
    : stride(cols + 5),
      x(testing::normals(tokens * stride, seed)),
      quantized(quantized_bytes(tokens, cols)) {
  for (size_t k = 0; tokens > 1 && k < cols; ++k)
    x[stride + k] = k % 64 < 32 ? 0.0f : x[stride + k] * 1e6f;
  if (takes_quantized_activations(type))
    quantize_rows({x.data(), tokens, stride}, cols, {0, tokens}, quantized.data());
}

}  // namespace altlas::ops
