// A simulated worker process: the real worker pump, and the real replica loop and core on a
// modelled device in virtual time, or the real core that answers payloads.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/payload_engine.h"
#include "engine/replica_core.h"
#include "engine/replica_loop.h"
#include "engine/sim_executor.h"
#include "simulation/event_queue.h"
#include "simulation/shapes.h"
#include "worker/worker_pump.h"

namespace altlas::simulation {

class WorkerProcess : public std::enable_shared_from_this<WorkerProcess> {
 public:
  struct Hooks {
    std::function<void(std::string)> write;                    // Bytes to the server.
    std::function<void(int code, const std::string&)> exited;  // By itself.
    // Asked when it would take the device's memory; of an engine that answers payloads only the
    // error counts.
    std::function<Result<engine::SimOptions>(const engine::LoadReplica&)> load;
    std::function<Result<void>(const std::string& path)> read_adapter;
  };
  // `load_us`: that a load takes, reading an adapter, and compiling a grammar. `tokenizer`: of its
  // model; null: none. Both it and `counts` outlive this.
  WorkerProcess(EventQueue& events, worker::SessionOptions session, int64_t load_us,
                const text::Tokenizer* tokenizer, ShapeCounts& counts, Hooks hooks);

  void connected();
  void disconnected();
  void receive(std::string_view bytes);
  // Ends at once, as by SIGKILL: nothing is said any more.
  void kill() { dead_ = true; }
  bool dead() const { return dead_; }
  // Null before it has loaded, and where it answers payloads.
  const engine::ReplicaCore* core() const { return core_.get(); }
  // Does not compute until then, but its link answers: a hang.
  void stall_until(TimeUs time) { stalled_until_ = time; }

 private:
  void carry_out();
  void carry_out(worker::WorkerAction& action);
  void load(const engine::LoadReplica& load);
  Result<void> load_model(const engine::SimOptions& model, const engine::LoadReplica& load);
  void read_adapters();
  void compile_grammar();
  void handle(engine::Command command);
  void answer_payloads();
  void follow();
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
  const text::Tokenizer* const tokenizer_;
  ShapeCounts& counts_;
  Hooks hooks_;
  std::unique_ptr<engine::SimExecutor> executor_;
  std::unique_ptr<engine::Executor> watched_;  // Counts what passes to executor_.
  std::unique_ptr<engine::ReplicaCore> core_;
  std::unique_ptr<engine::ReplicaLoop> loop_;  // From the end of the load on.
  std::optional<engine::GrammarCompiler> grammars_;
  std::unique_ptr<engine::PayloadCore> payloads_;  // In place of these.
  bool follows_ = false;                           // It does not lead: it has none of these.
  bool guesses_ = false;
  std::deque<engine::Command> inbox_;  // The replica's thread takes it between steps.
  bool dead_ = false;
  bool collecting_ = false;  // The replica's thread waits for a step.
  TimeUs stalled_until_ = 0;
  TimeUs timer_at_ = 0;
  TimeUs stats_at_ = 0;  // Where there is no loop_: the next ones are due.
};

}  // namespace altlas::simulation
