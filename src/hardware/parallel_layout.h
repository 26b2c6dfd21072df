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
  int32_t expert_parallel_size = 1;    // Divides tensor_parallel_size's ranks; experts over ranks.
  std::vector<double> shares;          // Share of each tensor rank in rows, empty: even. Sums to 1.
  int32_t pipeline_micro_batches = 0;  // 0: as many as stages.

  int32_t ranks() const { return tensor_parallel_size * pipeline_parallel_size; }
  friend bool operator==(const ParallelLayout&, const ParallelLayout&) = default;
};

}  // namespace altlas
