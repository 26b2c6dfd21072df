// FairTurns: when a task's turn comes where tasks of several owners meet, so that one owner's many
// tasks do not make another's wait behind all of them (start-time fair queueing, a task costs one).
//
// A task's own turn is turn_of() (scheduler/queue.h). Its turn is that, or an earlier one that it
// borrows: within a lane and a level, the n-th unfinished task of an owner has a turn no later than
// the own turn of the n-th of any other owner, or of that owner's first one that waits for service.
// So owners are served in rounds, levels and ages stay above that, and an owner's tasks are served
// in the order of their own turns. Only own turns are lent, and the lender goes first: an age ends
// with the task that has it, so nobody starves. With one owner every turn is the task's own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include <ext/pb_ds/assoc_container.hpp>

#include "base/clock.h"

namespace altlas::scheduler {

struct TurnRequest {
  uint64_t task = 0;  // Unique among unfinished tasks.
  uint32_t lane = 0;
  uint8_t level = 0;  // Of its priority.
  std::string owner;
  TimeUs own = 0;  // turn_of().
};

// Unfinished tasks and their turns. Pure.  Threads: one.
class FairTurns {
 public:
  // The turn of a task that comes; it stays. Must not be in yet.  O(owners in the lane × log n).
  TimeUs enter(const TurnRequest& request);
  void move(uint64_t task, uint32_t lane);  // To another lane. Must be in.
  // Its computation gives results: it lends its turn to nobody any more. Must be in.
  void served(uint64_t task);
  void leave(uint64_t task);  // It is finished. Must be in.
  bool contains(uint64_t task) const { return entries_.contains(task); }
  TimeUs turn(uint64_t task) const { return entries_.at(task).turn; }
  size_t size() const { return entries_.size(); }

  // What is saved of it, and the rest made from that.
  static auto saved(auto& self) { return std::tie(self.entries_); }
  bool rebuild();
  void check_integrity() const;

 private:
  struct Entry {
    std::string owner;
    uint32_t lane = 0;
    uint8_t level = 0;
    bool served = false;
    TimeUs own = 0;  // Later than asked for where the owner has a task with the same.
    TimeUs turn = 0;
  };
  using Own = std::pair<TimeUs, uint64_t>;  // Own turn and task.
  // Order statistics: the n-th in O(log n).
  using Unserved =
      __gnu_pbds::tree<Own, __gnu_pbds::null_type, std::less<Own>, __gnu_pbds::rb_tree_tag,
                       __gnu_pbds::tree_order_statistics_node_update>;
  struct Group {  // An owner's unfinished tasks in a lane, of a level.
    Unserved unserved;
    size_t served = 0;
  };
  using Owners = std::map<std::string, Group>;
  using Place = std::pair<uint32_t, uint8_t>;  // Lane and level.

  static TimeUs next_free(const Unserved& unserved, TimeUs own);
  void add(uint64_t task, const Entry& entry);
  void remove(uint64_t task, const Entry& entry);

  std::map<uint64_t, Entry> entries_;
  std::map<Place, Owners> places_;
};

}  // namespace altlas::scheduler
