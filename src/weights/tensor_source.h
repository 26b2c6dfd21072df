// What a loader needs of a model file, whatever its format: tensors by name.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace altlas::weights {

// At most this many files make one model.
inline constexpr uint32_t kShardsMax = 1024;

// A tensor of a supported type whose data lie inside the file.
struct TensorView {
  std::string_view name;
  DType dtype;
  uint32_t dim_count;  // 1 to 4.
  // dims[0] is contiguous, unused ones are 1: a matrix [rows, cols] has {cols, rows, 1, 1}. None is
  // 0.
  std::array<uint64_t, 4> dims;
  // Exactly rows * row_bytes(dtype, cols). No alignment is promised: copy, or use unaligned loads.
  std::span<const uint8_t> data;

  uint64_t cols() const { return dims[0]; }
  uint64_t rows() const { return dims[1] * dims[2] * dims[3]; }
};

// Const after open, any thread. Views live as long as the source.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // By name, each once.
  virtual std::vector<std::string_view> tensor_names() const = 0;
  virtual bool has_tensor(std::string_view name) const = 0;
  // Errors: kNotFound; kInvalid if its type or shape is not supported (the message says which are).
  virtual Result<TensorView> tensor(std::string_view name) const = 0;
};

}  // namespace altlas::weights
