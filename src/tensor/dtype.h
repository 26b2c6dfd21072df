// Element types of tensors, as GGUF stores them: blocks of values that share scales.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace altlas {

// The numbers are GGUF's ggml_type ids (gguf specification, "tensor types").
enum class DType : uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14, kI32 = 26, kBF16 = 30,
};

// values: per block along a row; bytes: of one block.
struct DTypeInfo {
  DType type;
  std::string_view name;  // "Q4_K".
  uint32_t block_values;
  uint32_t block_bytes;
};

// Nothing for a number that is not in DType.
std::optional<DTypeInfo> dtype_info(uint32_t ggml_type);
// For a DType that exists; aborts otherwise.
DTypeInfo dtype_info(DType type);
// Bytes of one row of `cols` values. cols must be a multiple of block_values.
uint64_t row_bytes(DType type, uint64_t cols);

}  // namespace altlas
