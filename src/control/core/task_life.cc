#include "control/core/task_life.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/check.h"
#include "base/drop.h"

namespace altlas::control {
namespace {

// Cuts what was seen before off the front of `delta`. Returns false if there is a gap.
bool cut_seen(TokenDelta& delta, size_t tokens_seen, uint64_t text_seen) {
  if (delta.first_index > tokens_seen || delta.text_offset > text_seen) return false;
  const size_t ids = std::min(tokens_seen - delta.first_index, delta.ids.size());
  delta.ids.erase(delta.ids.begin(), delta.ids.begin() + static_cast<ptrdiff_t>(ids));
  if (!delta.logprobs.empty())
    delta.logprobs.erase(
        delta.logprobs.begin(),
        delta.logprobs.begin() + static_cast<ptrdiff_t>(std::min(ids, delta.logprobs.size())));
  if (tokens_seen > 0) delta.prompt_logprobs.clear();
  delta.first_index = static_cast<uint32_t>(tokens_seen);
  delta.text.erase(0, std::min<uint64_t>(text_seen - delta.text_offset, delta.text.size()));
  delta.text_offset = text_seen;
  return true;
}

PromisedMemory promise_of(const Task& task) {
  return {task.spec.estimated_memory, task.site, request_of(task).sequence_tokens};
}

engine::SubmitSequence command_of(const Task& task, const WaitingTasks& waiting) {
  engine::SubmitSequence out;
  out.sequence = task.sequence;
  out.prompt = task.spec.prompt;
  out.generated = task.generated;
  out.tokens_max = task.spec.tokens_max;
  out.level = waiting.level(task);
  out.turn = waiting.turn(task);
  out.sampling = task.spec.sampling;
  out.adapter = task.spec.adapter;
  out.embeds = task.spec.embeds;
  return out;
}

}  // namespace

scheduler::PlacementRequest request_of(const Task& task) {
  scheduler::PlacementRequest out;
  out.prompt_tokens = task.prompt_tokens + static_cast<uint32_t>(task.generated.size());
  out.sequence_tokens =
      task.prompt_tokens + static_cast<uint32_t>(std::max(task.spec.tokens_max, 0));
  out.estimated_memory = task.spec.estimated_memory;
  return out;
}

// ---- Coming, waiting, running ----

Task& TaskLife::add(TaskSpec spec, uint32_t site, std::string note, bool promised, TimeUs now) {
  Task& task = in_.tasks.add(std::move(spec), now);
  task.site = site;
  task.note = std::move(note);
  in_.fleet.count(site, {.queued = 1, .tokens_ahead = static_cast<int64_t>(task.tokens_ahead)});
  in_.adapters.count_task(in_.fleet.site(site).deployment, task.spec.adapter, true);
  hold(task, !promised);
  reserve_if_room(task);
  return task;
}

void TaskLife::take_back(Task& task) {
  in_.fleet.count(task.site,
                  {.queued = -1, .tokens_ahead = -static_cast<int64_t>(task.tokens_ahead)});
  in_.adapters.count_task(in_.fleet.site(task.site).deployment, task.spec.adapter, false);
  hold(task, false);
  unreserve(task);
  in_.tasks.remove(task);
}

void TaskLife::wait(Task& task, bool front, TimeUs now) {
  task.phase = TaskPhase::kWaiting;
  const TimeUs expires =
      std::min(now + in_.setup.queue_timeout_us, task.spec.deadline.value_or(INT64_MAX));
  in_.waiting.push(task, expires, front);
  const uint32_t deployment = in_.fleet.site(task.site).deployment;
  if (in_.fleet.deployment(deployment).target == 0 || in_.fleet.is_wanted_on(task.site)) return;
  if (const auto to = in_.fleet.site_of_wanted(deployment))
    move(task, *to, std::string(kNotWantedHere), now);
}

void TaskLife::move(Task& task, uint32_t to, std::string reason, TimeUs now) {
  task.moves.push_back({device_of(task), in_.fleet.site(to).device, now, std::move(reason)});
  if (task.moves.size() > kMovesMax) task.moves.erase(task.moves.begin());
  const auto ahead = static_cast<int64_t>(task.tokens_ahead);
  in_.fleet.count(task.site, {.queued = -1, .tokens_ahead = -ahead});
  unreserve(task);
  in_.waiting.move(task, to);
  task.site = to;
  in_.fleet.count(to, {.queued = 1, .tokens_ahead = ahead});
  reserve_if_room(task);
}

void TaskLife::start(Task& task, uint32_t slot, Step& step) {
  in_.waiting.erase(task);
  hold(task, false);
  reserve(task);
  in_.ledger.keep_for_run(device_of(task), task.number);
  in_.fleet.count(task.site, {.running = 1, .queued = -1});
  task.phase = TaskPhase::kRunning;
  task.slot = slot;
  if (!task.started) task.started = step.now;
  in_.tasks.watch_deadline(task);
  const scheduler::PlacementRequest request = request_of(task);
  task.sequence = in_.fleet.begin_run(slot, task.number, request.prompt_tokens,
                                      request.sequence_tokens, step.now);
  give_up_reservations(slot);
  in_.fleet.prompt_runs(task.site, task.spec.adapter, task.spec.prompt);
  step.out.push_back(SendCommand{in_.fleet.slot(slot).leader(), command_of(task, in_.waiting)});
  if (task.spec.durable)
    in_.journal.add_note({task.spec.id, step.now, journal::TaskStarted{device_of(task)}}, step.now);
  show(task, TaskStatus::kRunning, step);
}

void TaskLife::come_back(Task& task, const std::string& why, bool crashed, Step& step) {
  if (crashed && ++task.crashes >= in_.setup.crashes_max)
    return fail(task, ErrorCode::kInternal,
                fmt::format("it ran at {} crashes of replicas and is not tried again; the last: {}",
                            task.crashes, why),
                step);
  in_.fleet.count(task.site, {.running = -1, .queued = 1});
  in_.tasks.unwatch_deadline(task);
  if (task.reserved) in_.ledger.promise_again(device_of(task), task.number, promise_of(task));
  wait(task, /*front=*/true, step.now);
  show(task, TaskStatus::kQueued, step);
}

// Whether the task counts against max_queue_size until it runs.
void TaskLife::hold(Task& task, bool held) {
  if (task.held == held) return;
  task.held = held;
  in_.admissions.hold(in_.fleet.site(task.site).deployment, task.spec.owner, held);
}

// ---- What a replica says ----

Result<void> TaskLife::tokens(uint32_t slot, engine::SequenceTokens& report, Step& step) {
  const auto& runs = in_.fleet.slot(slot).runs;
  const auto run = runs.find(report.sequence);
  if (run == runs.end() || run->second.task == 0) return {};
  Task& task = in_.tasks.at(run->second.task);
  TokenDelta& delta = report.delta;
  if (task.text_unknown && delta.text_offset > task.text_seen) {
    task.text_seen = delta.text_offset;
    task.text_unknown = false;
  }
  if (!cut_seen(delta, task.generated.size(), task.text_seen))
    return Error(
        ErrorCode::kInternal,
        fmt::format("it left out tokens or text of a sequence (token {} after {}, byte "
                    "{} after {})",
                    delta.first_index, task.generated.size(), delta.text_offset, task.text_seen));
  if (task.generated.size() + delta.ids.size() >
      static_cast<size_t>(std::max(task.spec.tokens_max, 0)))
    return Error(ErrorCode::kInternal, "it generated more tokens than were asked for");
  if (delta.ids.empty() && delta.text.empty()) return {};
  task.generated.insert(task.generated.end(), delta.ids.begin(), delta.ids.end());
  task.text_seen += delta.text.size();
  if (!task.first_token) {
    task.first_token = step.now;
    in_.waiting.served(task);
  }
  const auto total = task.prompt_tokens + static_cast<uint32_t>(task.generated.size());
  const uint64_t progress = std::min<uint64_t>(task.tokens_ahead, total - run->second.tokens);
  task.tokens_ahead -= progress;
  in_.fleet.count(task.site, {.tokens_ahead = -static_cast<int64_t>(progress)});
  in_.fleet.run_goes_on(slot, report.sequence, total, step.now);
  if (task.spec.durable && in_.setup.tokens == TokenJournal::kSync) {
    task.unpublished.push_back(std::move(delta));
    publish_durable(task, step);
  } else {
    publish(task, std::move(delta), step);
  }
  add_tokens_to_journal(task, step.now);
  return {};
}

void TaskLife::publish(Task& task, TokenDelta delta, Step& step) {
  task.text += delta.text;
  if (task.prompt_logprobs.empty()) task.prompt_logprobs = delta.prompt_logprobs;
  task.logprobs.insert(task.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  step.out.push_back(PublishDelta{task.spec.id, std::move(delta)});
}

// Where tokens are synchronised, publishes the deltas that are durable by now.
void TaskLife::publish_durable(Task& task, Step& step) {
  size_t count = 0;
  while (count < task.unpublished.size() &&
         task.unpublished[count].first_index + task.unpublished[count].ids.size() <= task.journaled)
    ++count;
  for (size_t i = 0; i < count; ++i) publish(task, std::move(task.unpublished[i]), step);
  task.unpublished.erase(task.unpublished.begin(),
                         task.unpublished.begin() + static_cast<ptrdiff_t>(count));
}

Task* TaskLife::run_over(uint32_t slot, SequenceId sequence, TimeUs now) {
  const auto task = in_.fleet.end_run(slot, sequence, now);
  if (!task) return nullptr;
  in_.waiting.look_at(in_.fleet.slot(slot).site);
  // The task's blocks on the other ranks' devices are free, too.
  for (const DeviceId id : in_.fleet.slot(slot).devices | std::views::drop(1))
    in_.waiting.look_at_device(id);
  return *task == 0 ? nullptr : &in_.tasks.at(*task);
}

void TaskLife::finished(uint32_t slot, engine::SequenceFinished& report, Step& step) {
  Task* task = run_over(slot, report.sequence, step.now);
  if (task == nullptr) return;
  // The result's text ends with what no delta carried.
  if (report.result.text.size() > task->text_seen) {
    TokenDelta rest;
    rest.first_index = static_cast<uint32_t>(task->generated.size());
    rest.text_offset = task->text_seen;
    rest.text = report.result.text.substr(task->text_seen);
    task->text_seen = report.result.text.size();
    if (task->spec.durable && in_.setup.tokens == TokenJournal::kSync) {
      task->unpublished.push_back(std::move(rest));
    } else {
      publish(*task, std::move(rest), step);
    }
  }
  task->result = std::move(report.result);
  in_.fleet.served(in_.fleet.slot(slot).deployment, step.now - task->started.value_or(step.now));
  end(*task, TaskStatus::kCompleted, step);
}

// ---- The end ----

void TaskLife::fail(Task& task, ErrorCode code, std::string message, Step& step) {
  task.error_code = code;
  task.error = std::move(message);
  end(task, TaskStatus::kFailed, step);
}

// Every end of a task is decided here.
void TaskLife::end(Task& task, TaskStatus end, Step& step) {
  ALTLAS_CHECK(task.phase == TaskPhase::kWaiting || task.phase == TaskPhase::kRunning,
               "a task ends once");
  leave_phase(task, step);
  task.end = end;
  task.finished = step.now;
  if (!task.spec.durable) return over(task, step);
  task.phase = TaskPhase::kEnding;
  write_end(task, step);
}

// Gives back what a waiting or running task holds.
void TaskLife::leave_phase(Task& task, Step& step) {
  SiteChange change{.tokens_ahead =
                        -static_cast<int64_t>(std::exchange(task.tokens_ahead, uint64_t{0}))};
  if (task.phase == TaskPhase::kWaiting) {
    in_.waiting.erase(task);
    hold(task, false);
    change.queued = -1;
  } else {
    change.running = -1;
    in_.tasks.unwatch_deadline(task);
    // The task's place stays taken until the replica says that the sequence is over.
    if (in_.fleet.give_up_run(task.slot, task.sequence))
      step.out.push_back(
          SendCommand{in_.fleet.slot(task.slot).leader(), engine::CancelSequence{task.sequence}});
  }
  in_.waiting.leave(task);
  in_.fleet.count(task.site, change);
  unreserve(task);
  in_.tasks.leave_group(task);
  in_.journal.drop_tokens(task.number);
  in_.waiting.look_at_device(device_of(task));
}

void TaskLife::write_end(Task& task, Step& step) {
  std::vector<journal::TaskEvent> events = in_.journal.take_notes();
  journal::TaskEvent& event = events.emplace_back();
  event.task = task.spec.id;
  event.time = *task.finished;
  if (task.end == TaskStatus::kCompleted) event.what = journal::TaskCompleted{task.result};
  if (task.end == TaskStatus::kFailed)
    event.what = journal::TaskFailed{task.error_code, task.error};
  if (task.end == TaskStatus::kCanceled) event.what = journal::TaskCanceled{};
  in_.journal.append({JournalWrite::Kind::kEnd, {task.number}}, std::move(events), step);
}

// The end is durable where it must be: from here on everybody may know.
void TaskLife::over(Task& task, Step& step) {
  for (TokenDelta& delta : task.unpublished) publish(task, std::move(delta), step);
  drop(task.unpublished);
  task.tokens_end = task.end == TaskStatus::kCompleted
                        ? task.result.tokens
                        : static_cast<uint32_t>(task.generated.size());
  in_.adapters.count_task(in_.fleet.site(task.site).deployment, task.spec.adapter, false);
  show(task, task.end, step);
  drop(task.generated);
  drop(task.spec.prompt);
  // Views show the seed; the rest may be as large as a request: grammars, biases, stop strings.
  const uint64_t seed = task.spec.sampling.seed;
  drop(task.spec.sampling);
  task.spec.sampling.seed = seed;
  if (task.spec.durable) drop(task.logprobs);
  drop(task.prompt_logprobs);                               // The result has them.
  if (task.end == TaskStatus::kCompleted) drop(task.text);  // The result has it.
  in_.tasks.keep(task);
}

void TaskLife::restore_over(Task& task, Step& step) {
  task.phase = TaskPhase::kWaiting;
  in_.waiting.push(task, INT64_MAX, false);
  leave_phase(task, step);
  over(task, step);
}

void TaskLife::show(Task& task, TaskStatus status, Step& step) {
  if (!in_.tasks.show(task, status)) return;
  if (in_.stage.started) step.out.push_back(PublishStatus{task.spec.id, status});
}

void TaskLife::forget_old(Step& step) {
  const TaskTable::Kept kept{in_.setup.tasks_kept_max, in_.setup.tasks_kept_bytes_max,
                             in_.setup.idempotency_key_ttl_us};
  auto forgotten =
      in_.tasks.forget_old(kept, step.now, [this](const Task& task) { return device_of(task); });
  if (!forgotten.with_key.empty())
    step.out.push_back(ForgetTasks{std::move(forgotten.with_key), /*key_kept=*/true});
  if (!forgotten.tasks.empty()) step.out.push_back(ForgetTasks{std::move(forgotten.tasks)});
}

// ---- The journal ----

// One write of a task's tokens is on its way at a time, so that the journal never has a gap.
void TaskLife::add_tokens_to_journal(Task& task, TimeUs now) {
  if (!task.spec.durable || in_.setup.tokens == TokenJournal::kOff || !is_open(task)) return;
  if (task.flushing_to > task.journaled || task.generated.size() <= task.journaled) return;
  in_.journal.add_tokens(task.number, now);
}

void TaskLife::flush(Step& step) {
  in_.journal.flush_begins();
  std::vector<journal::TaskEvent> events = in_.journal.take_notes();
  JournalWrite write{JournalWrite::Kind::kTokens, {}};
  for (const uint64_t number : in_.journal.take_tokens()) {
    Task& task = in_.tasks.at(number);
    task.flushing_to = static_cast<uint32_t>(task.generated.size());
    journal::TaskTokens tokens;
    tokens.first_index = task.journaled;
    tokens.ids.assign(task.generated.begin() + task.journaled, task.generated.end());
    events.push_back({task.spec.id, step.now, std::move(tokens)});
    write.tasks.push_back(number);
  }
  if (!events.empty()) in_.journal.append(std::move(write), std::move(events), step);
}

void TaskLife::end_written(const std::vector<uint64_t>& tasks, Step& step) {
  for (const uint64_t number : tasks) over(in_.tasks.at(number), step);
}

void TaskLife::tokens_written(const std::vector<uint64_t>& tasks, Step& step) {
  for (const uint64_t number : tasks) {
    Task* task = in_.tasks.find(number);
    if (task == nullptr || task->phase == TaskPhase::kOver) continue;
    task->journaled = task->flushing_to;
    publish_durable(*task, step);
    add_tokens_to_journal(*task, step.now);
  }
}

void TaskLife::tokens_not_written(const std::vector<uint64_t>& tasks, TimeUs now) {
  in_.journal.put_off_flush(now, [&] {
    for (const uint64_t number : tasks) {
      Task* task = in_.tasks.find(number);
      if (task == nullptr || !is_open(*task)) continue;
      task->flushing_to = task->journaled;
      add_tokens_to_journal(*task, now);
    }
  });
}

// ---- Reservations ----

void TaskLife::reserve(Task& task) {
  if (task.reserved || task.spec.estimated_memory == 0) return;
  in_.ledger.promise(device_of(task), task.number, promise_of(task));
  task.reserved = true;
}

void TaskLife::unreserve(Task& task) {
  if (!task.reserved) return;
  in_.ledger.release(device_of(task), task.number, task.spec.estimated_memory);
  task.reserved = false;
}

void TaskLife::reserve_if_room(Task& task) {
  if (in_.ledger.has_room(device_of(task), task.spec.estimated_memory)) reserve(task);
}

void TaskLife::give_up_reservations(uint32_t slot) {
  for (const DeviceId device : in_.fleet.slot(slot).devices)
    while (const auto task = in_.ledger.next_to_give_up(device)) unreserve(in_.tasks.at(*task));
}

}  // namespace altlas::control
