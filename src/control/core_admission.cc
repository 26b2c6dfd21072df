// Core, the way in: tickets, checks, placement, idempotency, acceptance by the journal, restoring
// after a restart.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {

using scheduler::Placement;
using scheduler::PlacementDevice;
using scheduler::PlacementRequest;

std::optional<uint32_t> Core::find_deployment(std::string_view name, std::string_view type) const {
  for (uint32_t i = 0; i < deployments_.size(); ++i) {
    const DeploymentSetup& setup = deployments_[i].setup;
    if (!name.empty() ? setup.name == name
                      : std::ranges::find(setup.task_types, type) != setup.task_types.end())
      return i;
  }
  if (name.empty()) return default_deployment_;
  return std::nullopt;
}

Result<void> Core::accepting(uint32_t deployment) const {
  if (draining_) return unavailable("the server is draining and takes no new tasks");
  const Deployment& one = deployments_[deployment];
  const bool dead =
      std::ranges::all_of(one.slots, [&](uint32_t slot) { return slots_[slot].given_up; });
  if (dead)
    return unavailable(
        fmt::format("deployment '{}' can't be loaded: {}", one.setup.name,
                    one.slots.empty() ? "it has no replica" : slots_[one.slots[0]].message));
  return {};
}

// Tasks that run at once where nothing else does; none: a replica has never told what it takes.
std::optional<uint64_t> Core::places_at_most(const Site& site) const {
  uint64_t sum = 0;
  for (const uint32_t index : site.slots) {
    const Slot& slot = slots_[index];
    if (slot.given_up) continue;
    const uint32_t asked = deployments_[slot.deployment].setup.max_ongoing;
    if (asked == 0 && !slot.needs) return std::nullopt;
    sum += asked > 0 ? asked : std::max(slot.needs->sequences_max, 1u);
  }
  const uint32_t most = setup_.max_concurrent_tasks;
  return most == 0 ? sum : std::min<uint64_t>(sum, most);
}

// Whether so many tasks of one request could ever be here at once.  Errors: kInvalid with the
// limit, as trying again can't help; whether there is room now is for others to say.
Result<void> Core::fits_at_all(uint32_t deployment, uint64_t tasks, Spread spread,
                               std::optional<DeviceId> device) const {
  const Deployment& one = deployments_[deployment];
  uint64_t places = 0;
  for (const uint32_t site : one.sites) {
    if (device && sites_[site].device != *device) continue;
    const auto here = places_at_most(sites_[site]);
    if (!here) return {};
    places = spread == Spread::kAll ? places + *here : std::max(places, *here);
  }
  const uint64_t waiting = std::min(setup_.max_queue_size, one.setup.max_queued);
  if (tasks <= waiting + places) return {};
  return invalid(fmt::format(
      "the request makes {} tasks, at most {} are possible at once: {} run "
      "{}, and {} wait ({}); send it in parts",
      tasks, waiting + places, places, spread == Spread::kAll ? "on all devices" : "on one device",
      waiting, waiting == setup_.max_queue_size ? "max_queue_size" : "max_queued_requests"));
}

void Core::on(AdmissionRequested& event, Out& out) {
  const auto refuse = [&](Error error) {
    out.push_back(AnswerAdmission{event.ticket, std::move(error)});
  };
  const auto deployment = find_deployment(event.deployment, "");
  if (!deployment)
    return refuse(not_found(fmt::format("there is no deployment '{}'", event.deployment)));
  if (auto ok = accepting(*deployment); !ok.ok()) return refuse(ok.error());
  if (tickets_.contains(event.ticket))
    return refuse(Error(ErrorCode::kInternal, "a ticket was used twice"));
  if (auto ok = fits_at_all(*deployment, event.tasks, Spread::kAll); !ok.ok())
    return refuse(ok.error());
  Deployment& one = deployments_[*deployment];
  const uint32_t places = free_places(*deployment);
  const auto slots = static_cast<int64_t>(std::max<size_t>(one.slots.size(), 1));
  const int64_t service = one.service_us / slots;
  if (auto ok = queue_.admits(held_ + promised_, event.tasks, places, service); !ok.ok())
    return refuse(ok.error());
  if (uint64_t{one.promised} + one.held + event.tasks > uint64_t{one.setup.max_queued} + places)
    return refuse(Error(ErrorCode::kBusy,
                        fmt::format("{} tasks of deployment '{}' wait, max_queued_requests is {}",
                                    one.held, one.setup.name, one.setup.max_queued))
                      .with_retry_after_ms(std::max<int64_t>(service / kMillisecond, 1000)));
  if (tickets_.size() >= kTicketsMax)
    return refuse(
        Error(ErrorCode::kBusy, "too many requests are being read").with_retry_after_ms(1000));
  tickets_[event.ticket] = {*deployment, event.tasks};
  one.promised += event.tasks;
  promised_ += event.tasks;
  out.push_back(AnswerAdmission{event.ticket, {}});
}

