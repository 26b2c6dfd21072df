// WaitingTasks: accepted tasks that wait on their sites, in the order in which they are served, the
// turns of all that wait or run, and what has to be looked at again before the step ends: sites
// where a task may start now, and tasks that may never fit where they wait.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "control/core/fleet.h"
#include "control/core/task_table.h"
#include "control/core_setup.h"
#include "scheduler/fair_turns.h"
#include "scheduler/queue.h"

namespace altlas::control {

// Since when a task counts as waiting.
inline TimeUs arrived(const Task& task) {
  return task.spec.asked == 0 ? task.created : std::min(task.spec.asked, task.created);
}

// Threads: one.
class WaitingTasks {
 public:
  WaitingTasks(const CoreSetup& setup, const Fleet& fleet);

  // The queue itself, for its order, positions, expiries and what it admits.
  const scheduler::WaitingQueue& queue() const { return queue_; }
  void set_tasks_max(uint32_t tasks_max) { queue_.set_tasks_max(tasks_max); }

  // On the task's site. `front`: before all others there. Its site is looked at again. With its
  // first push a task gets its turn, until it leave()s.
  void push(const Task& task, TimeUs expires, bool front);
  void erase(const Task& task);
  void move(const Task& task, uint32_t to);  // From the task's site; the caller changes that.
  // A waiting or running task's turn.
  TimeUs turn(const Task& task) const { return turns_.turn(task.number); }
  bool has_turn(const Task& task) const { return turns_.contains(task.number); }
  void served(const Task& task) { turns_.served(task.number); }  // It has its first token.
  void leave(const Task& task) { turns_.leave(task.number); }    // It waits and runs no more.
  uint8_t level(const Task& task) const {
    return queue_.limits().rank[static_cast<size_t>(task.spec.priority)];
  }
  // Sites of a deployment where tasks wait, in ascending order.
  const std::set<uint32_t>& sites(uint32_t deployment) const { return sites_[deployment]; }
  // All tasks that wait for the deployment, by site and turn.
  std::vector<uint64_t> of_deployment(uint32_t deployment) const;

  // Sites to be looked at again.
  void look_at(uint32_t site) { sites_to_look_at_.insert(site); }
  // Its sites, and those of replicas that have a rank there.
  void look_at_device(DeviceId device);
  void look_at_deployment(uint32_t deployment);  // Wherever its tasks wait.
  void look_everywhere();
  bool nothing_to_look_at() const { return sites_to_look_at_.empty(); }
  std::set<uint32_t> take_sites() { return std::exchange(sites_to_look_at_, {}); }

  // Tasks with estimated_memory that may never fit where they wait.
  void settle_again();  // What replicas hold has changed: all of them.
  std::set<uint64_t> take_unsettled() { return std::exchange(unsettled_, {}); }

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  const Fleet& fleet_;
  scheduler::WaitingQueue queue_;          // Lanes are sites.
  scheduler::FairTurns turns_;             // The turns of tasks that wait or run.
  std::vector<std::set<uint32_t>> sites_;  // By deployment: sites whose lanes are not empty.
  std::set<uint64_t> with_memory_;         // Waiting tasks with estimated_memory.
  std::set<uint32_t> sites_to_look_at_;
  std::set<uint64_t> unsettled_;
};

}  // namespace altlas::control
