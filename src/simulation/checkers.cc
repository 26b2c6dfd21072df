#include "simulation/checkers.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::simulation {

void Checkers::submitted(const TaskSpec& spec) { tasks_[spec.id].spec = spec; }

void Checkers::accepted(const control::Placed& placed) {
  const auto found = tasks_.find(placed.task);
  if (found == tasks_.end()) return fail(fmt::format("task {} was accepted, nobody asked for it", to_string(placed.task)));
  found->second.accepted = true;
}

void Checkers::cancel_sent(TaskId id) { tasks_[id].cancel_sent = true; }

void Checkers::delta(TaskId id, const TokenDelta& delta) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return fail(fmt::format("text for task {}, which nobody asked for", to_string(id)));
  ClientTask& task = found->second;
  if (task.end) fail(fmt::format("text for task {} after its end", to_string(id)));
  if (task.stream_whole && delta.text_offset != task.text_said)
    fail(fmt::format("task {}: text at byte {}, {} were said", to_string(id), delta.text_offset, task.text_said));
  task.text_said = delta.text_offset + delta.text.size();
  task.text += delta.text;
}

void Checkers::check_end(const ClientTask& task, const control::TaskView& view) {
  const std::string id = to_string(view.id);
  switch (view.status) {
    case TaskStatus::kCompleted: {
      const std::string want = expected_(task.spec);
      if (!view.result || view.result->text != want)
        fail(fmt::format("task {} ended with '{}', an undisturbed run gives '{}'", id, view.result ? view.result->text : "", want));
      if (task.stream_whole && task.text_said > 0 && task.text != want)
        fail(fmt::format("task {}: the stream said '{}', the result is '{}'", id, task.text, want));
      return;
    }
    case TaskStatus::kCanceled:
      if (!task.cancel_sent) fail(fmt::format("task {} is canceled, nobody asked for that", id));
      return;
    case TaskStatus::kFailed:
      if (view.error.empty()) fail(fmt::format("task {} failed without a reason", id));
      return;
    default: fail(fmt::format("task {} is told over, its view says {}", id, to_string(view.status)));
  }
}

void Checkers::status(const control::Core& core, TaskId id, TaskStatus status) {
  if (!is_over(status)) return;
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return fail(fmt::format("task {} ended, nobody asked for it", to_string(id)));
  ClientTask& task = found->second;
  if (++task.ends_told > 1) fail(fmt::format("task {} ended twice", to_string(id)));
  if (task.end && *task.end != status)
    fail(fmt::format("task {} was {} before the restart and is {} now", to_string(id), to_string(*task.end), to_string(status)));
  task.end = status;
  const auto view = core.task(id);
  if (!view.ok()) return fail(fmt::format("task {} is over and not known", to_string(id)));
  check_end(task, *view);
}

void Checkers::server_lost() {
  for (auto& [id, task] : tasks_) {
    task.ends_told = 0;
    task.stream_whole = false;
    task.text.clear();
    if (!task.spec.durable) task.accepted = false;
  }
}

void Checkers::state(const control::Core& core, uint32_t max_queue_size) {
  if (core.held() > max_queue_size) fail(fmt::format("{} tasks wait, the limit is {}", core.held(), max_queue_size));
  for (const control::DeviceView& device : core.devices())
    if (device.memory_used > device.memory_total)
      fail(fmt::format("device {} holds {} bytes of {}", device.id.value, device.memory_used, device.memory_total));
}

uint64_t Checkers::unfinished() const {
  return static_cast<uint64_t>(std::ranges::count_if(tasks_, [](const auto& entry) {
    return entry.second.accepted && !entry.second.end;
  }));
}

void Checkers::finish(const control::Core& core, const journal::ReplayCounts& counts,
                      const std::vector<journal::RestoredTask>& journal) {
  if (counts.ended_again != 0) fail(fmt::format("the journal has {} second ends", counts.ended_again));
  std::map<TaskId, TaskStatus> journaled;
  for (const journal::RestoredTask& task : journal) journaled[task.spec.id] = task.status;
  for (const auto& [id, task] : tasks_) {
    if (!task.accepted) continue;
    const auto view = core.task(id);
    if (!view.ok()) {
      if (task.spec.durable) fail(fmt::format("task {} was accepted and is lost", to_string(id)));
      continue;
    }
    if (!is_over(view->status)) fail(fmt::format("task {} is still {} at the end", to_string(id), to_string(view->status)));
    else check_end(task, *view);
    if (!task.spec.durable) continue;
    const auto durable = journaled.find(id);
    if (durable == journaled.end()) fail(fmt::format("task {} is not in the journal", to_string(id)));
    else if (durable->second != view->status)
      fail(fmt::format("task {} is {} in the journal, {} in the core", to_string(id), to_string(durable->second), to_string(view->status)));
  }
}

}  // namespace altlas::simulation