void Core::on(AdmissionReleased& event, Out&) {
  const auto found = tickets_.find(event.ticket);
  if (found == tickets_.end()) return;
  deployments_[found->second.deployment].promised -= found->second.tasks;
  promised_ -= found->second.tasks;
  tickets_.erase(found);
}

void Core::on(TasksSubmitted& event, Out& out) {
  AdmissionReleased release{event.ticket};
  on(release, out);
  if (submissions_.contains(event.ticket)) {
    out.push_back(LogWarning{"a ticket was submitted twice; the second was dropped"});
    return;
  }
  Submission submission;
  std::vector<uint64_t> fresh;
  std::map<uint32_t, scheduler::PlacementCursor> cursors;
  for (uint32_t i = 0; i < deployments_.size(); ++i) cursors[i] = deployments_[i].cursor;
  if (auto ok = submit(event, submission, fresh); !ok.ok()) {
    for (const uint64_t number : fresh) remove_task(at(number));
    for (auto& [i, cursor] : cursors) deployments_[i].cursor = cursor;
    out.push_back(AnswerSubmission{event.ticket, ok.error()});
    return;
  }
  for (size_t i = 0; i < submission.tasks.size(); ++i) {
    if (const auto gone = submission.forgotten.find(i); gone != submission.forgotten.end()) {
      submission.placed.push_back(gone->second);
      continue;
    }
    Task& task = at(submission.tasks[i]);
    submission.placed.push_back({task.spec.id, sites_[task.site].device, task.status});
    if (task.phase != Phase::kJournaling) continue;
    task.submissions.push_back(event.ticket);
    ++submission.unresolved;
  }
  submissions_[event.ticket] = std::move(submission);
  Write write{Write::Kind::kAccept, {}};
  std::vector<uint64_t> at_once;
  std::vector<journal::Event> events;
  for (const uint64_t number : fresh) {
    const Task& task = at(number);
    if (!task.spec.durable) {
      at_once.push_back(number);
      continue;
    }
    write.tasks.push_back(number);
    events.push_back(
        {task.spec.id, now_, journal::TaskAccepted{task.spec, sites_[task.site].device}});
  }
  if (!events.empty()) {
    out.push_back(AppendJournal{next_write_, std::move(events)});
    writes_[next_write_++] = std::move(write);
  }
  accepted(at_once, out);
  answer(event.ticket, out);
}

