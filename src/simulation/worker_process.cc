#include "simulation/worker_process.h"

namespace altlas::simulation {

WorkerProcess::WorkerProcess(EventQueue& events, worker::SessionOptions session,
                             engine::SimOptions model, int64_t load_us, Hooks hooks)
    : events_(events),
      session_(std::move(session), events.now()),
      model_(std::move(model)),
      load_us_(load_us),
      hooks_(std::move(hooks)) {}

void WorkerProcess::connected() {
  if (dead_) return;
  session_.connected(events_.now());
  carry_out();
}

void WorkerProcess::disconnected() {
  if (dead_) return;
  session_.disconnected(events_.now());
  carry_out();
}

void WorkerProcess::receive(std::string_view bytes) {
  if (dead_) return;
  session_.on_bytes(events_.now(), bytes);
  carry_out();
}

void WorkerProcess::exit(const std::string& why) {
  dead_ = true;
  hooks_.exited(why);
}

// Does what the session asks, until it asks for nothing.
void WorkerProcess::carry_out() {
  while (!dead_) {
    while (!outbox_.empty() && session_.can_send())
      static_cast<void>(session_.send(events_.now(), *outbox_.pop()));
    auto actions = session_.take_actions();
    if (actions.empty()) break;
    uint32_t delivered = 0;
    for (worker::SessionAction& action : actions) {
      if (auto* write = std::get_if<worker::WriteBytes>(&action))
        hooks_.write(std::move(write->bytes));
      if (auto* deliver = std::get_if<worker::Deliver>(&action)) {
        ++delivered;
        on_message(std::move(deliver->message));
      }
      if (auto* failed = std::get_if<worker::LinkFailed>(&action))
        return exit(failed->error.message());
    }
    if (delivered > 0) session_.consumed(events_.now(), delivered);
  }
  if (!dead_) arm_timer();
}

void WorkerProcess::arm_timer() {
  const TimeUs due = session_.next_deadline();
  if (due == INT64_MAX || (timer_at_ > events_.now() && timer_at_ <= due)) return;
  timer_at_ = due;
  events_.at(due, [self = shared_from_this(), due] {
    if (self->dead_ || self->timer_at_ != due) return;
    self->timer_at_ = 0;
    self->session_.tick(self->events_.now());
    self->carry_out();
  });
}

void WorkerProcess::on_message(worker::Message message) {
  auto* command = std::get_if<engine::Command>(&message);
  if (command == nullptr) return;
  if (const auto* load = std::get_if<engine::LoadReplica>(command)) {
    core_options_.speculative_tokens = load->speculative_tokens;
    model_.swap_bytes = load->swap_bytes;
    model_.draft_model = !load->draft_model_path.empty();
    outbox_.push(engine::LoadProgress{"weights", 0});
    events_.after(load_us_, [self = shared_from_this()] { self->load(); });
    return;
  }
  if (!core_) {
    early_.push_back(std::move(*command));
    return;
  }
  core_->handle(std::move(*command));
  say(core_->take_reports());
  step();
}

void WorkerProcess::load() {
  if (dead_) return;
  if (const Result<void> room = hooks_.may_load(); !room.ok()) {
    outbox_.push(engine::LoadFailed{room.error().code(), room.error().message()});
    return carry_out();
  }
  auto executor =
      engine::SimExecutor::create(model_, nullptr, engine::SimTime::kVirtual, system_clock());
  ALTLAS_CHECK(executor.ok(), executor.error().message());
  executor_ = *std::move(executor);
  core_ = std::make_unique<engine::ReplicaCore>(executor_->limits(), core_options_, nullptr);
  outbox_.push(core_->loaded("sim"));
  for (engine::Command& command : early_) core_->handle(std::move(command));
  early_.clear();
  say(core_->take_reports());
  tick_stats();
  step();
  carry_out();
}

void WorkerProcess::tick_stats() {
  if (dead_) return;
  outbox_.push(core_->stats());
  carry_out();
  events_.after(kSecond / 2, [self = shared_from_this()] { self->tick_stats(); });
}

void WorkerProcess::say(std::vector<engine::Report> reports) {
  for (engine::Report& report : reports) outbox_.push(std::move(report));
}

// Plans and computes one step; its result comes when the modelled device is done.
void WorkerProcess::step() {
  if (dead_ || computing_ || !core_) return;
  StepPlan plan = core_->plan();
  say(core_->take_reports());
  if (plan.empty()) return;
  computing_ = true;
  const int64_t cost = executor_->step_cost_us(plan);
  executor_->launch(std::move(plan));
  const TimeUs done = std::max(events_.now(), stalled_until_) + cost;
  events_.at(done, [self = shared_from_this()] {
    if (self->dead_) return;
    const auto result = self->executor_->collect();
    self->computing_ = false;
    self->core_->commit(*result);
    self->core_->check_integrity();
    self->say(self->core_->take_reports());
    self->step();
    self->carry_out();
  });
}

}  // namespace altlas::simulation
