// How fast this machine reads memory and multiplies, measured with a team of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/cpu/team.h"

namespace altlas::cli {

struct Roofs {
  double read_bytes_per_s = 0;
  double int8_macs_per_s = 0;
  double float_macs_per_s = 0;

  // The better of both, figure by figure: noise only ever makes them smaller.
  void raise(const Roofs& other);
};

// Holds the memory that is read, so that measuring again costs no time.
// Threads: one; measure() runs its team in a thread of its own.
class RoofMeter {
 public:
  // memory_bytes: more than the caches hold; 0: measure() leaves the roofs at 0.
  RoofMeter(uint32_t threads, uint32_t cpu_first, uint64_t memory_bytes);
  // Best of several short runs, about a tenth of a second in all.
  Roofs measure();

 private:
  Roofs measure_in(device::Team& team);
  const device::TeamOptions options_;
  std::vector<uint64_t> memory_;
};

}  // namespace altlas::cli
