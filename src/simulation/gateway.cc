#include "simulation/gateway.h"

#include <fmt/format.h>

#include <utility>

#include "journal/writer.h"

namespace altlas::simulation {

namespace {

void add_spec(const TaskSpec& spec, Hasher& hash) {
  hash.add(spec.id.high)
      .add(spec.id.low)
      .add(std::string_view(spec.deployment))
      .add(static_cast<int>(spec.priority));
  spec.prompt.add_to(hash);
  hash.add(spec.tokens_max).add(spec.estimated_memory).add(spec.durable);
  hash.add(std::string_view(spec.adapter))
      .add(spec.embeds)
      .add(std::string_view(spec.sampling.grammar.text));
  hash.add(spec.deadline.value_or(0)).add(spec.body_hash).add(spec.sampling.seed);
}

void add_report(const engine::Report& report, Hasher& hash) {
  hash.add(report.index());
  if (const auto* one = std::get_if<engine::SequenceTokens>(&report))
    hash.add(one->sequence.value)
        .add(std::span<const int32_t>(one->delta.ids))
        .add(std::string_view(one->delta.text));
  if (const auto* one = std::get_if<engine::SequenceFinished>(&report))
    hash.add(one->sequence.value)
        .add(std::string_view(one->result.text))
        .add(one->result.embedding.size());
  if (const auto* one = std::get_if<engine::SequenceFailed>(&report))
    hash.add(one->sequence.value).add(std::string_view(one->message));
  if (const auto* one = std::get_if<engine::SequenceCanceled>(&report))
    hash.add(one->sequence.value).add(one->tokens);
  if (const auto* one = std::get_if<engine::ReplicaStats>(&report))
    hash.add(one->steps).add(one->running).add(one->kv_blocks_free).add(one->preemptions);
}

uint64_t hash_event(const control::Event& event, TimeUs now) {
  Hasher hash;
  hash.add(event.index()).add(now);
  if (const auto* one = std::get_if<control::TasksSubmitted>(&event)) {
    hash.add(one->ticket).add(one->split).add(one->min_per_device);
    for (const TaskSpec& spec : one->specs) add_spec(spec, hash);
  }
  if (const auto* one = std::get_if<control::WorkerReported>(&event)) {
    hash.add(one->worker.replica.value).add(one->worker.index);
    add_report(one->report, hash);
  }
  if (const auto* one = std::get_if<control::JournalWritten>(&event))
    hash.add(one->ticket).add(one->ok);
  if (const auto* one = std::get_if<control::CancelRequested>(&event))
    hash.add(one->task.high).add(one->task.low);
  if (const auto* one = std::get_if<control::WorkerLost>(&event))
    hash.add(one->worker.replica.value).add(one->worker.index).add(std::string_view(one->reason));
  if (const auto* one = std::get_if<control::DeviceSampled>(&event))
    hash.add(one->device.value)
        .add(one->temperature)
        .add(one->foreign_utilization)
        .add(one->healthy);
  if (const auto* one = std::get_if<control::TasksRestored>(&event))
    for (const journal::RestoredTask& task : one->tasks)
      hash.add(task.spec.id.low)
          .add(static_cast<int>(task.status))
          .add(std::span<const int32_t>(task.generated));
  return hash.value();
}

}  // namespace

Gateway::Gateway(EventQueue& events, PhiloxStream& random, std::unique_ptr<journal::Store> store,
                 control::CoreSetup setup, uint64_t epoch, Hasher& hash, GatewayHooks hooks)
    : events_(events),
      random_(random),
      store_(std::move(store)),
      replay_check_(setup),
      core_(std::move(setup)),
      epoch_(epoch),
      hash_(hash),
      hooks_(std::move(hooks)),
      links_(worker::LinkPumpOptions()) {}

Result<void> Gateway::start() {
  journal::Replay replay;
  ALTLAS_TRY_VOID(
      store_->replay([&replay](journal::TaskEvent event) { return replay.add(std::move(event)); }));
  control::TasksRestored restored;
  restored.tasks = replay.take();
  if (!restored.tasks.empty()) step(std::move(restored));
  step(control::Started());
  return {};
}

void Gateway::step(control::Event event) {
  if (dead_) return;
  hash_.add(hash_event(event, events_.now()));
  std::vector<control::Action> actions;
  replay_check_.before(event, events_.now(), core_);
  core_.step(std::move(event), events_.now(), actions);
  ++stepped_;
  for (control::Action& action : actions) act(action);
  if (stepped_ % 16 == 0) {
    core_.check_integrity();
    hash_.add(core_.hash());
  }
  hooks_.stepped();
  if (dead_) return;
  arm_tick();
  serve();
}

void Gateway::act(control::Action& action) {
  if (auto* one = std::get_if<control::AnswerAdmission>(&action))
    hooks_.admission(one->ticket, one->admitted);
  if (auto* one = std::get_if<control::AnswerSubmission>(&action))
    hooks_.submission(one->ticket, one->placed);
  if (auto* one = std::get_if<control::AppendJournal>(&action))
    write({{.events = std::move(one->events)}, one->ticket});
  if (auto* one = std::get_if<control::ForgetTasks>(&action)) {
    hooks_.forgotten(one->tasks);
    if (!one->key_kept) write({{.forgotten = std::move(one->tasks)}, 0});
  }
  if (auto* one = std::get_if<control::AnswerChange>(&action)) hooks_.adapter(*one);
  if (auto* one = std::get_if<control::PublishDelta>(&action)) hooks_.delta(*one);
  if (auto* one = std::get_if<control::PublishStatus>(&action)) hooks_.status(*one);
  if (auto* one = std::get_if<control::StartWorker>(&action))
    book_.start(one->worker, std::move(one->load));
  if (auto* one = std::get_if<control::StopWorker>(&action)) book_.stop(one->worker, one->kill);
  if (auto* one = std::get_if<control::SendCommand>(&action))
    links_.send(events_.now(), one->worker, std::move(one->command));
}

// Does what the launch book and the links ask for, until neither asks for anything. Events go into
// the core, which may ask for more meanwhile.
void Gateway::serve() {
  if (std::exchange(serving_, true)) return;
  while (!dead_) {
    auto launches = book_.take_actions();
    auto links = links_.take_actions();
    if (launches.empty() && links.empty()) break;
    for (control::LaunchAction& action : launches)
      if (!dead_) carry_out(action);
    for (worker::LinkAction& action : links)
      if (!dead_) carry_out(action);
  }
  serving_ = false;
  if (!dead_) arm_links();
}

void Gateway::carry_out(control::LaunchAction& action) {
  const TimeUs now = events_.now();
  if (auto* one = std::get_if<control::SpawnProcess>(&action)) {
    links_.expect(now, one->worker, epoch_, "token");
    hooks_.start_worker(one->worker, epoch_);
  }
  if (auto* one = std::get_if<control::KillProcess>(&action)) hooks_.kill_worker(one->worker);
  if (auto* one = std::get_if<control::DropLink>(&action))
    links_.stop_worker(now, one->worker, one->reason);
  if (auto* one = std::get_if<control::LoadOverLink>(&action))
    links_.send(now, one->worker, std::move(one->load));
  if (auto* one = std::get_if<control::SayConnected>(&action))
    step(control::WorkerConnected{one->worker, one->pid});
  if (auto* one = std::get_if<control::SayReported>(&action))
    step(control::WorkerReported{one->worker, std::move(one->report)});
  if (auto* one = std::get_if<control::SayLost>(&action))
    step(control::WorkerLost{one->worker, std::move(one->reason)});
}

void Gateway::carry_out(worker::LinkAction& action) {
  if (auto* one = std::get_if<worker::LinkWrite>(&action))
    hooks_.write(one->connection, std::move(one->bytes));
  if (auto* one = std::get_if<worker::LinkClose>(&action)) hooks_.close(one->connection);
  if (auto* one = std::get_if<worker::LinkOpened>(&action))
    book_.link_opened(one->worker, one->pid);
  if (auto* one = std::get_if<worker::LinkReport>(&action))
    book_.reported(one->worker, std::move(one->report));
  if (auto* one = std::get_if<worker::LinkLost>(&action))
    book_.link_lost(one->worker, std::move(one->reason));
}

void Gateway::write(Write write) {
  writes_.push_back(std::move(write));
  if (!committing_) schedule_commit();
}

void Gateway::schedule_commit() {
  committing_ = true;
  events_.after(50 + static_cast<int64_t>(random_.below(400)),
                [self = shared_from_this()] { self->commit(); });
}

// Writes what waits as one commit. Its callers are told a little later.
void Gateway::commit() {
  if (dead_) return;
  journal::CommitGroup group(journal::WriterOptions().commit_events_max);
  std::vector<uint64_t> tickets;
  while (!writes_.empty() && group.add(writes_.front().request)) {
    tickets.push_back(writes_.front().ticket);
    writes_.pop_front();
  }
  const journal::CommitGroup::Outcome outcome = group.write(*store_);
  hooks_.committed();
  if (!dead_) tell_written(tickets, outcome.appended);
}

void Gateway::tell_written(const std::vector<uint64_t>& tickets, const Result<void>& written) {
  const std::string message = written.ok() ? "" : written.error().message();
  const auto tell = [self = shared_from_this(), tickets, message, ok = written.ok()] {
    for (const uint64_t ticket : tickets) {
      if (ticket == 0) continue;
      control::JournalWritten event;
      event.ticket = ticket;
      event.ok = ok;
      event.message = message;
      self->step(std::move(event));
    }
    if (self->dead_) return;
    self->committing_ = false;
    if (!self->writes_.empty()) self->schedule_commit();
  };
  events_.after(20 + static_cast<int64_t>(random_.below(100)), tell);
}

void Gateway::arm_tick() {
  const TimeUs due = core_.next_deadline();
  if (due == INT64_MAX || due >= tick_at_) return;
  tick_at_ = due;
  events_.at(due, [self = shared_from_this(), due] {
    if (self->dead_ || self->tick_at_ != due) return;
    self->tick_at_ = INT64_MAX;
    self->step(control::Tick());
  });
}

void Gateway::connected(worker::ConnectionId connection) {
  if (dead_) return;
  links_.connected(events_.now(), connection);
  serve();
}

void Gateway::disconnected(worker::ConnectionId connection) {
  if (dead_) return;
  links_.disconnected(events_.now(), connection);
  serve();
}

void Gateway::received(worker::ConnectionId connection, std::string_view bytes) {
  if (dead_) return;
  links_.on_bytes(events_.now(), connection, bytes);
  links_.check_integrity();
  serve();
}

void Gateway::worker_exited(WorkerId worker, const std::string& why) {
  if (dead_) return;
  book_.exited(worker, why);
  serve();
}

void Gateway::arm_links() {
  const TimeUs due = links_.next_deadline();
  if (due == INT64_MAX || (links_at_ > events_.now() && links_at_ <= due)) return;
  links_at_ = due;
  events_.at(due, [self = shared_from_this(), due] {
    if (self->dead_ || self->links_at_ != due) return;
    self->links_at_ = INT64_MAX;
    self->links_.tick(self->events_.now());
    self->serve();
  });
}

std::unique_ptr<journal::Store> Gateway::kill() {
  replay_check_.compare(core_);
  dead_ = true;
  return std::move(store_);
}

}  // namespace altlas::simulation
