#include "simulation/checkers.h"

#include <fmt/format.h>

#include <algorithm>

#include "simulation/toy_text.h"

namespace altlas::simulation {

void Checkers::submitted(const TaskSpec& spec, std::string adapter_file) {
  ClientTask& task = tasks_[spec.id];
  task.spec = spec;
  task.adapter_file = std::move(adapter_file);
  task.text_said = 0;
}

void Checkers::accepted(const control::Placed& placed) {
  const auto found = tasks_.find(placed.task);
  if (found == tasks_.end())
    return fail(fmt::format("task {} was accepted, nobody asked for it", to_string(placed.task)));
  ClientTask& task = found->second;
  task.accepted = true;
  if (task.spec.idempotency_key.empty()) return;
  const auto [first, added] =
      accepted_of_.emplace(std::pair(task.spec.owner, task.spec.idempotency_key), placed.task);
  if (added || first->second == placed.task) return;
  const ClientTask& other = tasks_.at(first->second);
  if (other.accepted && !other.forgotten)
    fail(fmt::format("tasks {} and {} were both accepted under idempotency_key '{}'",
                     to_string(first->second), to_string(placed.task), task.spec.idempotency_key));
  first->second = placed.task;
}

void Checkers::cancel_sent(TaskId id) { tasks_[id].cancel_sent = true; }

void Checkers::forgotten(TaskId id, bool restored) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end())
    return fail(fmt::format("task {} was forgotten, nobody asked for it", to_string(id)));
  if (!found->second.end && !restored)
    fail(fmt::format("task {} was forgotten before its end", to_string(id)));
  found->second.forgotten = true;
}

void Checkers::delta(TaskId id, const TokenDelta& delta) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end())
    return fail(fmt::format("text for task {}, which nobody asked for", to_string(id)));
  ClientTask& task = found->second;
  if (task.end) fail(fmt::format("text for task {} after its end", to_string(id)));
  const uint64_t said = task.text_said.value_or(delta.text_offset);
  if (delta.text_offset != said)
    fail(fmt::format("task {}: text at byte {}, {} were said", to_string(id), delta.text_offset,
                     said));
  task.text_said = delta.text_offset + delta.text.size();
  const std::string& want = expected_(task).text;
  if (delta.text_offset > want.size() ||
      want.compare(delta.text_offset, delta.text.size(), delta.text) != 0)
    fail(fmt::format("task {} says '{}' at byte {}, an undisturbed run says '{}'", to_string(id),
                     delta.text, delta.text_offset, want));
}

void Checkers::check_result(const ClientTask& task, const TaskResult& result) {
  const std::string id = to_string(task.spec.id);
  const Expected& want = expected_(task);
  if (result.text != want.text)
    fail(fmt::format("task {} ended with '{}', an undisturbed run gives '{}'", id, result.text,
                     want.text));
  if (task.ends_told > 0 && task.text_said.value_or(want.text.size()) != want.text.size())
    fail(fmt::format("task {}: the stream ended at byte {} of {}", id, *task.text_said,
                     want.text.size()));
  if (task.spec.embeds != !result.embedding.empty() || result.embedding != want.embedding)
    fail(
        fmt::format("task {} ended with an embedding of {} values that is not the one of an "
                    "undisturbed run, which has {}",
                    id, result.embedding.size(), want.embedding.size()));
  const Grammar& grammar = task.spec.sampling.grammar;
  const bool whole = result.finish_reason == FinishReason::kStop && result.stop_string.empty();
  if (grammar.kind != GrammarKind::kNone && !fits(grammar, result.text, /*may_go_on=*/!whole))
    fail(fmt::format("task {} ended with '{}', which the grammar '{}' does not allow", id,
                     result.text, grammar.text));
}

void Checkers::check_end(const ClientTask& task, const control::TaskView& view) {
  const std::string id = to_string(view.id);
  switch (view.status) {
    case TaskStatus::kCompleted:
      if (view.result) return check_result(task, *view.result);
      return fail(fmt::format("task {} completed without a result", id));
    case TaskStatus::kCanceled:
      if (!task.cancel_sent) fail(fmt::format("task {} is canceled, nobody asked for that", id));
      return;
    case TaskStatus::kFailed:
      if (view.error.empty()) fail(fmt::format("task {} failed without a reason", id));
      return;
    default:
      fail(fmt::format("task {} is told over, its view says {}", id, to_string(view.status)));
  }
}

