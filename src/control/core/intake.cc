#include "control/core/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/share.h"

namespace altlas::control {

using scheduler::Placement;
using scheduler::PlacementDevice;
using scheduler::PlacementRequest;

namespace {

Explanation explain(const scheduler::PlacementPolicy& policy, const Placement& placement,
                    const scheduler::PlacementIndex& seen, const PlacementRequest& request,
                    const scheduler::PlacementCursor& before, uint64_t epoch) {
  Explanation out;
  out.strategy = placement.strategy;
  out.winner = placement.winner;
  out.runner_up = placement.runner_up;
  out.reason = placement.reason;
  for (const scheduler::Assessment& rejected : placement.rejected)
    out.rejected.push_back({rejected.device, rejected.reason});
  out.alternatives = scheduler::alternatives(policy, seen, request, before, placement.strategy);
  out.epoch = epoch;
  return out;
}

}  // namespace

// ---- Places in the queue ----

Result<void> Intake::accepting(uint32_t deployment) const {
  if (in_.stage.draining) return unavailable("the server is draining and takes no new tasks");
  const Deployment& one = in_.fleet.deployment(deployment);
  if (one.given_up())
    return unavailable(fmt::format("deployment '{}' can't be loaded: {}", one.setup.name,
                                   in_.fleet.why_given_up(deployment)));
  if (one.target == 0 && !one.wakes())
    return unavailable(
        fmt::format("deployment '{0}' was scaled to no replica; altlas scale {0} 1 starts one",
                    one.setup.name));
  return {};
}

// Whether `tasks` tasks of one request could ever be here at once; whether there is room for them
// now is checked elsewhere.  Errors: kInvalid with the limit, as trying again can't help.
Result<void> Intake::fits_at_all(uint32_t deployment, const std::string& owner, uint64_t tasks,
                                 Spread spread, std::optional<DeviceId> device) const {
  uint64_t places = 0;
  if (device) {
    if (const auto site = in_.fleet.site_on(deployment, *device)) {
      const auto here = in_.view.places_at_most_on(*site);
      if (!here) return {};
      places = *here;
    }
  } else {
    const auto here = in_.view.places_at_most(deployment);
    if (!here) return {};
    places = spread == Spread::kAll ? here->all : here->largest;
  }
  const uint32_t queue = in_.setup.max_queue_size;
  const uint64_t waiting = std::min(queue, in_.fleet.deployment(deployment).setup.max_queued);
  const auto most = share_of(owner, static_cast<int64_t>(waiting + places));
  if (static_cast<int64_t>(tasks) <= most) return {};
  return invalid(
      fmt::format("the request makes {} tasks, at most {} are possible at once: {} run "
                  "{}, and {} wait ({}){}; send it in parts",
                  tasks, most, places, spread == Spread::kAll ? "on all devices" : "on one device",
                  waiting, waiting == queue ? "max_queue_size" : "max_queued_requests",
                  owner.empty() ? "" : ", of which a key may have three quarters"));
}

// Whether the key's tasks leave room for others', in the queue and in the deployment's part of it.
Result<void> Intake::has_share(uint32_t deployment, const std::string& owner, uint32_t tasks,
                               uint32_t places) const {
  const Admissions& all = in_.admissions;
  const auto check = [&](int64_t own, int64_t taken, int64_t most) -> Result<void> {
    const int64_t share = share_of(owner, most + places - (taken - own));
    if (own + tasks <= share) return {};
    return Error(ErrorCode::kBusy,
                 fmt::format("the key's tasks take {} places of the queue, of {}: {}", own,
                             most + places, kShareRule))
        .with_retry_after_ms(
            std::max<int64_t>(in_.fleet.deployment(deployment).service_us / kMillisecond, 1000));
  };
  ALTLAS_TRY_VOID(
      check(all.of_owner(owner), int64_t{all.held()} + all.promised(), in_.setup.max_queue_size));
  return check(all.of_owner(deployment, owner),
               int64_t{all.held(deployment)} + all.promised(deployment),
               in_.fleet.deployment(deployment).setup.max_queued);
}

// Whether there are places in the queue now.  Errors: kBusy with the time after which to try again.
Result<void> Intake::has_places(uint32_t deployment, const std::string& owner,
                                uint32_t tasks) const {
  const Deployment& one = in_.fleet.deployment(deployment);
  const uint32_t places = in_.view.free_places_of_deployment(deployment);
  const int64_t slots = std::max<uint32_t>(one.target, 1);
  const int64_t service = one.service_us / slots;
  const Admissions& all = in_.admissions;
  ALTLAS_TRY_VOID(in_.waiting.queue().admits(all.held() + all.promised(), tasks, places, service));
  if (uint64_t{all.promised(deployment)} + all.held(deployment) + tasks >
      uint64_t{one.setup.max_queued} + places)
    return Error(ErrorCode::kBusy,
                 fmt::format("{} tasks of deployment '{}' wait, max_queued_requests is {}",
                             all.held(deployment), one.setup.name, one.setup.max_queued))
        .with_retry_after_ms(std::max<int64_t>(service / kMillisecond, 1000));
  if (all.tickets() >= kTicketsMax)
    return Error(ErrorCode::kBusy, "too many requests are being read").with_retry_after_ms(1000);
  return has_share(deployment, owner, tasks, places);
}

void Intake::admit(const AdmissionRequested& event, Step& step) {
  const auto decide = [&]() -> Result<void> {
    const auto deployment = in_.fleet.find_deployment(event.deployment, "");
    if (!deployment) return not_found(fmt::format("there is no deployment '{}'", event.deployment));
    ALTLAS_TRY_VOID(accepting(*deployment));
    if (in_.admissions.has_ticket(event.ticket))
      return Error(ErrorCode::kInternal, "a ticket was used twice");
    ALTLAS_TRY_VOID(fits_at_all(*deployment, event.owner, event.tasks, Spread::kAll));
    ALTLAS_TRY_VOID(has_places(*deployment, event.owner, event.tasks));
    in_.admissions.grant(event.ticket, *deployment, event.tasks, event.owner);
    return {};
  };
  step.out.push_back(AnswerAdmission{event.ticket, decide()});
}

// ---- Submission ----

void Intake::submit(TasksSubmitted& event, uint64_t epoch, Step& step) {
  in_.admissions.give_back(event.ticket);
  if (in_.admissions.has_submission(event.ticket)) {
    step.out.push_back(LogWarning{"a ticket was submitted twice; the second was dropped"});
    return;
  }
  std::vector<uint64_t> fresh;
  std::vector<scheduler::PlacementCursor> cursors;
  for (const Deployment& one : in_.fleet.deployments()) cursors.push_back(one.cursor);
  auto made = make(event, epoch, fresh, step.now);
  if (!made.ok()) {
    for (const uint64_t number : fresh) in_.life.take_back(in_.tasks.at(number));
    for (uint32_t i = 0; i < cursors.size(); ++i) in_.fleet.cursor(i) = cursors[i];
    step.out.push_back(AnswerSubmission{event.ticket, made.error()});
    return;
  }
  Submission submission;
  submission.tasks = std::move(made->numbers);
  for (size_t i = 0; i < submission.tasks.size(); ++i) {
    if (const auto gone = made->forgotten.find(i); gone != made->forgotten.end()) {
      submission.placed.push_back(gone->second);
      continue;
    }
    Task& task = in_.tasks.at(submission.tasks[i]);
    submission.placed.push_back({task.spec.id, in_.fleet.site(task.site).device, task.status});
    if (task.phase != TaskPhase::kJournaling) continue;
    task.submissions.push_back(event.ticket);
    ++submission.unresolved;
  }
  in_.admissions.add(event.ticket, std::move(submission));
  JournalWrite write{JournalWrite::Kind::kAccept, {}};
  std::vector<uint64_t> at_once;
  std::vector<journal::TaskEvent> events;
  for (const uint64_t number : fresh) {
    const Task& task = in_.tasks.at(number);
    if (!task.spec.durable) {
      at_once.push_back(number);
      continue;
    }
    write.tasks.push_back(number);
    events.push_back({task.spec.id, step.now,
                      journal::TaskAccepted{task.spec, in_.fleet.site(task.site).device}});
  }
  if (!events.empty()) in_.journal.append(std::move(write), std::move(events), step);
  accepted(at_once, step);
  answer(event.ticket, step);
}

// Checks each spec by itself, and sorts new tasks from repeats.
Result<Intake::Sorted> Intake::sort(std::vector<TaskSpec>& specs, TimeUs now) const {
  Sorted out;
  out.numbers.resize(specs.size(), 0);
  out.repeats.resize(specs.size(), SIZE_MAX);
  std::map<std::pair<std::string, std::string>, size_t> first_of;
  for (size_t i = 0; i < specs.size(); ++i) {
    TaskSpec& spec = specs[i];
    const auto deployment = in_.fleet.find_deployment(spec.deployment, spec.type);
    if (!deployment) return not_found(fmt::format("there is no deployment '{}'", spec.deployment));
    ALTLAS_TRY_VOID(accepting(*deployment));
    ALTLAS_TRY_VOID(in_.adapters.check(*deployment, spec.adapter));
    spec.deployment = in_.fleet.deployment(*deployment).setup.name;
    ALTLAS_TRY(const TaskTable::Known found,
               in_.tasks.known(spec, now, in_.setup.idempotency_key_ttl_us));
    if (found.left != nullptr) {
      out.forgotten[i] = {found.left->task, found.left->device, found.left->status};
      continue;
    }
    out.numbers[i] = found.number;
    if (found.number != 0) continue;
    if (!spec.idempotency_key.empty()) {
      const auto [first, added] = first_of.emplace(std::pair(spec.owner, spec.idempotency_key), i);
      if (!added) {
        if (specs[first->second].body_hash != spec.body_hash)
          return Error(ErrorCode::kConflict,
                       fmt::format("idempotency_key '{}' stands for two bodies in this batch",
                                   spec.idempotency_key));
        out.repeats[i] = first->second;
        continue;
      }
    }
    out.fresh.push_back(i);
  }
  return out;
}

// Makes the tasks of the submission, in the order of its specs. Everything is checked before
// anything is accepted; on an error the caller takes back `fresh`, the tasks that are new.
Result<Intake::Sorted> Intake::make(TasksSubmitted& event, uint64_t epoch,
                                    std::vector<uint64_t>& fresh, TimeUs now) {
  if (event.specs.empty()) return invalid("a batch needs at least one task", "batch");
  if (in_.stage.draining) return unavailable("the server is draining and takes no new tasks");
  ALTLAS_TRY(Sorted sorted, sort(event.specs, now));
  TasksSubmitted todo{event.ticket, {}, event.split, event.min_per_device};
  for (const size_t i : sorted.fresh) todo.specs.push_back(std::move(event.specs[i]));
  const size_t count = todo.specs.size();
  if (count > 0) {
    const TaskSpec& head = todo.specs.front();
    const bool one_device = !event.split || head.specific_device.has_value();
    ALTLAS_TRY_VOID(fits_at_all(*in_.fleet.find_deployment(head.deployment, ""), head.owner, count,
                                one_device ? Spread::kOneDevice : Spread::kAll,
                                head.specific_device));
  }
  const size_t groups =
      !event.split ? 1 : std::max<size_t>(1, count / std::max<uint32_t>(1, event.min_per_device));
  for (size_t group = 0, first = 0; group < groups && count > 0; ++group) {
    const size_t end = count * (group + 1) / groups;
    ALTLAS_TRY_VOID(place_group(todo, {first, end}, epoch, fresh, now));
    first = end;
  }
  std::vector<uint64_t>& numbers = sorted.numbers;
  for (size_t i = 0; i < sorted.fresh.size(); ++i) numbers[sorted.fresh[i]] = fresh[i];
  for (size_t i = 0; i < numbers.size(); ++i)
    if (sorted.repeats[i] != SIZE_MAX) numbers[i] = numbers[sorted.repeats[i]];
  return sorted;
}

PlacementRequest Intake::placement_request(const TasksSubmitted& event, Range group) const {
  const TaskSpec& head = event.specs[group.begin];
  PlacementRequest request;
  request.strategy = head.strategy.value_or(in_.setup.strategy);
  request.type = head.type;
  for (size_t i = group.begin; i < group.end; ++i) {
    const TaskSpec& spec = event.specs[i];
    const auto prompt = static_cast<uint32_t>(spec.prompt.size());
    if (!request.specific_device) request.specific_device = spec.specific_device;
    // The group runs together if it can, one task after another if it must, so only each task by
    // itself must fit.
    request.estimated_memory = std::max(request.estimated_memory, spec.estimated_memory);
    request.prompt_tokens = std::max(request.prompt_tokens, prompt);
    request.sequence_tokens = std::max(
        request.sequence_tokens, prompt + static_cast<uint32_t>(std::max(spec.tokens_max, 0)));
  }
  return request;
}

// Places a group of neighbouring tasks on one device.
Result<void> Intake::place_group(TasksSubmitted& event, Range group, uint64_t epoch,
                                 std::vector<uint64_t>& fresh, TimeUs now) {
  const PlacementRequest request = placement_request(event, group);
  const uint32_t deployment = *in_.fleet.find_deployment(event.specs[group.begin].deployment, "");
  for (size_t i = group.begin; i < group.end; ++i)
    if (event.specs[i].deployment != event.specs[group.begin].deployment)
      return invalid("tasks that share a device must be of one deployment", "batch");
  const scheduler::PlacementIndex& seen = in_.view.deployment(
      deployment, event.specs[group.begin].adapter, event.specs[group.begin].prompt);
  const scheduler::PlacementCursor before = in_.fleet.deployment(deployment).cursor;
  ALTLAS_TRY(const Placement placement,
             scheduler::choose(in_.view.policy(), seen, request, in_.fleet.cursor(deployment)));
  Explanation explanation = explain(in_.view.policy(), placement, seen, request, before, epoch);
  const auto site = in_.fleet.site_on(deployment, placement.winner);
  ALTLAS_CHECK(site.has_value(), "placement chooses among the deployment's sites");
  if (in_.fleet.deployment(deployment).target > 0 && !in_.fleet.is_wanted_on(*site))
    return unavailable(fmt::format(
        "deployment '{}' has no replica on device {} now: {} of at most {} replicas are wanted",
        in_.fleet.deployment(deployment).setup.name, placement.winner.value,
        in_.fleet.deployment(deployment).target, in_.fleet.deployment(deployment).slots.size()));
  const bool grouped = !event.split && group.size() > 1;
  const bool pinned = request.specific_device || grouped ||
                      (request.strategy == Strategy::kTaskSpecific && placement.note.empty());
  const uint64_t number = grouped ? Hasher().add(event.ticket).add(epoch + 1).value() | 1 : 0;
  for (size_t i = group.begin; i < group.end; ++i) {
    TaskSpec& spec = event.specs[i];
    spec.batch_group = number;
    const bool waits =
        placement.standing != scheduler::Standing::kEligible || in_.view.free_places(*site) == 0;
    if (waits) ALTLAS_TRY_VOID(has_room(placement, *site, event.specs.size(), fresh.size()));
    Task& task = in_.life.add(std::move(spec), *site, placement.note, /*promised=*/!waits, now);
    fresh.push_back(task.number);
    task.pinned = pinned;
    explanation.task = task.spec.id;
    in_.tasks.keep_explanation(task, explanation);
  }
  return {};
}

// Whether one more task may wait.  Errors: kBusy; or kInvalid where waiting can't help, since the
// request's own tasks alone (`own` of `tasks` are here already) don't fit.
Result<void> Intake::has_room(const Placement& placement, uint32_t site, size_t tasks,
                              size_t own) const {
  const uint32_t held = in_.admissions.held(), most = in_.setup.max_queue_size;
  if (held < most) return {};
  const uint32_t deployment = in_.fleet.site(site).deployment;
  if (nothing_else(deployment, own))
    return invalid(
        fmt::format("the request makes {} tasks, they don't fit where they are to run "
                    "though nothing else is here: max_queue_size is {}; send it in "
                    "parts",
                    tasks, most));
  return Error(ErrorCode::kBusy,
               fmt::format("device {} is full and the queue too: {} tasks wait, max_queue_size "
                           "is {}",
                           placement.winner.value, held, most))
      .with_retry_after_ms(
          std::max<int64_t>(in_.fleet.deployment(deployment).service_us / kMillisecond, 1000));
}

// Whether `own` tasks are the only unfinished ones and every replica of the deployment runs:
// waiting then frees no more room.
bool Intake::nothing_else(uint32_t deployment, size_t own) const {
  return in_.tasks.unfinished() == own && in_.admissions.tickets() == 0 &&
         std::ranges::all_of(in_.fleet.deployment(deployment).slots, [&](uint32_t index) {
           const ReplicaSlot& slot = in_.fleet.slot(index);
           return slot.given_up || !slot.wanted ||
                  (slot.state == ReplicaState::kRunning && slot.runs.empty());
         });
}

// ---- The journal's answer ----

void Intake::accepted(const std::vector<uint64_t>& tasks, Step& step) {
  std::set<uint64_t> answered;
  for (const uint64_t number : tasks) {
    Task& task = in_.tasks.at(number);
    for (const uint64_t ticket : std::exchange(task.submissions, {})) {
      in_.admissions.task_is_durable(ticket);
      answered.insert(ticket);
    }
    in_.life.wait(task, /*front=*/false, step.now);
  }
  in_.dispatcher.dispatch(step);
  for (const uint64_t ticket : answered) answer(ticket, step);
  for (const uint64_t number : tasks) {
    Task* task = in_.tasks.find(number);
    if (task != nullptr && task->cancel_asked && is_open(*task))
      in_.life.end(*task, TaskStatus::kCanceled, step);
  }
}

void Intake::not_accepted(const std::vector<uint64_t>& tasks, const std::string& why, Step& step) {
  std::set<uint64_t> failed;
  for (const uint64_t number : tasks)
    for (const uint64_t ticket : in_.tasks.at(number).submissions) failed.insert(ticket);
  for (const uint64_t ticket : failed) {
    step.out.push_back(AnswerSubmission{
        ticket, unavailable("the journal can't be written, nothing was accepted: " + why)});
    // Nobody waits any more for its other tasks (repeats of tasks that are still on their way).
    for (const uint64_t number : in_.admissions.take(ticket).tasks)
      if (Task* task = in_.tasks.find(number)) std::erase(task->submissions, ticket);
  }
  for (const uint64_t number : tasks) {
    in_.waiting.look_at(in_.tasks.at(number).site);
    in_.life.take_back(in_.tasks.at(number));
  }
  step.out.push_back(LogWarning{fmt::format("{} tasks were not accepted: {}", tasks.size(), why)});
}

// Answers a submission once none of its tasks is on its way to the journal.
void Intake::answer(uint64_t ticket, Step& step) {
  if (!in_.admissions.is_resolved(ticket)) return;
  Submission submission = in_.admissions.take(ticket);
  for (size_t i = 0; i < submission.tasks.size(); ++i) {
    const Task* task = in_.tasks.find(submission.tasks[i]);
    if (task == nullptr) continue;  // It was forgotten meanwhile.
    submission.placed[i].device = in_.fleet.site(task->site).device;
    submission.placed[i].status = task->status;
  }
  step.out.push_back(AnswerSubmission{ticket, std::move(submission.placed)});
}

// ---- After a restart ----

void Intake::restore(journal::RestoredTask& restored, Step& step) {
  if (in_.tasks.find(restored.spec.id) != nullptr) return;
  const auto deployment = in_.fleet.find_deployment(restored.spec.deployment, "");
  const uint32_t site =
      in_.fleet.site_for_restored(deployment.value_or(in_.fleet.default_deployment()), restored);
  const bool moved = in_.fleet.site(site).device != restored.device;
  std::string note;
  if (moved && is_over(restored.status))
    note = fmt::format("ran on device {}, which is not there any more", restored.device.value);
  Task& task =
      in_.life.add(std::move(restored.spec), site, std::move(note), /*promised=*/true, step.now);
  if (moved && !is_over(restored.status))
    task.moves.push_back({restored.device, in_.fleet.site(site).device, step.now,
                          "its device is not there any more after a restart"});
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
    return in_.life.restore_over(task, step);
  }
  in_.life.wait(task, /*front=*/restored.starts > 0, step.now);
  if (!deployment)
    in_.life.fail(task, ErrorCode::kNotFound,
                  fmt::format("deployment '{}' is not served any more", task.spec.deployment),
                  step);
  else if (in_.fleet.deployment(*deployment).slots.empty())
    in_.life.fail(task, ErrorCode::kUnavailable,
                  fmt::format("deployment '{}' has no replica any more", task.spec.deployment),
                  step);
  else if (const auto there = in_.adapters.check(*deployment, task.spec.adapter); !there.ok())
    in_.life.fail(task, ErrorCode::kNotFound, there.error().message(), step);
}

}  // namespace altlas::control
