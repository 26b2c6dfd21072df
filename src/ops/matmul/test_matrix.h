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
std::vector<size_t> half_fields(DType type);

// Random codes (all bit patterns, so Q8_0's -128 too) with scales of both signs around 0.01.
std::vector<std::byte> random_weights(DType type, size_t rows, size_t cols, uint64_t seed);

struct Matrix {
  Matrix(DType type, size_t rows, size_t cols, std::vector<std::byte> from)
      : row_major(std::move(from)),
        packed(packed_bytes(type, rows, cols)),
        view{type, static_cast<uint32_t>(rows), static_cast<uint32_t>(cols), packed.data()} {
    pack_panels({type, rows, cols, row_major.data()}, {0, panel_count(rows)}, packed.data());
  }
  Matrix(DType type, size_t rows, size_t cols, uint64_t seed)
      : Matrix(type, rows, cols, random_weights(type, rows, cols, seed)) {}
  std::vector<std::byte> row_major;
  Bytes packed;
  PackedMatrix view;
};

// Activations of `tokens` rows, quantised where the type takes that; x has a stride of cols + 5.
struct Input {
  Input(DType type, size_t tokens, size_t cols, uint64_t seed);
  Activations view(size_t tokens) { return {tokens, quantized.data(), x.data(), stride}; }
  size_t stride;
  std::vector<float> x;
  Bytes quantized;
};

inline std::string name_of(DType type) { return std::string(dtype_info(type).name); }

}  // namespace altlas::ops