// Checks everything before anything is accepted; on an error the caller removes `fresh`.
Result<void> Core::submit(TasksSubmitted& event, Submission& submission,
                          std::vector<uint64_t>& fresh) {
  std::vector<TaskSpec>& specs = event.specs;
  if (specs.empty()) return invalid("a batch needs at least one task", "batch");
  if (draining_) return unavailable("the server is draining and takes no new tasks");
  // Places of known tasks; 0 for those to be made. A later spec may repeat an earlier one of the
  // same batch.
  std::vector<uint64_t> numbers(specs.size(), 0);
  std::vector<size_t> repeats(specs.size(), SIZE_MAX);
  std::map<std::pair<std::string, std::string>, size_t> first_of;
  std::vector<TaskSpec> made;
  std::vector<size_t> place_of;
  for (size_t i = 0; i < specs.size(); ++i) {
    TaskSpec& spec = specs[i];
    const auto deployment = find_deployment(spec.deployment, spec.type);
    if (!deployment) return not_found(fmt::format("there is no deployment '{}'", spec.deployment));
    ALTLAS_TRY_VOID(accepting(*deployment));
    ALTLAS_TRY_VOID(check_adapter(*deployment, spec.adapter));
    spec.deployment = deployments_[*deployment].setup.name;
    ALTLAS_TRY(const Known found, known(spec));
    numbers[i] = found.number;
    if (found.left != nullptr) {
      submission.forgotten[i] = {found.left->task, found.left->device, found.left->status};
      continue;
    }
    if (numbers[i] != 0) continue;
    if (!spec.idempotency_key.empty()) {
      const auto [first, added] = first_of.emplace(std::pair(spec.owner, spec.idempotency_key), i);
      if (!added) {
        if (specs[first->second].body_hash != spec.body_hash)
          return Error(ErrorCode::kConflict,
                       fmt::format("idempotency_key '{}' stands for two bodies in this batch",
                                   spec.idempotency_key));
        repeats[i] = first->second;
        continue;
      }
    }
    place_of.push_back(i);
  }
  TasksSubmitted todo{event.ticket, {}, event.split, event.min_per_device};
  for (const size_t i : place_of) todo.specs.push_back(std::move(specs[i]));
  const size_t count = todo.specs.size();
  if (count > 0) {
    const TaskSpec& head = todo.specs.front();
    const bool one_device = !event.split || head.specific_device.has_value();
    ALTLAS_TRY_VOID(fits_at_all(*find_deployment(head.deployment, ""), count,
                                one_device ? Spread::kOneDevice : Spread::kAll,
                                head.specific_device));
  }
  const size_t groups =
      !event.split ? 1 : std::max<size_t>(1, count / std::max<uint32_t>(1, event.min_per_device));
  for (size_t group = 0, first = 0; group < groups && count > 0; ++group) {
    const size_t end = count * (group + 1) / groups;
    ALTLAS_TRY_VOID(place_group(todo, first, end - first, fresh));
    first = end;
  }
  for (size_t i = 0; i < place_of.size(); ++i) numbers[place_of[i]] = fresh[i];
  for (size_t i = 0; i < numbers.size(); ++i)
    if (repeats[i] != SIZE_MAX) numbers[i] = numbers[repeats[i]];
  submission.tasks = std::move(numbers);
  return {};
}

Result<Core::Known> Core::known(const TaskSpec& spec) const {
  if (number_of_.contains(spec.id))
    return Error(ErrorCode::kInternal, fmt::format("task id {} is taken", to_string(spec.id)));
  if (spec.idempotency_key.empty()) return Known{};
  const auto checked = [&](uint64_t body_hash, const TaskId& id, Known found) -> Result<Known> {
    if (body_hash == spec.body_hash) return found;
    return Error(ErrorCode::kConflict,
                 fmt::format(
                     "idempotency_key '{}' belongs to task {} with another body; use a new key",
                     spec.idempotency_key, to_string(id)))
        .with_field("idempotency_key");
  };
  if (const auto found = by_key_.find({spec.owner, spec.idempotency_key}); found != by_key_.end()) {
    const Task& task = tasks_.at(found->second);
    if (task.phase != Phase::kOver || holds_key(task))
      return checked(task.spec.body_hash, task.spec.id, {.number = found->second});
    return Known{};
  }
  const KeyRecord* left = keys_.find(spec.owner, spec.idempotency_key);
  if (left == nullptr || now_ - left->accepted >= setup_.idempotency_key_ttl_us) return Known{};
  return checked(left->body_hash, left->task, {.left = left});
}

// Whether a task that is over still stands for its key.
bool Core::holds_key(const Task& task) const {
  if (task.spec.idempotency_key.empty()) return false;
  const auto found = by_key_.find({task.spec.owner, task.spec.idempotency_key});
  return found != by_key_.end() && found->second == task.number &&
         now_ - task.created < setup_.idempotency_key_ttl_us;
}

PlacementRequest Core::placement_request(const TasksSubmitted& event, size_t first,
                                         size_t count) const {
  const TaskSpec& head = event.specs[first];
  PlacementRequest request;
  request.strategy = head.strategy.value_or(setup_.strategy);
  request.type = head.type;
  for (size_t i = first; i < first + count; ++i) {
    const TaskSpec& spec = event.specs[i];
    const auto prompt = static_cast<uint32_t>(spec.prompt.size());
    if (!request.specific_device) request.specific_device = spec.specific_device;
    // The group runs together if it can, one after another if it must: only each by itself has to
    // fit for ever.
    request.estimated_memory = std::max(request.estimated_memory, spec.estimated_memory);
    request.prompt_tokens = std::max(request.prompt_tokens, prompt);
    request.sequence_tokens = std::max(
        request.sequence_tokens, prompt + static_cast<uint32_t>(std::max(spec.tokens_max, 0)));
  }
  return request;
}

