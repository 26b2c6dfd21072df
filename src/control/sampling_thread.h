// SamplingThread: measures the devices once in so long, on a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "control/events.h"

namespace altlas::control {

// start() and stop() by one thread; set_interval() from any.
class SamplingThread {
 public:
  explicit SamplingThread(int64_t interval_us) : interval_us_(interval_us) {}

  // `sample` reads the machine and runs on the thread, as `take` does for each of its results.
  void start(std::function<std::vector<DeviceSampled>()> sample,
             std::function<void(DeviceSampled)> take) {
    thread_ = std::jthread([this, sample = std::move(sample),
                            take = std::move(take)](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        for (DeviceSampled& one : sample()) take(std::move(one));
        std::unique_lock lock(mutex_);
        const int64_t interval = interval_us_;
        wake_.wait_for(lock, stop, std::chrono::microseconds(interval),
                       [&] { return interval_us_ != interval; });
      }
    });
  }
  void stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }
  void set_interval(int64_t us) {
    {
      const std::lock_guard lock(mutex_);
      interval_us_ = us;
    }
    wake_.notify_all();
  }

 private:
  std::mutex mutex_;  // It guards interval_us_.
  int64_t interval_us_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace altlas::control
