// How fast this machine reads memory, measured.
#pragma once

#include <cstdint>
#include <vector>

namespace altlas::cli {

struct Bandwidth {
  uint32_t threads = 0;
  double bytes_per_s = 0;
};
// Reads `bytes` of memory over and over for `seconds` with each number of threads (1, 2, 4, … up to
// `threads_max`).
std::vector<Bandwidth> measure_read_bandwidth(uint64_t bytes, double seconds, uint32_t threads_max);

}  // namespace altlas::cli