// Gives one device to `count` neighbours.
Result<void> Core::place_group(TasksSubmitted& event, size_t first, size_t count,
                               std::vector<uint64_t>& fresh) {
  const PlacementRequest request = placement_request(event, first, count);
  const uint32_t deployment = *find_deployment(event.specs[first].deployment, "");
  for (size_t i = first; i < first + count; ++i)
    if (event.specs[i].deployment != event.specs[first].deployment)
      return invalid("tasks that share a device must be of one deployment", "batch");
  Deployment& one = deployments_[deployment];
  const std::vector<PlacementDevice> seen =
      picture(deployment, event.specs[first].adapter, event.specs[first].prompt);
  const scheduler::PlacementCursor before = one.cursor;
  ALTLAS_TRY(const Placement placement, scheduler::choose(policy_, seen, request, one.cursor));
  const auto site_of_winner = site_on(deployment, placement.winner);
  ALTLAS_CHECK(site_of_winner.has_value(), "placement chooses among the deployment's sites");
  const uint32_t site = *site_of_winner;
  const bool grouped = !event.split && count > 1;
  const uint64_t group = grouped ? Hasher().add(event.ticket).add(epoch_).value() | 1 : 0;
  std::string type(request.type);
  for (size_t i = first; i < first + count; ++i) {
    TaskSpec& spec = event.specs[i];
    spec.batch_group = group;
    const bool waits =
        placement.standing != scheduler::Standing::kEligible || free_places_at(sites_[site]) == 0;
    if (waits && held_ >= setup_.max_queue_size && nothing_else(deployment, fresh.size()))
      return invalid(
          fmt::format("the request makes {} tasks, they don't fit where they are to run "
                      "though nothing else is here: max_queue_size is {}; send it in "
                      "parts",
                      event.specs.size(), setup_.max_queue_size));
    if (waits && held_ >= setup_.max_queue_size)
      return Error(ErrorCode::kBusy,
                   fmt::format("device {} is full and the queue too: {} tasks wait, max_queue_size "
                               "is {}",
                               placement.winner.value, held_, setup_.max_queue_size))
          .with_retry_after_ms(std::max<int64_t>(one.service_us / kMillisecond, 1000));
    const uint64_t number = add_task(std::move(spec), site, placement, /*promised=*/!waits);
    fresh.push_back(number);
    Task& task = at(number);
    task.pinned = request.specific_device || grouped ||
                  (request.strategy == Strategy::kTaskSpecific && placement.note.empty());
    PlacementRequest asked = request;
    asked.type = type;
    keep_explanation(task, placement, seen, asked, before);
  }
  return {};
}

// Whether all that is unfinished are `own` tasks and every replica of the deployment runs: then
// waiting frees no more room.
bool Core::nothing_else(uint32_t deployment, size_t own) const {
  return unfinished_ == own && tickets_.empty() &&
         std::ranges::all_of(deployments_[deployment].slots, [&](uint32_t index) {
           const Slot& slot = slots_[index];
           return slot.given_up || (slot.state == ReplicaState::kRunning && slot.runs.empty());
         });
}

uint64_t Core::add_task(TaskSpec spec, uint32_t site, const Placement& placement, bool promised) {
  const uint64_t number = next_task_++;
  Task& task = tasks_[number];
  task.number = number;
  task.spec = std::move(spec);
  task.site = site;
  task.created = now_;
  task.note = placement.note;
  task.prompt_tokens = static_cast<uint32_t>(task.spec.prompt.size());
  task.tokens_ahead = task.prompt_tokens + static_cast<uint64_t>(std::max(task.spec.tokens_max, 0));
  number_of_[task.spec.id] = number;
  if (!task.spec.idempotency_key.empty())
    by_key_[{task.spec.owner, task.spec.idempotency_key}] = number;
  if (task.spec.batch_group != 0) groups_[task.spec.batch_group].push_back(number);
  if (task.spec.durable) listing_[task.spec.owner][static_cast<size_t>(task.status)].insert(number);
  Site& one = sites_[site];
  ++one.queued;
  ++device_of(task).queued;
  ++deployments_[one.deployment].queued;
  one.tokens_ahead += task.tokens_ahead;
  ++unfinished_;
  count_adapter_task(task, true);
  hold(task, !promised);
  reserve_if_room(task);
  return number;
}

