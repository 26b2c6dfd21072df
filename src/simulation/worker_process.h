// A simulated worker process: the real protocol session, the real replica core, and a modelled
// device in virtual time.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "engine/replica_core.h"
#include "engine/sim_executor.h"
#include "simulation/event_queue.h"
#include "worker/outbox.h"
#include "worker/session.h"

namespace altlas::simulation {

class WorkerProcess : public std::enable_shared_from_this<WorkerProcess> {
 public:
  struct Hooks {
    std::function<void(std::string)> write;          // Bytes to the server.
    std::function<void(const std::string&)> exited;  // By itself.
    std::function<Result<void>()> may_load;  // Asked when it would take the device's memory.
  };
  WorkerProcess(EventQueue& events, worker::SessionOptions session, engine::SimOptions model,
                int64_t load_us, Hooks hooks);

  void connected();
  void disconnected();
  void receive(std::string_view bytes);
  // Ends at once, as by SIGKILL: nothing is said any more.
  void kill() { dead_ = true; }
  bool dead() const { return dead_; }
  // Null before it has loaded.
  const engine::ReplicaCore* core() const { return core_.get(); }
  // Does not compute until then, but answers: a hang.
  void stall_until(TimeUs time) { stalled_until_ = time; }

 private:
  void carry_out();
  void on_message(worker::Message message);
  void load();
  void step();
  void say(std::vector<engine::Report> reports);
  void arm_timer();
  void tick_stats();
  void exit(const std::string& why);

  EventQueue& events_;
  worker::Session session_;
  worker::Outbox outbox_;
  engine::SimOptions model_;
  engine::CoreOptions core_options_;
  const int64_t load_us_;
  Hooks hooks_;
  std::unique_ptr<engine::SimExecutor> executor_;
  std::unique_ptr<engine::ReplicaCore> core_;
  std::vector<engine::Command> early_;  // Came while loading.
  bool dead_ = false;
  bool computing_ = false;
  TimeUs stalled_until_ = 0;
  TimeUs timer_at_ = 0;
};

}  // namespace altlas::simulation
