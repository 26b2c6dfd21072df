// The NVIDIA GPUs of this machine, asked through the driver's management library, loaded at run
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace altlas::device {

struct GpuFacts {
  uint32_t index = 0;
  std::string name;  // "NVIDIA H100 80GB HBM3".
  std::string uuid;
  uint64_t memory_total = 0;
  uint64_t memory_used = 0;
  double utilization = 0;  // 0 … 1, over the driver's last sampling period.
  double temperature = 0;  // Degrees Celsius.
  double power_watt = 0;
  double compute_capability = 0;    // 9.0.
  std::vector<uint32_t> processes;  // Ids of processes that compute on it, ours too.
};

struct GpuInventory {
  std::vector<GpuFacts> gpus;
  std::string reason;  // Why there are none; empty otherwise.
};

// Loads the library at the first call. A figure that the driver does not give is 0. Any thread; up
// to some milliseconds.
GpuInventory nvml_inventory();

}  // namespace altlas::device