void Core::keep_explanation(const Task& task, const Placement& placement,
                            std::span<const PlacementDevice> seen, const PlacementRequest& request,
                            const scheduler::PlacementCursor& before) {
  Explanation& kept = explanations_[task.number];
  kept.task = task.spec.id;
  kept.strategy = placement.strategy;
  kept.winner = placement.winner;
  kept.runner_up = placement.runner_up;
  kept.reason = placement.reason;
  for (const scheduler::Assessment& rejected : placement.rejected)
    if (kept.rejected.size() < kRejectionsMax)
      kept.rejected.push_back({rejected.device, rejected.reason});
  kept.alternatives = scheduler::alternatives(policy_, seen, request, before, placement.strategy);
  kept.epoch = epoch_ - 1;
  while (explanations_.size() > kExplanationsMax) explanations_.erase(explanations_.begin());
}

// Takes back a task that was not accepted, or forgets one that is over.
void Core::remove_task(Task& task) {
  if (task.phase == Phase::kJournaling) {
    Site& site = site_of(task);
    --site.queued;
    --device_of(task).queued;
    --deployments_[site.deployment].queued;
    site.tokens_ahead -= task.tokens_ahead;
    --unfinished_;
    count_adapter_task(task, false);
    hold(task, false);
    unreserve(task);
    if (task.spec.batch_group != 0) {
      std::erase(groups_[task.spec.batch_group], task.number);
      if (groups_[task.spec.batch_group].empty()) groups_.erase(task.spec.batch_group);
    }
  }
  number_of_.erase(task.spec.id);
  if (const auto key = by_key_.find({task.spec.owner, task.spec.idempotency_key});
      key != by_key_.end() && key->second == task.number)
    by_key_.erase(key);
  if (task.spec.durable) {
    const auto owner = listing_.find(task.spec.owner);
    owner->second[static_cast<size_t>(task.status)].erase(task.number);
    if (std::ranges::all_of(owner->second, [](const auto& numbers) { return numbers.empty(); }))
      listing_.erase(owner);
  }
  explanations_.erase(task.number);
  tasks_.erase(task.number);
}

// Whether the task counts against max_queue_size until it runs.
void Core::hold(Task& task, bool held) {
  if (task.held == held) return;
  task.held = held;
  const uint32_t one = held ? 1 : static_cast<uint32_t>(-1);
  held_ += one;
  deployments_[site_of(task).deployment].held += one;
}

// The journal has them: they wait, and start if they can; then whoever waits for them is answered.
void Core::accepted(const std::vector<uint64_t>& tasks, Out& out) {
  std::set<uint64_t> answered;
  for (const uint64_t number : tasks) {
    Task& task = at(number);
    for (const uint64_t ticket : std::exchange(task.submissions, {})) {
      --submissions_.at(ticket).unresolved;
      answered.insert(ticket);
    }
    task.phase = Phase::kWaiting;
    enqueue(task, /*front=*/false);
  }
  dispatch(out);
  for (const uint64_t ticket : answered) answer(ticket, out);
  for (const uint64_t number : tasks) {
    const auto found = tasks_.find(number);
    if (found != tasks_.end() && found->second.cancel_asked && found->second.phase < Phase::kEnding)
      end_task(found->second, TaskStatus::kCanceled, out);
  }
}

void Core::not_accepted(const std::vector<uint64_t>& tasks, const std::string& why, Out& out) {
  std::set<uint64_t> failed;
  for (const uint64_t number : tasks)
    for (const uint64_t ticket : at(number).submissions) failed.insert(ticket);
  for (const uint64_t ticket : failed) {
    out.push_back(AnswerSubmission{
        ticket, unavailable("the journal can't be written, nothing was accepted: " + why)});
    // Its other tasks (repeats of tasks still on their way) are not answered any more.
    for (const uint64_t number : submissions_.at(ticket).tasks)
      if (tasks_.contains(number)) std::erase(at(number).submissions, ticket);
    submissions_.erase(ticket);
  }
  for (const uint64_t number : tasks) {
    dirty_sites_.insert(at(number).site);
    remove_task(at(number));
  }
  out.push_back(LogWarning{fmt::format("{} tasks were not accepted: {}", tasks.size(), why)});
}

