#include "simulation/worker_process.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/load.h"
#include "engine/replica.h"
#include "simulation/scenario.h"

namespace altlas::simulation {

namespace {

// Forwards everything, and counts tokens that a plan names before they can be known.
class WatchedExecutor final : public engine::Executor {
 public:
  WatchedExecutor(engine::SimExecutor& executor, ShapeCounts& counts)
      : executor_(executor), counts_(counts) {}
  const engine::ReplicaLimits& limits() const override { return executor_.limits(); }
  void launch(StepPlan plan) override {
    for (const StepEntry& entry : plan.entries)
      counts_.pending_tokens += entry.tokens.back() == kTokenPending ? 1 : 0;
    executor_.launch(std::move(plan));
  }
  Result<StepResult> collect() override { return executor_.collect(); }
  int in_flight() const override { return executor_.in_flight(); }
  int depth() const override { return executor_.depth(); }
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override {
    return executor_.load_adapter(id, path);
  }
  void drop_adapter(uint32_t id) override { executor_.drop_adapter(id); }

 private:
  engine::SimExecutor& executor_;
  ShapeCounts& counts_;
};

}  // namespace

WorkerProcess::WorkerProcess(EventQueue& events, worker::SessionOptions session, int64_t load_us,
                             const text::Tokenizer* tokenizer, ShapeCounts& counts, Hooks hooks)
    : events_(events),
      clock_(events),
      pump_(std::move(session), events.now()),
      load_us_(load_us),
      tokenizer_(tokenizer),
      counts_(counts),
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

// Does what the pump asks for, and computes, until nothing is left to do now.
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
  if (auto* write = std::get_if<worker::WriteBytes>(&action)) hooks_.write(std::move(write->bytes));
  if (auto* start = std::get_if<worker::StartEngine>(&action)) {
    pump_.report(engine::LoadProgress{"weights", 0});
    events_.after(load_us_,
                  [self = shared_from_this(), load = std::move(start->load)] { self->load(load); });
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
  if (!load.leads()) {
    follows_ = true;
    pump_.report(engine::ReplicaLoaded{engine::sim_limits(*model).value()});
  } else if (load.kind == "echo") {
    payloads_ = std::make_unique<engine::PayloadCore>(
        load, [](const std::string& payload, uint64_t) { return answer_payload(payload); });
    pump_.report(payloads_->loaded());
  } else {
    const Result<void> loaded = load_model(*model, load);
    ALTLAS_CHECK(loaded.ok(), loaded.error().message());
    pump_.report(core_->loaded("sim"));
  }
  carry_out();
  if (!dead_) arm_stats();
}

Result<void> WorkerProcess::load_model(const engine::SimOptions& model,
                                       const engine::LoadReplica& load) {
  ALTLAS_TRY(executor_,
             engine::SimExecutor::create(model, tokenizer_, engine::SimTime::kVirtual, clock_));
  for (size_t i = 0; i < load.adapters.size(); ++i)
    ALTLAS_TRY_VOID(executor_->load_adapter(static_cast<uint32_t>(i + 1), load.adapters[i].path));
  watched_ = std::make_unique<WatchedExecutor>(*executor_, counts_);
  core_ = std::make_unique<engine::ReplicaCore>(executor_->limits(), engine::core_options(load),
                                                tokenizer_);
  loop_ = std::make_unique<engine::ReplicaLoop>(*core_, *watched_);
  grammars_.emplace(core_->grammar_compiler());
  guesses_ = load.speculative_tokens > 0;
  return {};
}

// While a step is under way nothing is reported; its end reports what is due.
void WorkerProcess::arm_stats() {
  const TimeUs due = loop_ ? loop_->stats_due() : stats_at_;
  events_.at(std::max(events_.now() + 50 * kMillisecond, due), [self = shared_from_this()] {
    if (self->dead_) return;
    self->carry_out();
    self->arm_stats();
  });
}

void WorkerProcess::say() {
  for (engine::Report& report : loop_->take_reports()) {
    const auto* adapter = std::get_if<engine::AdapterLoaded>(&report);
    if (adapter != nullptr && adapter->code == ErrorCode::kCanceled)
      ++counts_.adapter_loads_canceled;
    pump_.report(std::move(report));
  }
}

void WorkerProcess::answer_payloads() {
  for (; !inbox_.empty(); inbox_.pop_front()) payloads_->handle(std::move(inbox_.front()));
  for (engine::Report& report : payloads_->take_reports()) pump_.report(std::move(report));
  if (events_.now() < stats_at_) return;
  stats_at_ = events_.now() + engine::kStatsPeriodUs;
  pump_.report(payloads_->stats());
}

void WorkerProcess::handle(engine::Command command) {
  if (const auto* one = std::get_if<engine::SubmitSequence>(&command);
      one != nullptr && one->sampling.grammar.kind != GrammarKind::kNone) {
    counts_.grammar_resumes += one->generated.empty() ? 0 : 1;
    counts_.grammar_beside_guesses += guesses_ ? 1 : 0;
  }
  loop_->handle(std::move(command));
}

void WorkerProcess::read_adapters() {
  for (engine::AdapterJob& job : loop_->take_adapter_jobs())
    events_.after(load_us_, [self = shared_from_this(), job] {
      if (self->dead_) return;
      const Result<void> read = self->hooks_.read_adapter(job.path);
      self->loop_->adapter_read({job.id, read.ok() ? self->executor_->load_adapter(job.id, job.path)
                                                   : Result<uint64_t>(read.error())});
      self->carry_out();
    });
  loop_->drop_adapters();
}

// As long as the model took to load, so that others come and go meanwhile.
void WorkerProcess::compile_grammar() {
  std::optional<Grammar> wanted = loop_->take_grammar_job();
  if (!wanted) return;
  events_.after(load_us_, [self = shared_from_this(), grammar = *std::move(wanted)] {
    if (self->dead_) return;
    self->counts_.grammars_compiled += self->executor_->in_flight() > 0 ? 1 : 0;
    self->loop_->grammar_compiled(self->grammars_->compile(grammar));
    self->carry_out();
  });
}

// Ranks that do not lead only report that they live.
void WorkerProcess::follow() {
  inbox_.clear();
  if (events_.now() < stats_at_) return;
  stats_at_ = events_.now() + engine::kStatsPeriodUs;
  pump_.report(engine::ReplicaStats());
}

// Does what the replica's thread does until it waits, for a step or for something to do.
void WorkerProcess::run() {
  if (follows_ && stalled_until_ <= events_.now()) return follow();
  if (payloads_ && stalled_until_ <= events_.now()) return answer_payloads();
  if (!loop_ || collecting_) return;
  while (true) {
    for (; !inbox_.empty(); inbox_.pop_front()) handle(std::move(inbox_.front()));
    read_adapters();
    compile_grammar();
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
