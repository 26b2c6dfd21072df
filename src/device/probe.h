// Facts about this machine: cores this process may use, memory, foreign load.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::device {

struct Machine {
  uint32_t cores = 1;         // This process may run on (affinity and cgroup quota, rounded up).
  uint64_t memory_total = 0;  // Of the machine, or the cgroup limit where that is less.
  uint64_t memory_available = 0;  // Now, of memory_total.
  uint32_t cuda_count = 0;
  std::string cpu_model;  // "AMD EPYC 9575F", empty if unknown.
};

// Reads /proc, the cgroup files and sched_getaffinity. Facts that can't be read are 0, cores 1.
Machine probe_machine();

// ---- The parsers, for tests ----

// "MemTotal", "MemAvailable" of /proc/meminfo in bytes, 0 if absent.
uint64_t meminfo_bytes(std::string_view meminfo, std::string_view key);
// Bytes of cgroup v2 `memory.max` or v1 `memory.limit_in_bytes`; 0: no limit.
uint64_t cgroup_memory_limit(std::string_view text);
// Cores of cgroup v2 `cpu.max` ("200000 100000" is 2), rounded up; 0: no limit.
uint32_t cgroup_cpu_limit(std::string_view text);

}  // namespace altlas::device
