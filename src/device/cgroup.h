// What the control groups of this process leave it: limits of its own group and of every group
// above, in hierarchies of version 1, version 2 and both.
#pragma once

#include <cstdint>
#include <string>

namespace altlas::device {

struct CgroupLimits {
  uint64_t memory_total = 0;  // The least limit; 0: none.
  // The least of limit minus use over the groups with a limit, where pages of files that the kernel
  // drops when memory is short don't count as used.
  uint64_t memory_available = UINT64_MAX;
  uint32_t cores = 0;  // The least quota, rounded up; 0: none.
};

// Reads ROOT/proc/self/cgroup, ROOT/proc/self/mountinfo and the files of the groups. What can't be
// read is no limit.
CgroupLimits read_cgroup_limits(const std::string& root);

}  // namespace altlas::device
