// A simulated worker process: the real worker pump, replica loop and replica core, and a modelled
// device in virtual time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "engine/replica_core.h"
#include "engine/replica_loop.h"
#include "engine/sim_executor.h"
#include "simulation/event_queue.h"
#include "worker/worker_pump.h"

namespace altlas::simulation {

class WorkerProcess : public std::enable_shared_from_this<WorkerProcess> {
 public:
  struct Hooks {
    std::function<void(std::string)> write;                    // Bytes to the server.
    std::function<void(int code, const std::string&)> exited;  // By itself.
    // Asked when it would take the device's memory.
    std::function<Result<engine::SimOptions>(const engine::LoadReplica&)> load;
  };
  // `load_us`: that a load takes, and reading an adapter.
  WorkerProcess(EventQueue& events, worker::SessionOptions session, int64_t load_us, Hooks hooks);

  void connected();
  void disconnected();
  void receive(std::string_view bytes);
  // Ends at once, as by SIGKILL: nothing is said any more.
  void kill() { dead_ = true; }
  bool dead() const { return dead_; }
  // Null before it has loaded.
  const engine::ReplicaCore* core() const { return core_.get(); }
  // Does not compute until then, but its link answers: a hang.
  void stall_until(TimeUs time) { stalled_until_ = time; }

 private:
  void carry_out();
  void carry_out(worker::WorkerAction& action);
  void load(const engine::LoadReplica& load);
  void take_commands();
  void run();
  void collect();
  void say();
  void arm_timer();
  void arm_stats();
  void exit(int code, const std::string& why);

  EventQueue& events_;
  const EventClock clock_;
  worker::WorkerPump pump_;
  const int64_t load_us_;
  Hooks hooks_;
  std::unique_ptr<engine::SimExecutor> executor_;
  std::unique_ptr<engine::ReplicaCore> core_;
  std::unique_ptr<engine::ReplicaLoop> loop_;  // From the end of the load on.
  std::deque<engine::Command> inbox_;          // The replica's thread takes it between steps.
  bool dead_ = false;
  bool collecting_ = false;  // The replica's thread waits for a step.
  TimeUs stalled_until_ = 0;
  TimeUs timer_at_ = 0;
};

}  // namespace altlas::simulation
