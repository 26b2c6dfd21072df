// Facts about this machine: cores this process may use, memory, foreign load.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::device {

struct MachineFacts {
  uint32_t cores = 1;  // This process may run on (affinity and cgroup quota, rounded up).
  // The memory of the machine, or the cgroup limit where that is less.
  uint64_t memory_total = 0;
  uint64_t memory_available = 0;  // Now, of memory_total.
  uint32_t cuda_count = 0;
  std::string cpu_model;  // "AMD EPYC 9575F", empty if unknown.
};

// Reads ROOT/proc, the cgroup files below ROOT and sched_getaffinity. Facts that can't be read are
// 0, cores 1.
MachineFacts probe_machine(const std::string& root = "");

// ---- The parsers ----

// "MemTotal", "MemAvailable" of /proc/meminfo in bytes, 0 if absent.
uint64_t meminfo_bytes(std::string_view meminfo, std::string_view key);
// The rest of the first line that begins with `key`.
std::string_view line_after(std::string_view text, std::string_view key);
// The digits that `text` begins with, after spaces. False where it begins otherwise.
bool leading_number(std::string_view text, uint64_t& value);
// The beginning of a file, up to 1 MiB; empty if it can't be read.
std::string read_small_file(const std::string& path);
// Bytes of cgroup v2 `memory.max` or v1 `memory.limit_in_bytes`; 0: no limit.
uint64_t cgroup_memory_limit(std::string_view text);
// Cores of cgroup v2 `cpu.max` ("200000 100000" is 2), rounded up; 0: no limit.
uint32_t cgroup_cpu_limit(std::string_view text);

}  // namespace altlas::device