// Once nothing of the submission is on its way to the journal.
void Core::answer(uint64_t ticket, Out& out) {
  const auto found = submissions_.find(ticket);
  if (found == submissions_.end() || found->second.unresolved > 0) return;
  std::vector<Placed> placed;
  for (size_t i = 0; i < found->second.tasks.size(); ++i) {
    const auto task = tasks_.find(found->second.tasks[i]);
    placed.push_back(found->second.placed[i]);  // Of one that was forgotten meanwhile.
    if (task == tasks_.end()) continue;
    placed.back().device = sites_[task->second.site].device;
    placed.back().status = task->second.status;
  }
  out.push_back(AnswerSubmission{ticket, std::move(placed)});
  submissions_.erase(found);
}

void Core::on(TasksRestored& event, Out& out) {
  for (journal::RestoredTask& restored : event.tasks) this->restore(restored, out);
}

std::optional<uint32_t> Core::site_on(uint32_t deployment, DeviceId device) const {
  for (const uint32_t site : deployments_[deployment].sites)
    if (sites_[site].device == device) return site;
  return std::nullopt;
}

// Where a restored task is shown and, unless it is over, goes on. A site without replicas holds it
// where its deployment has none for it: nothing starts there.
uint32_t Core::site_for_restored(uint32_t deployment, const journal::RestoredTask& restored) {
  if (const auto site = site_on(deployment, restored.device)) return *site;
  const DeviceId was = restored.device;
  const bool there = was.value >= 0 && static_cast<size_t>(was.value) < devices_.size();
  const std::vector<uint32_t>& sites = deployments_[deployment].sites;
  if (!sites.empty() && !(there && is_over(restored.status))) return sites.front();
  const DeviceId device = there ? was : DeviceId{0};
  for (uint32_t site = 0; site < sites_.size(); ++site)
    if (sites_[site].slots.empty() && sites_[site].deployment == deployment &&
        sites_[site].device == device)
      return site;
  const auto site = static_cast<uint32_t>(sites_.size());
  sites_.push_back({.deployment = deployment, .device = device});
  devices_[static_cast<size_t>(device.value)].sites.push_back(site);
  return site;
}

void Core::restore(journal::RestoredTask& restored, Out& out) {
  if (number_of_.contains(restored.spec.id)) return;
  const auto deployment = find_deployment(restored.spec.deployment, "");
  const uint32_t site = site_for_restored(deployment.value_or(default_deployment_), restored);
  const bool moved = sites_[site].device != restored.device;
  Placement placement;
  if (moved && is_over(restored.status))
    placement.note =
        fmt::format("ran on device {}, which is not there any more", restored.device.value);
  const uint64_t number = add_task(std::move(restored.spec), site, placement, /*promised=*/true);
  Task& task = at(number);
  task.created = restored.accepted_at;
  task.started = restored.started_at;
  task.first_token = restored.first_token_at;
  task.generated = std::move(restored.generated);
  task.journaled = task.flushing_to = static_cast<uint32_t>(task.generated.size());
  task.text_unknown = !task.generated.empty();
  task.pinned = task.spec.specific_device.has_value() && !moved;
  if (is_over(restored.status)) {
    task.end = restored.status;
    task.result = std::move(restored.result);
    task.error_code = restored.error_code;
    task.error = std::move(restored.error);
    task.finished = restored.finished_at;
    task.phase = Phase::kWaiting;
    queue_.push({number, site, task.spec.priority, now_, INT64_MAX, false});
    leave_phase(task, out);
    over(task, out);
    return;
  }
  task.phase = Phase::kWaiting;
  enqueue(task, /*front=*/restored.starts > 0);
  if (!deployment)
    fail_task(task, ErrorCode::kNotFound,
              fmt::format("deployment '{}' is not served any more", task.spec.deployment), out);
  else if (deployments_[*deployment].slots.empty())
    fail_task(task, ErrorCode::kUnavailable,
              fmt::format("deployment '{}' has no replica any more", task.spec.deployment), out);
  else if (const auto there = check_adapter(*deployment, task.spec.adapter); !there.ok())
    fail_task(task, ErrorCode::kNotFound, there.error().message(), out);
}

}  // namespace altlas::control
