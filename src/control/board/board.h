// Board: what people look at. The state of now once a second, the last day of it, what changed and
// why, and what each key used.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "control/board/history.h"
#include "control/board/usage_book.h"
#include "control/events.h"
#include "control/views.h"

namespace altlas::control {

// A request that runs on a device.
struct RunningView {
  TaskId task;
  std::string owner;
  std::string deployment;
  DeviceId device;
  TimeUs created = 0;
  uint32_t prompt_tokens = 0;
  uint32_t generated_tokens = 0;
  float tokens_per_second = 0;  // Over the last seconds.
  bool listed = true;           // GET /api/v1/task/<id> knows it.
};

// Something that an operator would want to see on the time axis.
struct Change {
  uint64_t number = 0;  // From 1, one more each time.
  TimeUs at = 0;
  // "replica", "strategy", "max_concurrent_tasks", "limits", "drain", "warning", "scale".
  std::string what;
  std::string deployment;  // Where a replica changed, or their number.
  uint32_t place = 0;      // The replica's place in its deployment.
  uint32_t restarts = 0;   // How often the replica there was started again.
  std::string value;       // The new state, strategy or number.
  std::string reason;      // May be empty.
};

inline constexpr size_t kChangesMax = 1000;
inline constexpr size_t kRunningShown = 200;

// One picture for everybody, made once a second.
struct BoardView {
  uint64_t number = 0;  // From 1, one more with each picture.
  TimeUs at = 0;
  std::vector<DeviceView> devices;
  std::vector<DeploymentView> deployments;
  HealthView health;
  Strategy strategy = Strategy::kLeastLoaded;
  uint32_t waiting = 0, running = 0;
  Sample rates;  // The last second.
  // The last kWindowMinutes.
  Quantiles queue, first_token, inter_token, total;
  std::vector<RunningView> requests;  // The oldest kRunningShown of those that run.
  uint64_t changes = 0;               // The number of the newest change.
};

struct HistoryView {
  int64_t step_us = 0;
  std::vector<Sample> samples;
  std::vector<Change> changes;  // In the same time, oldest first.
};

struct UsageView {
  TimeUs since = 0;  // Nothing was booked before.
  std::vector<KeyUsage> keys;
};

// Threads: the service's strand; only view() from any.
class Board {
 public:
  // `prices`: USD per hour by device; 0, or no such entry: not known.
  explicit Board(std::vector<double> prices) : prices_(std::move(prices)) {}

  // What happens, in its order.
  void started(const TaskView& task);
  void put_back(const TaskId& task) { running_.erase(task); }  // It waits again.
  void said(const TaskView& task, size_t tokens, TimeUs now);
  void ended(const TaskView& task, TimeUs now);
  void changed(const Event& event, TimeUs now);
  void warned(const std::string& text, TimeUs now);
  void scaled(const Scaled& what, TimeUs now);
  // Notes what is another state of a replica than the last time.
  void replicas(const std::vector<DeploymentView>& deployments, TimeUs now);
  // Whether `event` may change the state of a replica.
  static bool touches_replicas(const Event& event);
  // Whether `action` starts or ends one, or wants another number of them.
  static bool moves_replicas(const Action& action);

  // Closes a second: makes the next picture from `now_view`, of which devices, deployments, health,
  // strategy and waiting are set.
  void tick(BoardView now_view, TimeUs now);
  std::shared_ptr<const BoardView> view() const;  // Null before the first tick.
  // By minutes for a day, or by seconds for half an hour.
  HistoryView history(bool by_minutes) const;
  // Those after `number`, oldest first.
  std::vector<Change> changes_after(uint64_t number) const;
  UsageView usage(int64_t hours, TimeUs now) const {
    return {usage_.since(), usage_.last(hours, now)};
  }

  UsageBook& usage_book() { return usage_; }

 private:
  struct Running {
    RunningView view;
    TimeUs last_token = 0;  // 0: none yet.
    TimeUs rate_from = 0;   // tokens_at_rate were said then.
    uint32_t tokens_at_rate = 0;
  };
  struct Place {
    ReplicaState state = ReplicaState::kStopped;
    std::string message;
    uint32_t restarts = 0;
  };
  void note(Change change, TimeUs now);
  void share_out_time(int64_t passed_us, TimeUs now);
  Sample close_second(const BoardView& view, TimeUs now);

  const std::vector<double> prices_;
  std::map<TaskId, Running> running_;
  std::map<std::pair<std::string, uint32_t>, Place> places_;
  std::deque<Change> changes_;
  uint64_t change_number_ = 0, view_number_ = 0;
  History history_;
  UsageBook usage_;
  TimeUs last_tick_ = 0;
  // Since the last tick.
  Latencies latencies_;
  uint64_t tokens_ = 0, completed_ = 0, failed_ = 0, canceled_ = 0;

  mutable std::mutex mutex_;  // It guards view_.
  std::shared_ptr<const BoardView> view_;
};

}  // namespace altlas::control
