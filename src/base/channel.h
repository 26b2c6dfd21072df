// Channel<T>: a bounded queue between threads; a full one answers, it never blocks the sender.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"

namespace altlas {

// Any number of senders, one receiver.
template <class T>
class Channel {
 public:
  explicit Channel(size_t capacity) : capacity_(capacity) {
    ALTLAS_CHECK(capacity > 0, "capacity ≥ 1");
  }

  // False, and `value` untouched, when the channel is full or closed.
  [[nodiscard]] bool try_send(T&& value) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    ready_.notify_one();
    return true;
  }

  // Everything that waits, in order; empty when nothing does.
  std::vector<T> drain() {
    const std::lock_guard lock(mutex_);
    return take();
  }

  // Waits until something arrives, the channel is closed, or the timeout has passed; then drains.
  std::vector<T> wait_drain(std::chrono::microseconds timeout) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, timeout, [this] { return closed_ || !items_.empty(); });
    return take();
  }

  // Senders get false from now on; what waits can still be drained.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  std::vector<T> take() {
    std::vector<T> out(std::make_move_iterator(items_.begin()),
                       std::make_move_iterator(items_.end()));
    items_.clear();
    return out;
  }
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace altlas
