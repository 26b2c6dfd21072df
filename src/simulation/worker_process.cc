#include "simulation/worker_process.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/load.h"
#include "engine/replica.h"

namespace altlas::simulation {

WorkerProcess::WorkerProcess(EventQueue& events, worker::SessionOptions session, int64_t load_us,
                             Hooks hooks)
    : events_(events),
      clock_(events),
      pump_(std::move(session), events.now()),
      load_us_(load_us),
      hooks_(std::move(hooks)) {}

void WorkerProcess::connected() {
  if (dead_) return;
  pump_.connected(events_.now());
  carry_out();
}

void WorkerProcess::disconnected() {
  if (dead_) return;
  pump_.disconnected(events_.now());
  carry_out();
}

void WorkerProcess::receive(std::string_view bytes) {
  if (dead_) return;
  pump_.on_bytes(events_.now(), bytes);
  carry_out();
}

void WorkerProcess::exit(int code, const std::string& why) {
  dead_ = true;
  hooks_.exited(code, why);
}

// Does what the pump asks, and computes, until nothing is to be done now.
void WorkerProcess::carry_out() {
  while (!dead_) {
    take_commands();
    run();
    std::vector<worker::WorkerAction> actions = pump_.take_actions(events_.now());
    if (actions.empty()) break;
    for (worker::WorkerAction& action : actions)
      if (!dead_) carry_out(action);
  }
  if (!dead_) arm_timer();
}

void WorkerProcess::carry_out(worker::WorkerAction& action) {
  if (auto* write = std::get_if<worker::WriteBytes>(&action))
    hooks_.write(std::move(write->bytes));
  if (auto* start = std::get_if<worker::StartEngine>(&action)) {
    pump_.report(engine::LoadProgress{"weights", 0});
    events_.after(load_us_, [self = shared_from_this(), load = std::move(start->load)] {
      self->load(load);
    });
  }
  if (auto* end = std::get_if<worker::EndProcess>(&action)) exit(end->code, end->message);
}

void WorkerProcess::take_commands() {
  while (inbox_.size() < engine::kInboxMax) {
    engine::Command* command = pump_.command();
    if (command == nullptr) return;
    inbox_.push_back(std::move(*command));
    pump_.took_command(events_.now());
  }
}

void WorkerProcess::arm_timer() {
  const TimeUs due = pump_.next_deadline();
  if (due == INT64_MAX || (timer_at_ > events_.now() && timer_at_ <= due)) return;
  timer_at_ = due;
  events_.at(due, [self = shared_from_this(), due] {
    if (self->dead_ || self->timer_at_ != due) return;
    self->timer_at_ = 0;
    self->pump_.tick(self->events_.now());
    self->carry_out();
  });
}

void WorkerProcess::load(const engine::LoadReplica& load) {
  if (dead_) return;
  const Result<engine::SimOptions> model = hooks_.load(load);
  if (!model.ok()) {
    pump_.report(engine::LoadFailed{model.error().code(), model.error().message()});
    pump_.engine_ended(events_.now(), model.error());
    return carry_out();
  }
  auto executor =
      engine::SimExecutor::create(*model, nullptr, engine::SimTime::kVirtual, clock_);
  ALTLAS_CHECK(executor.ok(), executor.error().message());
  executor_ = *std::move(executor);
  core_ = std::make_unique<engine::ReplicaCore>(executor_->limits(), engine::core_options(load),
                                                nullptr);
  loop_ = std::make_unique<engine::ReplicaLoop>(*core_, *executor_);
  pump_.report(core_->loaded("sim"));
  carry_out();
  if (!dead_) arm_stats();
}

// While a step is under way nothing is said; its end says what is due.
void WorkerProcess::arm_stats() {
  events_.at(std::max(events_.now() + 50 * kMillisecond, loop_->stats_due()),
             [self = shared_from_this()] {
               if (self->dead_) return;
               self->carry_out();
               self->arm_stats();
             });
}

void WorkerProcess::say() {
  for (engine::Report& report : loop_->take_reports()) pump_.report(std::move(report));
}

// What the replica's thread does until it waits, for a step or for something to do.
void WorkerProcess::run() {
  if (!loop_ || collecting_) return;
  while (true) {
    for (; !inbox_.empty(); inbox_.pop_front()) loop_->handle(std::move(inbox_.front()));
    for (engine::AdapterJob& job : loop_->take_adapter_jobs())
      events_.after(load_us_, [self = shared_from_this(), job] {
        if (self->dead_) return;
        self->loop_->adapter_read({job.id, self->executor_->load_adapter(job.id, job.path)});
        self->carry_out();
      });
    loop_->drop_adapters();
    const engine::ReplicaLoop::Next next = loop_->turn();
    say();
    if (auto stats = loop_->stats(events_.now())) pump_.report(*std::move(stats));
    if (next == engine::ReplicaLoop::Next::kWait) return;
    if (next == engine::ReplicaLoop::Next::kAgain) continue;
    collecting_ = true;
    events_.at(std::max(executor_->oldest_due(), stalled_until_),
               [self = shared_from_this()] { self->collect(); });
    return;
  }
}

void WorkerProcess::collect() {
  if (dead_) return;
  const Result<void> collected = loop_->collect();
  ALTLAS_CHECK(collected.ok(), "a modelled device does not fail");
  collecting_ = false;
  core_->check_integrity();
  say();
  if (auto stats = loop_->stats(events_.now())) pump_.report(*std::move(stats));
  carry_out();
}

}  // namespace altlas::simulation
