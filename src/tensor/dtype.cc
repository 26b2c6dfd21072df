#include "tensor/dtype.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace altlas {
namespace {
constexpr DTypeInfo kTypes[] = {
    {DType::kF32, "F32", 1, 4},        {DType::kF16, "F16", 1, 2},       {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ4_1, "Q4_1", 32, 20},    {DType::kQ5_0, "Q5_0", 32, 22},   {DType::kQ5_1, "Q5_1", 32, 24},
    {DType::kQ8_0, "Q8_0", 32, 34},    {DType::kQ2_K, "Q2_K", 256, 84},  {DType::kQ3_K, "Q3_K", 256, 110},
    {DType::kQ4_K, "Q4_K", 256, 144},  {DType::kQ5_K, "Q5_K", 256, 176}, {DType::kQ6_K, "Q6_K", 256, 210},
    {DType::kI32, "I32", 1, 4},        {DType::kBF16, "BF16", 1, 2},
};
}  // namespace

std::optional<DTypeInfo> dtype_info(uint32_t ggml_type) {
  const auto* found = std::ranges::find(kTypes, static_cast<DType>(ggml_type), &DTypeInfo::type);
  if (found == std::end(kTypes)) return std::nullopt;
  return *found;
}

DTypeInfo dtype_info(DType type) {
  const auto info = dtype_info(static_cast<uint32_t>(type));
  ALTLAS_CHECK(info, "a DType of the list");
  return *info;
}

uint64_t row_bytes(DType type, uint64_t cols) {
  const DTypeInfo info = dtype_info(type);
  ALTLAS_CHECK(cols % info.block_values == 0, "cols: a multiple of the block");
  return cols / info.block_values * info.block_bytes;
}
}  // namespace altlas
