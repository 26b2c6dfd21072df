// A simulated gateway process: the real core and journal; sessions to its workers; what a kill
// takes away.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/hash.h"
#include "base/philox.h"
#include "control/core.h"
#include "journal/store.h"
#include "simulation/event_queue.h"
#include "simulation/replay_check.h"
#include "worker/session.h"

namespace altlas::simulation {

// What a gateway needs of the world around it.
struct GatewayHooks {
  std::function<void(ReplicaId, uint64_t epoch, const engine::LoadReplica&)> start_worker;
  std::function<void(ReplicaId)> kill_worker;
  std::function<void(ReplicaId, std::string bytes)> write;
  std::function<void(uint64_t ticket, const Result<void>&)> admission;
  std::function<void(uint64_t ticket, const Result<std::vector<control::Placed>>&)> submission;
  std::function<void(const control::PublishDelta&)> delta;
  std::function<void(const control::PublishStatus&)> status;
  std::function<void(const std::vector<TaskId>&)> forgotten;
  std::function<void()> stepped;    // After each event and its actions.
  std::function<void()> committed;  // After each use of the disk: the power may have gone in it.
};

class Gateway : public std::enable_shared_from_this<Gateway> {
 public:
  // `epoch`: of this start; replicas of an earlier one are fenced.
  Gateway(EventQueue& events, PhiloxStream& random, std::unique_ptr<journal::Store> store,
          control::CoreSetup setup, uint64_t epoch, Hasher& hash, GatewayHooks hooks);

  // Replays the journal and starts.  Errors: the journal's.
  Result<void> start();
  void step(control::Event event);
  // A worker's link: connection, bytes, loss of it; the worker's process ended.
  void worker_connected(ReplicaId replica);
  void worker_disconnected(ReplicaId replica);
  void worker_bytes(ReplicaId replica, std::string_view bytes);
  void worker_exited(ReplicaId replica, const std::string& why);
  // Power is gone: nothing happens any more.
  std::unique_ptr<journal::Store> kill();
  bool dead() const { return dead_; }
  const control::Core& core() const { return core_; }
  journal::Store& store() { return *store_; }
  uint64_t events_stepped() const { return stepped_; }
  // Everything that was to be written is, or failed.
  bool idle() const { return !committing_ && writes_.empty(); }

 private:
  struct Link {
    worker::Session session;
    engine::LoadReplica load;
    bool load_sent = false;
    std::deque<engine::Command> waiting;  // The session is full.
    TimeUs timer_at = 0;
  };
  void act(control::Action& action);
  void start_worker(const control::StartWorker& start);
  void append(control::AppendJournal append);
  void schedule_commit();
  void commit();
  void tell_written(const std::vector<uint64_t>& tickets, const Result<void>& written);
  void serve_link(ReplicaId replica);
  void lose(ReplicaId replica, const std::string& why);
  void arm_tick();
  void arm_link(ReplicaId replica, Link& link);

  EventQueue& events_;
  PhiloxStream& random_;
  std::unique_ptr<journal::Store> store_;
  ReplayCheck replay_check_;
  control::Core core_;
  const uint64_t epoch_;
  Hasher& hash_;
  GatewayHooks hooks_;
  std::map<ReplicaId, Link> links_;
  std::deque<control::AppendJournal> writes_;  // Wait for the commit under way.
  std::deque<std::vector<TaskId>> forgets_;
  bool committing_ = false;
  bool dead_ = false;
  TimeUs tick_at_ = INT64_MAX;
  uint64_t stepped_ = 0;
};

}  // namespace altlas::simulation
