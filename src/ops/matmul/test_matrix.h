// Random packed matrices and activations for tests of products. Only tests include it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ops/matmul/matmul.h"
#include "tensor/dtype.h"
#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::ops {

inline constexpr DType kQuantized[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                       DType::kQ8_0, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                       DType::kQ5_K, DType::kQ6_K};

// 64-byte aligned bytes.
class Bytes {
 public:
  explicit Bytes(size_t size) : storage_(size + 64) {
    void* at = storage_.data();
    size_t space = storage_.size();
    data_ = static_cast<std::byte*>(std::align(64, size, at, space));
  }
  std::byte* data() { return data_; }

 private:
  std::vector<std::byte> storage_;
  std::byte* data_;
};

// Offsets of the binary16 fields of a block.
inline std::vector<size_t> half_fields(DType type) {
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

// Random codes (all bit patterns, so Q8_0's -128 too) with scales of both signs around 0.01.
inline std::vector<std::byte> random_weights(DType type, size_t rows, size_t cols, uint64_t seed) {
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

struct Matrix {
  Matrix(DType type, size_t rows, size_t cols, std::vector<std::byte> from)
      : row_major(std::move(from)),
        packed(packed_bytes(type, rows, cols)),
        view{type, static_cast<uint32_t>(rows), static_cast<uint32_t>(cols), packed.data()} {
    pack_panels(type, rows, cols, row_major.data(), 0, panel_count(rows), packed.data());
  }
  Matrix(DType type, size_t rows, size_t cols, uint64_t seed)
      : Matrix(type, rows, cols, random_weights(type, rows, cols, seed)) {}
  std::vector<std::byte> row_major;
  Bytes packed;
  PackedMatrix view;
};

// Activations of `tokens` rows, quantised where the type takes that; x has a stride of cols + 5.
struct Input {
  Input(DType type, size_t tokens, size_t cols, uint64_t seed)
      : stride(cols + 5),
        x(testing::normals(tokens * stride, seed)),
        quantized(quantized_bytes(tokens, cols)) {
    for (size_t k = 0; tokens > 1 && k < cols; ++k)
      x[stride + k] = k % 64 < 32 ? 0.0f : x[stride + k] * 1e6f;
    if (takes_quantized_activations(type))
      quantize_rows(x.data(), stride, cols, 0, tokens, quantized.data());
  }
  Activations view(size_t tokens) { return {tokens, quantized.data(), x.data(), stride}; }
  size_t stride;
  std::vector<float> x;
  Bytes quantized;
};

inline std::string name_of(DType type) { return std::string(dtype_info(type).name); }

}  // namespace altlas::ops
