// A simulated gateway process: the real core, launch book, link pump and journal; what a kill takes
// away.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/hash.h"
#include "base/philox.h"
#include "control/core.h"
#include "control/launch_book.h"
#include "journal/commit_group.h"
#include "journal/store.h"
#include "simulation/event_queue.h"
#include "simulation/replay_check.h"
#include "worker/link_pump.h"

namespace altlas::simulation {

// What a gateway needs of the world around it.
struct GatewayHooks {
  std::function<void(WorkerId, uint64_t epoch)> start_worker;
  std::function<void(WorkerId)> kill_worker;  // gateway's worker_exited() follows.
  std::function<void(worker::ConnectionId, std::string bytes)> write;
  std::function<void(worker::ConnectionId)> close;  // After what was written.
  std::function<void(uint64_t ticket, const Result<void>&)> admission;
  std::function<void(uint64_t ticket, const Result<std::vector<control::Placed>>&)> submission;
  std::function<void(const control::AnswerChange&)> adapter;
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
  // Connections of workers of any epoch; a worker's process ended.
  void connected(worker::ConnectionId connection);
  void disconnected(worker::ConnectionId connection);
  void received(worker::ConnectionId connection, std::string_view bytes);
  void worker_exited(WorkerId worker, const std::string& why);
  // Power is gone: nothing happens any more.
  std::unique_ptr<journal::Store> kill();
  bool dead() const { return dead_; }
  const control::Core& core() const { return core_; }
  journal::Store& store() { return *store_; }
  uint64_t events_stepped() const { return stepped_; }
  // Everything that was to be written is, or failed.
  bool idle() const { return !committing_ && writes_.empty(); }

 private:
  // A call of the journal's writer.
  struct Write {
    journal::WriteRequest request;
    uint64_t ticket = 0;  // 0: nobody waits for it.
  };
  void act(control::Action& action);
  void carry_out(control::LaunchAction& action);
  void carry_out(worker::LinkAction& action);
  void write(Write write);
  void schedule_commit();
  void commit();
  void tell_written(const std::vector<uint64_t>& tickets, const Result<void>& written);
  void serve();
  void arm_tick();
  void arm_links();

  EventQueue& events_;
  PhiloxStream& random_;
  std::unique_ptr<journal::Store> store_;
  ReplayCheck replay_check_;
  control::Core core_;
  const uint64_t epoch_;
  Hasher& hash_;
  GatewayHooks hooks_;
  control::LaunchBook book_;
  worker::LinkPump links_;
  std::deque<Write> writes_;  // Wait for the commit under way.
  bool committing_ = false;
  bool dead_ = false;
  bool serving_ = false;  // serve() is running.
  TimeUs tick_at_ = INT64_MAX, links_at_ = INT64_MAX;
  uint64_t stepped_ = 0;
};

}  // namespace altlas::simulation
