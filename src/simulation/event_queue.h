// Virtual time: what is to happen, in the order of time and, at equal times, of scheduling.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "base/clock.h"

namespace altlas::simulation {

class EventQueue {
 public:
  explicit EventQueue(TimeUs start) : now_(start) {}
  TimeUs now() const { return now_; }
  void at(TimeUs time, std::function<void()> what) {
    waiting_.emplace(std::pair(time < now_ ? now_ : time, next_++), std::move(what));
  }
  void after(int64_t delay_us, std::function<void()> what) { at(now_ + delay_us, std::move(what)); }
  bool empty() const { return waiting_.empty(); }
  TimeUs next_time() const { return waiting_.begin()->first.first; }
  // Runs the next one; time moves to it.
  void run_one() {
    auto node = waiting_.extract(waiting_.begin());
    now_ = node.key().first;
    node.mapped()();
  }

 private:
  TimeUs now_;
  uint64_t next_ = 0;
  std::map<std::pair<TimeUs, uint64_t>, std::function<void()>> waiting_;
};

// Virtual time for what reads a Clock.
class EventClock final : public Clock {
 public:
  explicit EventClock(const EventQueue& events) : events_(events) {}
  TimeUs now() const override { return events_.now(); }

 private:
  const EventQueue& events_;
};

}  // namespace altlas::simulation
