// How busy the machine's cores are, and how much of that is not ours: from /proc/stat and our own
// CPU time.
#pragma once

#include <cstdint>
#include <string_view>

namespace altlas::device {

struct Load {
  double total = 0;    // 0 … 1 of all cores since the last sample.
  double foreign = 0;  // The share of that by other processes.
};

// Differences between samples. The caller reads the texts, so a test can write them.
class UtilizationSampler {
 public:
  // proc_stat: /proc/stat's text; own_ticks: user + system time of this process and its workers, in
  // clock ticks. The first sample, and one no tick later, answers the load before it (0 at first).
  Load sample(std::string_view proc_stat, uint64_t own_ticks);

 private:
  uint64_t busy_ = 0;
  uint64_t all_ = 0;
  uint64_t own_ = 0;
  bool started_ = false;
  Load last_;
};

// User + system ticks of one process from the text of /proc/<pid>/stat; 0 if it can't be read.
uint64_t process_ticks(std::string_view proc_pid_stat);
// A sample of this machine now, with this process as own.
Load sample_now(UtilizationSampler& sampler);

}  // namespace altlas::device
