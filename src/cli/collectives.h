// What `altlas collectives` measures and prints.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "collective/environment.h"
#include "collective/join.h"

namespace altlas::cli {

struct CollectiveBench {
  std::string op = "all_reduce";  // Or all_gather, reduce_scatter, broadcast, alltoall, sendrecv.
  collective::ElementType type = collective::ElementType::kF32;
  collective::ReduceOp reduce = collective::ReduceOp::kSum;
  collective::Algorithm algorithm = collective::Algorithm::kAuto;
  int root = 0;
  uint64_t bytes_min = 0, bytes_max = 0;
  double factor = 0;  // From one size to the next, > 1; 0: `step_bytes` is added.
  uint64_t step_bytes = 0;
  int iterations = 20, warmup = 5;
  bool check = true;
  bool json = false;
};

// One half of a row, averaged over the ranks.
struct CollectiveTime {
  double time_us = 0, algbw = 0, busbw = 0;  // GB/s, GB = 10^9.
  uint64_t wrong = 0;
};
struct CollectiveRow {
  uint64_t bytes = 0, count = 0;
  CollectiveTime out_of_place, in_place;
  bool has_in_place = true;
};

// Called on rank 0 as rows come.
using CollectiveRowPrinter = std::function<void(const CollectiveRow&)>;
// What one rank does; all ranks of the group call it with the same bench.
Result<std::vector<CollectiveRow>> run_collective_bench(collective::Group& group,
                                                        const CollectiveBench& bench,
                                                        const CollectiveRowPrinter& print);

// nccl-tests' lines: above the rows, and one row.
std::string collective_heading();
std::string collective_line(const CollectiveRow& row, const CollectiveBench& bench);
// Below them. Wrong elements and the mean bus bandwidth.
std::string collective_footer(const std::vector<CollectiveRow>& rows);
std::string collective_json(const std::vector<CollectiveRow>& rows, const CollectiveBench& bench,
                            int ranks, const std::string& transport,
                            const collective::NcclSettings& settings);

}  // namespace altlas::cli
