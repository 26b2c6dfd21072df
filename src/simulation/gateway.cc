#include "simulation/gateway.h"

#include <fmt/format.h>

namespace altlas::simulation {

namespace {

void add_spec(const TaskSpec& spec, Hasher& hash) {
  hash.add(spec.id.high)
      .add(spec.id.low)
      .add(std::string_view(spec.deployment))
      .add(static_cast<int>(spec.priority));
  hash.add(std::span<const int32_t>(spec.prompt))
      .add(spec.tokens_max)
      .add(spec.estimated_memory)
      .add(spec.durable);
  hash.add(spec.deadline.value_or(0)).add(spec.body_hash).add(spec.sampling.seed);
}

void add_report(const engine::Report& report, Hasher& hash) {
  hash.add(report.index());
  if (const auto* one = std::get_if<engine::SequenceTokens>(&report))
    hash.add(one->sequence.value)
        .add(std::span<const int32_t>(one->delta.ids))
        .add(std::string_view(one->delta.text));
  if (const auto* one = std::get_if<engine::SequenceFinished>(&report))
    hash.add(one->sequence.value).add(std::string_view(one->result.text));
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
    hash.add(one->replica.value);
    add_report(one->report, hash);
  }
  if (const auto* one = std::get_if<control::JournalWritten>(&event))
    hash.add(one->ticket).add(one->ok);
  if (const auto* one = std::get_if<control::CancelRequested>(&event))
    hash.add(one->task.high).add(one->task.low);
  if (const auto* one = std::get_if<control::WorkerLost>(&event))
    hash.add(one->replica.value).add(std::string_view(one->reason));
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
      core_(std::move(setup)),
      epoch_(epoch),
      hash_(hash),
      hooks_(std::move(hooks)) {}

Result<void> Gateway::start() {
  journal::Replay replay;
  ALTLAS_TRY_VOID(
      store_->replay([&replay](journal::Event event) { return replay.add(std::move(event)); }));
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
  core_.step(std::move(event), events_.now(), actions);
  ++stepped_;
  for (control::Action& action : actions) act(action);
  if (stepped_ % 16 == 0) {
    core_.check_integrity();
    hash_.add(core_.hash());
  }
  hooks_.stepped();
  arm_tick();
}

void Gateway::act(control::Action& action) {
  if (auto* one = std::get_if<control::AnswerAdmission>(&action))
    hooks_.admission(one->ticket, one->admitted);
  if (auto* one = std::get_if<control::AnswerSubmission>(&action))
    hooks_.submission(one->ticket, one->placed);
  if (auto* one = std::get_if<control::AppendJournal>(&action)) append(std::move(*one));
  if (auto* one = std::get_if<control::ForgetTasks>(&action)) {
    hooks_.forgotten(one->tasks);
    if (!one->key_kept) forgets_.push_back(std::move(one->tasks));
  }
  if (auto* one = std::get_if<control::PublishDelta>(&action)) hooks_.delta(*one);
  if (auto* one = std::get_if<control::PublishStatus>(&action)) hooks_.status(*one);
  if (auto* one = std::get_if<control::StartWorker>(&action)) start_worker(*one);
  if (auto* one = std::get_if<control::StopWorker>(&action)) {
    links_.erase(one->replica);
    hooks_.kill_worker(one->replica);
  }
  if (auto* one = std::get_if<control::SendCommand>(&action)) {
    const auto link = links_.find(one->replica);
    if (link == links_.end()) return;
    link->second.waiting.push_back(std::move(one->command));
    // Not from inside the step that asked for it.
    events_.after(
        0, [self = shared_from_this(), replica = one->replica] { self->serve_link(replica); });
  }
}

void Gateway::start_worker(const control::StartWorker& start) {
  worker::SessionOptions options;
  options.role = worker::Role::kServer;
  options.replica = start.replica;
  options.epoch = epoch_;
  options.token = "token";
  links_.erase(start.replica);
  links_.emplace(start.replica,
                 Link{worker::Session(options, events_.now()), start.load, false, {}, 0});
  hooks_.start_worker(start.replica, epoch_, start.load);
  serve_link(start.replica);
}

void Gateway::append(control::AppendJournal append) {
  writes_.push_back(std::move(append));
  if (!committing_) schedule_commit();
}

void Gateway::schedule_commit() {
  committing_ = true;
  events_.after(50 + static_cast<int64_t>(random_.below(400)),
                [self = shared_from_this()] { self->commit(); });
}

// Writes everything that waits as one commit; its callers hear of it a little later.
void Gateway::commit() {
  if (dead_) return;
  std::vector<journal::Event> all;
  std::vector<uint64_t> tickets;
  for (control::AppendJournal& write : writes_) {
    tickets.push_back(write.ticket);
    for (journal::Event& event : write.events) all.push_back(std::move(event));
  }
  writes_.clear();
  const Result<void> written = store_->append(all);
  hooks_.committed();
  if (dead_) return;
  if (written.ok() && !forgets_.empty()) {
    for (const auto& tasks : forgets_) static_cast<void>(store_->forget(tasks));
    forgets_.clear();
    hooks_.committed();
    if (dead_) return;
  }
  tell_written(tickets, written);
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

void Gateway::worker_connected(ReplicaId replica) {
  const auto link = links_.find(replica);
  if (dead_ || link == links_.end()) return;
  link->second.session.connected(events_.now());
  serve_link(replica);
}

void Gateway::worker_disconnected(ReplicaId replica) {
  const auto link = links_.find(replica);
  if (dead_ || link == links_.end()) return;
  link->second.session.disconnected(events_.now());
  serve_link(replica);
}

void Gateway::worker_bytes(ReplicaId replica, std::string_view bytes) {
  const auto link = links_.find(replica);
  if (dead_ || link == links_.end()) return;
  link->second.session.on_bytes(events_.now(), bytes);
  serve_link(replica);
}

void Gateway::worker_exited(ReplicaId replica, const std::string& why) {
  if (!dead_ && links_.contains(replica)) lose(replica, why);
}

void Gateway::lose(ReplicaId replica, const std::string& why) {
  links_.erase(replica);
  control::WorkerLost event;
  event.replica = replica;
  event.reason = why;
  step(std::move(event));
}

// Does what the session asks; events go into the core, which may close the link meanwhile.
void Gateway::serve_link(ReplicaId replica) {
  while (!dead_) {
    const auto found = links_.find(replica);
    if (found == links_.end()) return;
    Link& link = found->second;
    while (!link.waiting.empty() && link.session.can_send()) {
      static_cast<void>(link.session.send(events_.now(), std::move(link.waiting.front())));
      link.waiting.pop_front();
    }
    auto actions = link.session.take_actions();
    if (actions.empty()) return arm_link(replica, link);
    std::vector<control::Event> in;
    std::optional<std::string> failed;
    uint32_t delivered = 0;
    for (worker::SessionAction& action : actions) {
      if (auto* write = std::get_if<worker::WriteBytes>(&action))
        hooks_.write(replica, std::move(write->bytes));
      if (auto* up = std::get_if<worker::LinkUp>(&action); up != nullptr && !up->again) {
        link.waiting.push_front(link.load);
        in.emplace_back(control::WorkerConnected{replica, up->pid});
      }
      if (auto* deliver = std::get_if<worker::Deliver>(&action)) {
        ++delivered;
        if (auto* report = std::get_if<engine::Report>(&deliver->message))
          in.emplace_back(control::WorkerReported{replica, std::move(*report)});
      }
      if (auto* lost = std::get_if<worker::LinkFailed>(&action)) failed = lost->error.message();
    }
    if (delivered > 0) link.session.consumed(events_.now(), delivered);
    for (control::Event& event : in) step(std::move(event));
    if (failed && links_.contains(replica)) {
      hooks_.kill_worker(replica);
      return lose(replica, *failed);
    }
  }
}

void Gateway::arm_link(ReplicaId replica, Link& link) {
  const TimeUs due = link.session.next_deadline();
  if (due == INT64_MAX || (link.timer_at > events_.now() && link.timer_at <= due)) return;
  link.timer_at = due;
  events_.at(due, [self = shared_from_this(), replica, due] {
    const auto found = self->links_.find(replica);
    if (self->dead_ || found == self->links_.end() || found->second.timer_at != due) return;
    found->second.timer_at = 0;
    found->second.session.tick(self->events_.now());
    self->serve_link(replica);
  });
}

std::unique_ptr<journal::Store> Gateway::kill() {
  dead_ = true;
  return std::move(store_);
}

}  // namespace altlas::simulation
