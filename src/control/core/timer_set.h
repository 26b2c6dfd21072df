// TimerSet: one deadline for each of a row of things that are counted from 0, ordered by time: who
// is due and when the next one is, without looking at all of them.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace altlas::control {

// Pure. A deadline of INT64_MAX never comes and costs nothing.
class TimerSet {
 public:
  void resize(size_t count) { at_.resize(count, INT64_MAX); }
  size_t armed() const { return order_.size(); }
  TimeUs at(uint32_t which) const { return at_[which]; }
  // O(log armed); nothing to do where the deadline stays as it is.
  void set(uint32_t which, TimeUs at) {
    TimeUs& before = at_[which];
    if (before == at) return;
    if (before == INT64_MAX) {
      order_.emplace(at, which);
    } else {
      auto node = order_.extract({before, which});
      if (at != INT64_MAX) {
        node.value() = {at, which};
        order_.insert(std::move(node));
      }
    }
    before = at;
  }
  TimeUs next() const { return order_.empty() ? INT64_MAX : order_.begin()->first; }
  // Those whose deadline is at or before `now`, in ascending order of their numbers.
  std::set<uint32_t> due(TimeUs now) const {
    std::set<uint32_t> out;
    for (const auto& [at, which] : order_) {
      if (at > now) break;
      out.insert(which);
    }
    return out;
  }
  void check_integrity() const {
    size_t armed = 0;
    for (uint32_t which = 0; which < at_.size(); ++which) {
      if (at_[which] == INT64_MAX) continue;
      ++armed;
      ALTLAS_CHECK(order_.contains({at_[which], which}), "an armed timer is in the order");
    }
    ALTLAS_CHECK(armed == order_.size(), "only armed timers are in the order");
  }

 private:
  std::vector<TimeUs> at_;
  std::set<std::pair<TimeUs, uint32_t>> order_;
};

}  // namespace altlas::control
