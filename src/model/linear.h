// Linear: matrices that take the same input, and a thread's share of their product.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/matmul/matmul.h"

namespace altlas::model {

// The matrices' outputs lie side by side in one row; their types may differ.
struct Linear {
  struct Part {
    ops::PackedMatrix matrix;
    uint32_t first_column = 0;  // The first column of its output in the row.
  };
  std::vector<Part> parts;
  uint32_t rows = 0;  // The rows of all parts.
  uint32_t cols = 0;
  bool takes_quantized = false;  // Some part does.
  uint64_t bytes = 0;

  // Bytes that a thread needs for multiply().
  uint64_t scratch_bytes() const;
  // Computes the part of y [x.tokens, rows] that falls to thread `index` of
  // `threads`: by bytes where reading the weights takes the time; of more tokens by rows, in the
  // pairs of panels that a product takes at once. scratch: this thread's own.
  void multiply(const ops::Activations& x, Rows<float> y, uint32_t index, uint32_t threads,
                std::byte* scratch) const;
};

}  // namespace altlas::model
