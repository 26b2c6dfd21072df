// History: the last half hour by seconds and the last day by minutes, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "base/clock.h"
#include "control/board/spread.h"
#include "control/views.h"

namespace altlas::control {

// One device in one step; NaN: not measured.
struct DeviceSample {
  float utilization = 0;                                        // Percent.
  float memory_used = 0;                                        // Bytes.
  float temperature = std::numeric_limits<float>::quiet_NaN();  // Celsius.
  float power = std::numeric_limits<float>::quiet_NaN();        // Watt.
};

// One step of the history. Rates are per second; latencies are those that were counted in it.
struct Sample {
  TimeUs at = 0;  // Its end.
  float waiting = 0, running = 0;
  float tokens = 0, completed = 0, failed = 0, canceled = 0;
  Quantiles queue, first_token, inter_token, total;
  std::vector<DeviceSample> devices;  // The first kHistoryDevices ones.
};

// The times that are counted between two steps.
struct Latencies {
  Spread queue, first_token, inter_token, total;
  void add(const Latencies& other);
  void fill(Sample& sample) const;
};

inline constexpr int64_t kFineStepUs = kSecond, kCoarseStepUs = 60 * kSecond;
inline constexpr size_t kFineSteps = 1800, kCoarseSteps = 1440;
inline constexpr size_t kHistoryDevices = 64;
// Percentiles of "now" are those of this many minutes.
inline constexpr size_t kWindowMinutes = 5;

// Pure: time comes in with the samples. A step in which the server did not run is missing.
class History {
 public:
  // `latencies`: those that `sample` was filled with.
  void add(Sample sample, const Latencies& latencies);
  const std::deque<Sample>& fine() const { return fine_; }
  const std::deque<Sample>& coarse() const { return coarse_; }
  // The latencies of the last kWindowMinutes.
  Latencies window() const;

 private:
  void close_minute(TimeUs at);

  std::deque<Sample> fine_, coarse_;
  // The minute that goes on.
  Sample sums_;
  std::vector<uint32_t> temperatures_, powers_;  // How often they were measured, by device.
  uint32_t steps_ = 0;
  int64_t minute_ = 0;
  Latencies latencies_;
  std::deque<Latencies> minutes_;  // The minutes before it.
};

}  // namespace altlas::control
