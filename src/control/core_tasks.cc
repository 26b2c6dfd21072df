// Core, tasks that run and end: tokens from replicas, ends that are journalled before they are
// shown, what is kept.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/drop.h"
#include "control/core.h"
#include "control/held_bytes.h"

namespace altlas::control {
namespace {
// Cuts what was seen before off the front of `delta`. False: there is a gap.
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
}  // namespace

Result<void> Core::tokens(Slot& slot, engine::SequenceTokens& report, Out& out) {
  const auto found = slot.runs.find(report.sequence);
  if (found == slot.runs.end() || found->second.task == 0) return {};
  Task& task = at(found->second.task);
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
  if (!task.first_token) task.first_token = now_;
  const auto total = task.prompt_tokens + static_cast<uint32_t>(task.generated.size());
  const uint64_t progress = std::min<uint64_t>(task.tokens_ahead, total - found->second.tokens);
  task.tokens_ahead -= progress;
  site_of(task).tokens_ahead -= progress;
  set_run_tokens(slot, found->second, total, found->second.most);
  slot.progressed = now_;
  if (task.spec.durable && setup_.tokens == TokenJournal::kSync) {
    task.unpublished.push_back(std::move(delta));
    release_published(task, out);
  } else {
    publish(task, std::move(delta), out);
  }
  mark_dirty(task);
  return {};
}

void Core::publish(Task& task, TokenDelta delta, Out& out) {
  task.text += delta.text;
  if (task.prompt_logprobs.empty()) task.prompt_logprobs = delta.prompt_logprobs;
  task.logprobs.insert(task.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  out.push_back(PublishDelta{task.spec.id, std::move(delta)});
}

// Of `tokens: sync`: what is durable by now may be told.
void Core::release_published(Task& task, Out& out) {
  size_t count = 0;
  while (count < task.unpublished.size() &&
         task.unpublished[count].first_index + task.unpublished[count].ids.size() <= task.journaled)
    ++count;
  for (size_t i = 0; i < count; ++i) publish(task, std::move(task.unpublished[i]), out);
  task.unpublished.erase(task.unpublished.begin(),
                         task.unpublished.begin() + static_cast<ptrdiff_t>(count));
}

Core::Task* Core::run_over(Slot& slot, SequenceId sequence) {
  const auto found = slot.runs.find(sequence);
  if (found == slot.runs.end()) return nullptr;
  const uint64_t number = found->second.task;
  set_run_tokens(slot, found->second, 0, 0);
  slot.runs.erase(found);
  slot.progressed = now_;
  dirty_sites_.insert(slot.site);
  return number == 0 ? nullptr : &at(number);
}

void Core::finished(Slot& slot, engine::SequenceFinished& report, Out& out) {
  Task* task = run_over(slot, report.sequence);
  if (task == nullptr) return;
  // The end of the text that no delta carried.
  if (report.result.text.size() > task->text_seen) {
    TokenDelta rest;
    rest.first_index = static_cast<uint32_t>(task->generated.size());
    rest.text_offset = task->text_seen;
    rest.text = report.result.text.substr(task->text_seen);
    task->text_seen = report.result.text.size();
    if (task->spec.durable && setup_.tokens == TokenJournal::kSync) {
      task->unpublished.push_back(std::move(rest));
    } else {
      publish(*task, std::move(rest), out);
    }
  }
  task->result = std::move(report.result);
  int64_t& service = deployments_[slot.deployment].service_us;
  service += (now_ - task->started.value_or(now_) - service) / 8;
  end_task(*task, TaskStatus::kCompleted, out);
}

void Core::fail_task(Task& task, ErrorCode code, std::string message, Out& out) {
  task.error_code = code;
  task.error = std::move(message);
  end_task(task, TaskStatus::kFailed, out);
}

// The one place where a task's end is decided.
void Core::end_task(Task& task, TaskStatus end, Out& out) {
  ALTLAS_CHECK(task.phase == Phase::kWaiting || task.phase == Phase::kRunning, "a task ends once");
  leave_phase(task, out);
  task.end = end;
  task.finished = now_;
  if (!task.spec.durable) return over(task, out);
  task.phase = Phase::kEnding;
  append_end(task, out);
}

// Gives back what a waiting or running task holds.
void Core::leave_phase(Task& task, Out& out) {
  Site& site = site_of(task);
  Device& one = device_of(task);
  if (task.phase == Phase::kWaiting) {
    queue_.erase(task.number);
    hold(task, false);
    --site.queued;
    --one.queued;
    --deployments_[site.deployment].queued;
  } else {
    --site.running;
    --one.running;
    if (task.spec.deadline) deadlines_.erase({*task.spec.deadline, task.number});
    Slot& slot = slots_[task.slot];
    const auto run = slot.runs.find(task.sequence);
    if (run != slot.runs.end()) {  // Its place is taken until the replica says that it is over.
      run->second.task = 0;
      out.push_back(SendCommand{slot.id, engine::CancelSequence{task.sequence}});
    }
  }
  site.tokens_ahead -= std::exchange(task.tokens_ahead, 0);
  unreserve(task);
  if (task.spec.batch_group != 0) {
    const auto group = groups_.find(task.spec.batch_group);
    std::erase(group->second, task.number);
    if (group->second.empty()) groups_.erase(group);
  }
  dirty_tokens_.erase(task.number);
  for (const uint32_t each : one.sites) dirty_sites_.insert(each);
}

void Core::append_end(Task& task, Out& out) {
  std::vector<journal::Event> events = std::exchange(unflushed_, {});
  journal::Event& event = events.emplace_back();
  event.task = task.spec.id;
  event.time = *task.finished;
  if (task.end == TaskStatus::kCompleted) event.what = journal::TaskCompleted{task.result};
  if (task.end == TaskStatus::kFailed)
    event.what = journal::TaskFailed{task.error_code, task.error};
  if (task.end == TaskStatus::kCanceled) event.what = journal::TaskCanceled{};
  out.push_back(AppendJournal{next_write_, std::move(events)});
  writes_[next_write_++] = {Write::Kind::kEnd, {task.number}};
}

// What an ended task keeps that grows with its request.
uint64_t Core::held_bytes(const Task& task) {
  uint64_t bytes = task.text.size() + task.result.text.size();
  bytes += task.result.embedding.size() * sizeof(float);
  bytes += control::held_bytes(task.logprobs) + control::held_bytes(task.result.prompt_logprobs);
  return bytes;
}

// From here on everybody may know.
void Core::over(Task& task, Out& out) {
  for (TokenDelta& delta : task.unpublished) publish(task, std::move(delta), out);
  drop(task.unpublished);
  task.phase = Phase::kOver;
  task.tokens_end = task.end == TaskStatus::kCompleted
                        ? task.result.tokens
                        : static_cast<uint32_t>(task.generated.size());
  --unfinished_;
  count_adapter_task(task, false);
  show(task, task.end, out);
  drop(task.generated);
  drop(task.spec.prompt);
  drop(task.spec.payload);
  const uint64_t seed = task.spec.sampling.seed;  // Views show it; the rest may be as large as a
  drop(task.spec.sampling);                       // request: grammars, biases, stop strings.
  task.spec.sampling.seed = seed;
  if (task.spec.durable) drop(task.logprobs);
  drop(task.prompt_logprobs);                               // The result has them.
  if (task.end == TaskStatus::kCompleted) drop(task.text);  // The result has it.
  (task.spec.durable ? kept_ : passing_).push(task.spec.owner, task.number, held_bytes(task));
}

void Core::show(Task& task, TaskStatus status, Out& out) {
  if (task.status == status) return;
  if (task.spec.durable) {
    auto& owned = listing_[task.spec.owner];
    owned[static_cast<size_t>(task.status)].erase(task.number);
    owned[static_cast<size_t>(status)].insert(task.number);
  }
  task.status = status;
  if (started_) out.push_back(PublishStatus{task.spec.id, status});
}

// One write of a task's tokens is on its way at a time, so that the journal never has a gap.
void Core::mark_dirty(Task& task) {
  if (!task.spec.durable || setup_.tokens == TokenJournal::kOff || task.phase >= Phase::kEnding)
    return;
  if (task.flushing_to > task.journaled || task.generated.size() <= task.journaled) return;
  dirty_tokens_.insert(task.number);
  flush_at_ = std::min(flush_at_, now_ + kTokenFlushUs);
}

void Core::flush(Out& out) {
  flush_at_ = INT64_MAX;
  std::vector<journal::Event> events = std::exchange(unflushed_, {});
  Write write{Write::Kind::kTokens, {}};
  for (const uint64_t number : std::exchange(dirty_tokens_, {})) {
    Task& task = at(number);
    task.flushing_to = static_cast<uint32_t>(task.generated.size());
    journal::TaskTokens tokens;
    tokens.first_index = task.journaled;
    tokens.ids.assign(task.generated.begin() + task.journaled, task.generated.end());
    events.push_back({task.spec.id, now_, std::move(tokens)});
    write.tasks.push_back(number);
  }
  if (events.empty()) return;
  out.push_back(AppendJournal{next_write_, std::move(events)});
  writes_[next_write_++] = std::move(write);
}

void Core::on(JournalWritten& event, Out& out) {
  const auto found = writes_.find(event.ticket);
  if (found == writes_.end()) return;
  const Write write = std::move(found->second);
  writes_.erase(found);
  if (event.ok) {
    written(write, out);
  } else {
    not_written(write, event.message, out);
  }
}

void Core::written(const Write& write, Out& out) {
  switch (write.kind) {
    case Write::Kind::kAccept:
      return accepted(write.tasks, out);
    case Write::Kind::kEnd:
      for (const uint64_t number : write.tasks) over(at(number), out);
      return;
    case Write::Kind::kTokens:
      for (const uint64_t number : write.tasks) {
        const auto task = tasks_.find(number);
        if (task == tasks_.end() || task->second.phase == Phase::kOver) continue;
        task->second.journaled = task->second.flushing_to;
        release_published(task->second, out);
        mark_dirty(task->second);
      }
  }
}

void Core::not_written(const Write& write, const std::string& why, Out& out) {
  if (write.kind == Write::Kind::kAccept) return not_accepted(write.tasks, why, out);
  out.push_back(LogWarning{fmt::format("the journal can't be written, trying again: {}", why)});
  if (write.kind == Write::Kind::kEnd) {
    ends_to_retry_.insert(ends_to_retry_.end(), write.tasks.begin(), write.tasks.end());
    retry_at_ = std::min(retry_at_, now_ + kJournalRetryUs);
    return;
  }
  const TimeUs before = flush_at_;
  for (const uint64_t number : write.tasks) {
    const auto task = tasks_.find(number);
    if (task == tasks_.end() || task->second.phase >= Phase::kEnding) continue;
    task->second.flushing_to = task->second.journaled;
    mark_dirty(task->second);
  }
  flush_at_ = std::min(before, dirty_tokens_.empty() ? INT64_MAX : now_ + kJournalRetryUs);
}

// Tasks past their deadline or the queue timeout.
void Core::expire(Out& out) {
  while (const auto number = queue_.expired(now_)) {
    Task& task = at(*number);
    const double waited = static_cast<double>(elapsed_us(task.created, now_)) / kSecond;
    if (task.spec.deadline && *task.spec.deadline <= now_) {
      fail_task(task, ErrorCode::kDeadline,
                fmt::format("its deadline passed after {:.3f} s in the queue", waited), out);
    } else {
      fail_task(task, ErrorCode::kDeadline,
                fmt::format("queue_timeout: it waited {:.3f} s, the limit is {:.3f} s", waited,
                            static_cast<double>(setup_.queue_timeout_us) / kSecond),
                out);
    }
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    Task& task = at(deadlines_.begin()->second);
    fail_task(task, ErrorCode::kDeadline,
              fmt::format("its deadline passed after {} generated tokens", task.generated.size()),
              out);
  }
}

void Core::forget_old(Out& out) {
  while (passing_.size() > kPassingTasksMax || passing_.bytes() > kPassingBytesMax)
    remove_task(at(passing_.pop()));
  ForgetTasks forget, with_key{.key_kept = true};
  const auto too_many = [&] { return kept_.size() > setup_.tasks_kept_max; };
  const auto too_large = [&] { return kept_.bytes() > setup_.tasks_kept_bytes_max; };
  for (int i = 0; i < 1000 && (too_many() || too_large()); ++i) {
    Task& task = at(too_many() ? kept_.pop() : kept_.pop_of_largest());
    const TaskId id = task.spec.id;
    (holds_key(task) ? with_key : forget).tasks.push_back(id);
    if (holds_key(task)) {
      const KeyRecord left{id, task.spec.body_hash, sites_[task.site].device, task.status,
                           task.created};
      if (const auto older = keys_.add(task.spec.owner, task.spec.idempotency_key, left))
        forget.tasks.push_back(*older);
    }
    remove_task(task);
  }
  if (!with_key.tasks.empty() || now_ - keys_trimmed_ >= kSecond) {
    keys_trimmed_ = now_;
    for (const TaskId& id : keys_.trim(now_ - setup_.idempotency_key_ttl_us + 1, kKeysMax))
      forget.tasks.push_back(id);
  }
  if (!with_key.tasks.empty()) out.push_back(std::move(with_key));
  if (!forget.tasks.empty()) out.push_back(std::move(forget));
}

}  // namespace altlas::control
