#include "control/core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core/saved_part.h"
#include "control/core/show.h"

namespace altlas::control {

Core::Core(CoreSetup setup)
    : setup_(std::move(setup)),
      ledger_(changed_devices_),
      fleet_(setup_, ledger_, changed_devices_),
      waiting_(setup_, fleet_),
      admissions_(setup_.deployments.size()),
      adapters_(setup_, fleet_),
      autoscalers_(setup_, fleet_),
      view_(setup_, fleet_, ledger_, changed_devices_),
      life_({.setup = setup_,
             .stage = stage_,
             .tasks = tasks_,
             .waiting = waiting_,
             .fleet = fleet_,
             .ledger = ledger_,
             .journal = journal_,
             .admissions = admissions_,
             .adapters = adapters_}),
      dispatcher_({.setup = setup_,
                   .stage = stage_,
                   .fleet = fleet_,
                   .view = view_,
                   .adapters = adapters_,
                   .tasks = tasks_,
                   .waiting = waiting_,
                   .life = life_}),
      intake_({.setup = setup_,
               .stage = stage_,
               .view = view_,
               .adapters = adapters_,
               .fleet = fleet_,
               .tasks = tasks_,
               .waiting = waiting_,
               .journal = journal_,
               .admissions = admissions_,
               .life = life_,
               .dispatcher = dispatcher_}),
      replicas_({.stage = stage_,
                 .fleet = fleet_,
                 .tasks = tasks_,
                 .waiting = waiting_,
                 .adapters = adapters_,
                 .life = life_}) {
  admissions_.set_most(setup_.max_queue_size);
}

void Core::step(Event event, TimeUs now, std::vector<Action>& out) {
  ALTLAS_CHECK(now >= now_, "time does not go back");
  if (epoch_ > 0 && now - now_ > 5 * kSecond) fleet_.forgive_silence(now - now_);
  now_ = now;
  ++epoch_;
  Step step{now, out};
  life_.forget_old(step);
  std::visit([&](auto& what) { on(what, step); }, event);
  on_time(step);
  dispatcher_.dispatch(step);
  adapters_.settle(step);
  if (setup_.tokens == TokenJournal::kSync && journal_.has_tokens()) life_.flush(step);
}

// Does what is due by now, whatever the event was.
void Core::on_time(Step& step) {
  if (now_ >= expire_at_) {
    expire(step);
    expire_at_ = now_ + setup_.queue_interval_us;
  }
  if (stage_.started && !stage_.draining)
    for (const Autoscalers::Change& change : autoscalers_.decide(now_)) scale(change, step);
  replicas_.check(step);
  if (journal_.flush_due(now_)) life_.flush(step);
  for (const uint64_t number : journal_.take_ends_due(now_))
    life_.write_end(tasks_.at(number), step);
}

// Ends tasks that are past their deadline or the queue timeout.
void Core::expire(Step& step) {
  while (const auto number = waiting_.queue().expired(now_)) {
    Task& task = tasks_.at(*number);
    const double waited = static_cast<double>(elapsed_us(task.created, now_)) / kSecond;
    if (task.spec.deadline && *task.spec.deadline <= now_) {
      life_.fail(task, ErrorCode::kDeadline,
                 fmt::format("its deadline passed after {:.3f} s in the queue", waited), step);
    } else {
      life_.fail(task, ErrorCode::kDeadline,
                 fmt::format("queue_timeout: it waited {:.3f} s, the limit is {:.3f} s", waited,
                             static_cast<double>(setup_.queue_timeout_us) / kSecond),
                 step);
    }
  }
  while (Task* task = tasks_.past_deadline(now_))
    life_.fail(*task, ErrorCode::kDeadline,
               fmt::format("its deadline passed after {} generated tokens", task->generated.size()),
               step);
}

TimeUs Core::next_deadline() const {
  TimeUs next = std::min(journal_.next_deadline(), fleet_.next_deadline());
  if (stage_.started && !stage_.draining) next = std::min(next, autoscalers_.next_deadline());
  if (const auto expiry = waiting_.queue().next_expiry())
    next = std::min(next, std::max(*expiry, expire_at_));
  if (const TimeUs deadline = tasks_.next_deadline(); deadline != INT64_MAX)
    next = std::min(next, std::max(deadline, expire_at_));
  return next;
}

void Core::on(Started&, Step& step) {
  stage_.started = true;
  replicas_.start_all(step);
}

void Core::on(TasksRestored& event, Step& step) {
  for (journal::RestoredTask& restored : event.tasks) intake_.restore(restored, step);
}

// Unfinished durable tasks stay in the journal as they are, and go on at the next start.
void Core::on(StopRequested&, Step& step) {
  stage_.draining = stage_.stopping = true;
  std::vector<uint64_t> passing;
  for (const auto& [number, task] : tasks_.all())
    if (!task.spec.durable && is_open(task)) passing.push_back(number);
  for (const uint64_t number : passing)
    life_.fail(tasks_.at(number), ErrorCode::kUnavailable, "the server is stopping", step);
  life_.flush(step);
  adapters_.answer_all(unavailable("the server is stopping"), step);
  replicas_.stop_all(step);
}

void Core::on(ConcurrencyChanged& event, Step&) {
  setup_.max_concurrent_tasks = event.max_concurrent_tasks;
  limits_changed();
}

void Core::on(LimitsChanged& event, Step&) {
  setup_.memory_threshold = event.memory_threshold;
  setup_.utilization_threshold = event.utilization_threshold;
  setup_.max_temperature = event.max_temperature;
  setup_.task_specific = std::move(event.task_specific);
  setup_.max_queue_size = event.max_queue_size;
  setup_.queue_timeout_us = event.queue_timeout_us;
  setup_.tasks_kept_max = event.tasks_kept_max;
  admissions_.set_most(setup_.max_queue_size);
  waiting_.set_tasks_max(setup_.max_queue_size);
  limits_changed();
}

void Core::limits_changed() {
  view_.limits_changed();
  waiting_.look_everywhere();
}

void Core::on(DeviceSampled& event, Step&) {
  if (!fleet_.has_device(event.device)) return;
  fleet_.sample(event);
  waiting_.look_at_device(event.device);
}

void Core::on(CancelRequested& event, Step& step) {
  Task* task = tasks_.find(event.task);
  if (task == nullptr) return;
  if (task->phase == TaskPhase::kJournaling) {
    task->cancel_asked = true;
  } else if (is_open(*task)) {
    life_.end(*task, TaskStatus::kCanceled, step);
  }
}

void Core::on(JournalWritten& event, Step& step) {
  const auto write = journal_.take(event.ticket);
  if (!write) return;
  using Kind = JournalWrite::Kind;
  if (event.ok) {
    if (write->kind == Kind::kAccept) intake_.accepted(write->tasks, step);
    if (write->kind == Kind::kEnd) life_.end_written(write->tasks, step);
    if (write->kind == Kind::kTokens) life_.tokens_written(write->tasks, step);
    return;
  }
  if (write->kind == Kind::kAccept) return intake_.not_accepted(write->tasks, event.message, step);
  step.out.push_back(
      LogWarning{fmt::format("the journal can't be written, trying again: {}", event.message)});
  if (write->kind == Kind::kEnd) {
    journal_.retry_ends(write->tasks, now_);
  } else {
    life_.tokens_not_written(write->tasks, now_);
  }
}

Result<uint32_t> Core::named_deployment(const std::string& name) const {
  const auto deployment = fleet_.find_deployment(name, "");
  if (name.empty() || !deployment)
    return not_found(fmt::format("there is no deployment '{}'", name));
  return *deployment;
}

Result<uint32_t> Core::adapter_deployment(const std::string& name) const {
  if (stage_.stopping || stage_.draining) return unavailable("the server is stopping");
  ALTLAS_TRY(const uint32_t deployment, named_deployment(name));
  if (fleet_.deployment(deployment).setup.model.empty())
    return invalid(fmt::format("deployment '{}' is not a model: it takes no adapters", name));
  return deployment;
}

void Core::on(AdapterLoadRequested& event, Step& step) {
  const Result<uint32_t> deployment = adapter_deployment(event.deployment);
  if (deployment.ok()) return adapters_.load(*deployment, event, step);
  step.out.push_back(AnswerChange{event.ticket, deployment.error()});
}

void Core::on(AdapterUnloadRequested& event, Step& step) {
  const Result<uint32_t> deployment = adapter_deployment(event.deployment);
  if (deployment.ok()) return adapters_.unload(*deployment, event, step);
  step.out.push_back(AnswerChange{event.ticket, deployment.error()});
}

void Core::on(ScaleRequested& event, Step& step) {
  const auto answer = [&]() -> Result<void> {
    if (stage_.stopping || stage_.draining) return unavailable("the server is stopping");
    ALTLAS_TRY(const uint32_t deployment, named_deployment(event.deployment));
    ALTLAS_TRY(const auto change, autoscalers_.ask(deployment, event.replicas, step.now));
    if (change) scale(*change, step);
    return {};
  };
  step.out.push_back(AnswerChange{event.ticket, answer()});
}

void Core::scale(const Autoscalers::Change& change, Step& step) {
  const Deployment& one = fleet_.deployment(change.deployment);
  step.out.push_back(Scaled{one.setup.name, one.target, change.replicas, change.reason});
  replicas_.scale(change.deployment, change.replicas, step);
}

// ---- What it shows ----

Result<TaskView> Core::task(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  return show_task(*found, fleet_, waiting_);
}

Result<void> Core::cancelable(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  if (is_open(*found)) return {};
  return Error(ErrorCode::kConflict,
               fmt::format("task {} is over: {}", to_string(id), altlas::to_string(found->end)));
}

Result<Explanation> Core::explain(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  if (const Explanation* kept = tasks_.explanation(*found)) return *kept;
  return not_found(fmt::format("the choice for task {} is not in memory any more", to_string(id)));
}

std::optional<TaskStory> Core::story(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return std::nullopt;
  TaskStory out{found->spec.owner, found->note, std::nullopt, found->moves};
  if (const Explanation* kept = tasks_.explanation(*found)) out.choice = *kept;
  return out;
}

Core::StorySize Core::story_size(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return {};
  return {true, tasks_.explanation(*found) != nullptr, found->moves.size(),
          found->moves.empty() ? 0 : found->moves.back().at};
}

TaskPage Core::tasks(const TaskFilter& filter) const {
  return show_tasks(filter, tasks_, fleet_, waiting_);
}

std::vector<DeviceView> Core::devices() const { return show_devices(fleet_, ledger_); }

std::vector<DeploymentView> Core::deployments() const {
  std::vector<DeploymentView> out = show_deployments(fleet_, adapters_);
  for (uint32_t i = 0; i < out.size(); ++i)
    for (const uint32_t site : waiting_.sites(i))
      out[i].waiting += static_cast<uint32_t>(waiting_.queue().size(site));
  return out;
}

Result<std::vector<ScaleDecision>> Core::scale_decisions(const std::string& name) const {
  ALTLAS_TRY(const uint32_t deployment, named_deployment(name));
  return autoscalers_.decisions(deployment);
}

HealthView Core::health() const { return show_health(setup_, stage_, fleet_, admissions_, view_); }

const std::string* Core::said_text(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return nullptr;
  const bool in_result = found->phase == TaskPhase::kOver && found->end == TaskStatus::kCompleted;
  return in_result ? &found->result.text : &found->text;
}

const std::vector<int32_t>* Core::said_tokens(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  return found == nullptr ? nullptr : &found->generated;
}

const std::vector<TokenLogprobs>* Core::said_logprobs(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  return found == nullptr ? nullptr : &found->logprobs;
}

const std::vector<TokenLogprobs>* Core::said_prompt_logprobs(const TaskId& id) const {
  const Task* found = tasks_.find(id);
  if (found == nullptr) return nullptr;
  return found->phase == TaskPhase::kOver ? &found->result.prompt_logprobs
                                          : &found->prompt_logprobs;
}

size_t Core::running(ReplicaId replica) const {
  const auto slot = fleet_.find_slot(replica);
  return slot ? fleet_.slot(*slot).runs.size() : 0;
}

// ---- Its state as a whole ----

auto Core::saved(auto& self) {
  return std::tie(self.setup_, self.stage_, self.now_, self.epoch_, self.expire_at_);
}

void Core::visit_parts(auto& self, auto visit) {
  visit(self.ledger_);
  visit(self.fleet_);
  visit(self.tasks_);
  visit(self.waiting_);
  visit(self.admissions_);
  visit(self.journal_);
  visit(self.adapters_);
  visit(self.autoscalers_);
}

std::string Core::save() const {
  std::vector<std::string> parts = {save_part("core", 1, saved(*this))};
  visit_parts(*this, [&](const auto& part) { parts.push_back(part.save()); });
  std::string out;
  codec::write(out, parts);
  return out;
}

uint64_t Core::hash() const {
  Hasher hasher;
  hasher.add(hash_of_saved(save_part("core", 1, saved(*this))));
  visit_parts(*this, [&](const auto& part) { hasher.add(part.hash()); });
  return hasher.value();
}

Result<void> Core::load(std::string_view bytes) {
  std::vector<std::string> parts;
  size_t count = 1;
  visit_parts(*this, [&](const auto&) { ++count; });
  if (!codec::read(bytes, parts) || !bytes.empty() || parts.size() != count)
    return invalid("this is not the saved state of the core");
  Result<void> out = load_part("core", 1, parts[0], saved(*this));
  size_t index = 0;
  visit_parts(*this, [&](auto& part) {
    ++index;
    if (out.ok()) out = part.load(parts[index]);
  });
  if (out.ok()) view_.limits_changed();
  return out;
}

void Core::check_integrity() const {
  visit_parts(*this, [](const auto& part) { part.check_integrity(); });
  view_.check_integrity();
  std::vector<uint32_t> running(fleet_.sites().size()), queued(fleet_.sites().size());
  std::vector<uint64_t> reserved(fleet_.devices().size()), ahead(fleet_.sites().size());
  size_t held = 0, runs = 0, held_by_slots = 0;
  for (const auto& [number, task] : tasks_.all()) {
    const DeviceId on = fleet_.site(task.site).device;
    running[task.site] += task.phase == TaskPhase::kRunning;
    queued[task.site] += task.phase < TaskPhase::kRunning;
    ahead[task.site] += task.tokens_ahead;
    held += task.held;
    ALTLAS_CHECK(waiting_.queue().contains(number) == (task.phase == TaskPhase::kWaiting),
                 "waiting tasks are in the queue");
    ALTLAS_CHECK(waiting_.has_turn(task) ==
                     (task.phase == TaskPhase::kWaiting || task.phase == TaskPhase::kRunning),
                 "tasks that wait or run have a turn");
    if (task.reserved) reserved[static_cast<size_t>(on.value)] += task.spec.estimated_memory;
    ALTLAS_CHECK(ledger_.promised(on).contains(number) ==
                     (task.reserved && task.phase < TaskPhase::kRunning),
                 "promised are the reservations of tasks that do not run");
    if (task.phase != TaskPhase::kRunning) continue;
    ++runs;
    const auto& of_slot = fleet_.slot(task.slot).runs;
    const auto run = of_slot.find(task.sequence);
    ALTLAS_CHECK((run != of_slot.end() && run->second.task == number) || stage_.stopping,
                 "a running task is in its replica");
  }
  ALTLAS_CHECK(held == admissions_.held(), "held tasks are counted");
  for (size_t i = 0; i < fleet_.sites().size(); ++i) {
    const Site& site = fleet_.sites()[i];
    ALTLAS_CHECK(
        site.running == running[i] && site.queued == queued[i] && site.tokens_ahead == ahead[i],
        "sites agree with tasks");
  }
  for (const FleetDevice& device : fleet_.devices())
    ALTLAS_CHECK(
        ledger_.reserved(device.setup.id) == reserved[static_cast<size_t>(device.setup.id.value)],
        "reservations agree with tasks");
  for (const ReplicaSlot& slot : fleet_.slots())
    for (const auto& [sequence, run] : slot.runs) held_by_slots += run.task != 0;
  ALTLAS_CHECK(held_by_slots == runs || stage_.stopping, "replicas hold the running tasks");
}

}  // namespace altlas::control