void Checkers::status(const control::Core& core, TaskId id, TaskStatus status) {
  if (!is_over(status)) return;
  const auto found = tasks_.find(id);
  if (found == tasks_.end())
    return fail(fmt::format("task {} ended, nobody asked for it", to_string(id)));
  ClientTask& task = found->second;
  if (++task.ends_told > 1) fail(fmt::format("task {} ended twice", to_string(id)));
  if (task.end && *task.end != status)
    fail(fmt::format("task {} was {} before the restart and is {} now", to_string(id),
                     to_string(*task.end), to_string(status)));
  task.end = status;
  const auto view = core.task(id);
  if (!view.ok()) return fail(fmt::format("task {} is over and not known", to_string(id)));
  check_end(task, *view);
}

void Checkers::server_lost() {
  for (auto& [id, task] : tasks_) {
    task.ends_told = 0;
    task.text_said.reset();
    if (!task.spec.durable) task.accepted = false;
  }
}

void Checkers::check_known(const control::Core& core, const ClientTask& task) {
  const auto view = core.task(task.spec.id);
  if (!view.ok()) {
    if (task.spec.durable && !task.forgotten)
      fail(fmt::format("task {} was accepted and is lost", to_string(task.spec.id)));
    return;
  }
  if (task.end && *task.end != view->status)
    fail(fmt::format("task {} was told {} and is {} now", to_string(task.spec.id),
                     to_string(*task.end), to_string(view->status)));
  if (is_over(view->status)) check_end(task, *view);
}

void Checkers::server_restarted(const control::Core& core) {
  for (auto& [id, task] : tasks_) {
    if (task.accepted) check_known(core, task);
    const auto view = core.task(id);
    if (view.ok() && is_over(view->status)) task.end = view->status;
  }
}

void Checkers::waiting(uint64_t tasks, uint64_t limit) {
  if (tasks > limit) fail(fmt::format("{} tasks wait, the limit is {}", tasks, limit));
}

void Checkers::device(const DeviceUse& use) {
  if (use.shown_bytes > use.total_bytes)
    fail(fmt::format("device {} has {} bytes, memory_used is {}", use.device.value, use.total_bytes,
                     use.shown_bytes));
  if (use.fixed_bytes + use.kv_bytes + use.reserved_bytes > use.total_bytes)
    fail(
        fmt::format("device {} has {} bytes; it holds {} of weights and activations, {} of KV "
                    "blocks, {} are reserved: "
                    "{}",
                    use.device.value, use.total_bytes, use.fixed_bytes, use.kv_bytes,
                    use.reserved_bytes, use.what));
}

std::vector<TaskId> Checkers::unfinished() const {
  std::vector<TaskId> out;
  for (const auto& [id, task] : tasks_)
    if (task.accepted && !task.end && !task.forgotten) out.push_back(id);
  return out;
}

void Checkers::finish(const control::Core& core, const journal::ReplayCounts& counts,
                      const std::vector<journal::RestoredTask>& journal) {
  if (counts.ended_again != 0)
    fail(fmt::format("the journal has {} second ends", counts.ended_again));
  if (counts.accepted_again != 0)
    fail(fmt::format("the journal has {} second acceptances", counts.accepted_again));
  std::map<TaskId, TaskStatus> journaled;
  for (const journal::RestoredTask& task : journal) journaled[task.spec.id] = task.status;
  for (const auto& [id, task] : tasks_) {
    if (!task.accepted) continue;
    check_known(core, task);
    const auto view = core.task(id);
    if (!view.ok()) continue;
    if (!is_over(view->status))
      fail(fmt::format("task {} is still {} at the end", to_string(id), to_string(view->status)));
    if (!task.spec.durable) continue;
    const auto durable = journaled.find(id);
    if (durable == journaled.end())
      fail(fmt::format("task {} is not in the journal", to_string(id)));
    else if (durable->second != view->status)
      fail(fmt::format("task {} is {} in the journal, {} in the core", to_string(id),
                       to_string(durable->second), to_string(view->status)));
  }
}

}  // namespace altlas::simulation
