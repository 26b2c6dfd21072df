// The configuration as SIGHUP has left it, swapped as one.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "config/config.h"

namespace altlas::server {

// Any thread. Who reads holds on to one state while it matters: the next may be another.
class LiveConfig {
 public:
  explicit LiveConfig(const config::Config& config)
      : config_(std::make_shared<const config::Config>(config)) {}
  std::shared_ptr<const config::Config> get() const {
    const std::lock_guard lock(mutex_);
    return config_;
  }
  void set(config::Config config) {
    auto fresh = std::make_shared<const config::Config>(std::move(config));
    const std::lock_guard lock(mutex_);
    config_.swap(fresh);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const config::Config> config_;
};

}  // namespace altlas::server
