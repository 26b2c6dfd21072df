// KeptHealth: the service's health as it was last said, for readers on any thread.
#pragma once

#include <mutex>
#include <string>
#include <utility>

#include "control/views.h"

namespace altlas::control {

// Threads: any.
class KeptHealth {
 public:
  void set(HealthView health) {
    const std::lock_guard lock(mutex_);
    health_ = std::move(health);
  }
  // With the journal: while it can't be written (`failure` says why), durable tasks are refused.
  HealthView get(const std::string& failure) const {
    std::unique_lock lock(mutex_);
    HealthView out = health_;
    lock.unlock();
    if (out.status != HealthStatus::kOk || failure.empty()) return out;
    out.status = HealthStatus::kUnavailable;
    out.message = "the journal can't be written: " + failure;
    return out;
  }

 private:
  mutable std::mutex mutex_;
  HealthView health_;
};

}  // namespace altlas::control
