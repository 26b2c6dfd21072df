// WaitingQueue: accepted tasks that wait for their device, by lane (one per deployment and device),
// priority and age.
//
// Order: a lane serves the task with the earliest turn. A turn is a time: when the task arrived,
// and age_step later for each level of priority below the first (turn_of()). So one of a lower
// level waits at most that much longer than one that arrived with it, and none starves. Where
// several owners' tasks wait, a turn may be earlier than that (scheduler/fair_turns.h). A replica's
// batch goes by the same turn (scheduler/batch.h). Tasks that come back from a lost replica
// (`front`) go before all others of their lane, among themselves by the same rule.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include <ext/pb_ds/assoc_container.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "config/names.h"

namespace altlas::scheduler {

struct QueueLimits {
  uint32_t tasks_max = 1000;           // max_queue_size.
  int64_t age_step_us = 30 * kSecond;  // How much later a lower level counts as arrived.
  std::array<uint8_t, kPriorityCount> rank = {0, 1, 2};  // By Priority: 0 is served first.
};

// When a task's turn comes: its arrival, later by age_step for each level below the first.
TimeUs turn_of(const QueueLimits& limits, Priority priority, TimeUs arrived);

struct QueueEntry {
  uint64_t task = 0;  // Unique among waiting tasks.
  uint32_t lane = 0;
  TimeUs arrived = 0;
  TimeUs expires = 0;  // Queue timeout or deadline, the earlier.
  TimeUs turn = 0;
  bool front = false;
};

// Threads: one.
class WaitingQueue {
 public:
  explicit WaitingQueue(QueueLimits limits) : limits_(limits) {}
  const QueueLimits& limits() const { return limits_; }

  // Whether `more` tasks may come beside the `held` ones that wait or may have to, when
  // `served_at_once` of them would not wait at all. Errors: kBusy with retry_after_ms; `service_us`
  // is the predicted time in which one waiting task is served.
  Result<void> admits(uint64_t held, uint64_t more, uint64_t served_at_once,
                      int64_t service_us) const;

  // Those that wait already stay.
  void set_tasks_max(uint32_t tasks_max) { limits_.tasks_max = tasks_max; }
  void push(const QueueEntry& entry);       // Must not be in yet.
  void erase(uint64_t task);                // Must be in.
  void move(uint64_t task, uint32_t lane);  // To another lane; keeps its arrival.
  bool contains(uint64_t task) const { return entries_.contains(task); }
  size_t size() const { return entries_.size(); }
  size_t size(uint32_t lane) const;
  // From 1, within the task's lane.  O(log n).
  uint32_t position(uint64_t task) const;
  // Waiting since then.
  TimeUs arrived(uint64_t task) const { return entries_.at(task).arrived; }
  // The tasks of a lane in order, until `visit` returns false. The queue must not change meanwhile.
  void for_each(uint32_t lane, const std::function<bool(uint64_t task)>& visit) const;
  // The first of a lane.
  std::optional<uint64_t> head(uint32_t lane) const;
  // The next expiry.
  std::optional<TimeUs> next_expiry() const;
  // A task that has expired by `now`, the one longest expired first.
  std::optional<uint64_t> expired(TimeUs now) const;
  // What is saved of it, and the rest made from that.
  static auto saved(auto& self) { return std::tie(self.limits_, self.pushed_, self.entries_); }
  bool rebuild();
  void check_integrity() const;

 private:
  struct Key {
    bool back = true;  // False: front.
    TimeUs turn = 0;
    uint64_t order = 0;
    uint64_t task = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  // Order statistics: position in O(log n).
  using Lane = __gnu_pbds::tree<Key, __gnu_pbds::null_type, std::less<Key>, __gnu_pbds::rb_tree_tag,
                                __gnu_pbds::tree_order_statistics_node_update>;
  struct Held {
    Key key;
    uint32_t lane = 0;
    TimeUs arrived = 0;
    TimeUs expires = 0;
  };
  QueueLimits limits_;
  uint64_t pushed_ = 0;
  std::map<uint64_t, Held> entries_;
  std::map<uint32_t, Lane> lanes_;
  std::set<std::pair<TimeUs, uint64_t>> expiries_;
};

}  // namespace altlas::scheduler
