// How a model is divided over devices.
#pragma once

#include <cstdint>
#include <vector>

namespace altlas {

// A replica has pipeline * tensor ranks; rank = stage * tensor_parallel_size + index within the
// stage.
struct ParallelLayout {
  int32_t tensor_parallel_size = 1;
  int32_t pipeline_parallel_size = 1;
  int32_t expert_parallel_size = 1;    // Groups of a stage's ranks that experts are spread over.
  std::vector<double> shares;          // Each tensor rank's share of rows; sums to 1. Empty: even.
  int32_t pipeline_micro_batches = 0;  // 0: as many as stages.

  int32_t ranks() const { return tensor_parallel_size * pipeline_parallel_size; }
  friend bool operator==(const ParallelLayout&, const ParallelLayout&) = default;
};

}  // namespace altlas
