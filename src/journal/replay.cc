#include "journal/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace altlas::journal {

Result<void> Replay::add(TaskEvent event) {
  ++counts_.events;
  const auto found = index_of_.find(event.task);
  if (auto* accepted = std::get_if<TaskAccepted>(&event.what)) {
    if (found != index_of_.end()) {
      ++counts_.accepted_again;
      return {};
    }
    index_of_.emplace(event.task, tasks_.size());
    RestoredTask task;
    task.spec = std::move(accepted->spec);
    task.spec.id = event.task;
    task.device = accepted->device;
    task.accepted_at = event.time;
    tasks_.push_back(std::move(task));
    return {};
  }
  if (found == index_of_.end())
    return invalid(fmt::format("gap in the journal: an event of task {}, which was never accepted",
                               to_string(event.task)));
  RestoredTask& task = tasks_[found->second];
  const bool over = is_over(task.status);
  if (const auto* started = std::get_if<TaskStarted>(&event.what)) {
    if (over) return ++counts_.after_end, Result<void>();
    task.status = TaskStatus::kRunning;
    task.device = started->device;
    if (!task.started_at) task.started_at = event.time;
    ++task.starts;
    return {};
  }
  if (const auto* tokens = std::get_if<TaskTokens>(&event.what)) {
    if (over) return ++counts_.after_end, Result<void>();
    return add_tokens(event.task, event.time, *tokens, task);
  }
  if (over) return ++counts_.ended_again, Result<void>();
  if (auto* completed = std::get_if<TaskCompleted>(&event.what)) {
    task.result = std::move(completed->result);
    end(task, TaskStatus::kCompleted, event.time);
  } else if (auto* failed = std::get_if<TaskFailed>(&event.what)) {
    task.error_code = failed->code;
    task.error = std::move(failed->message);
    end(task, TaskStatus::kFailed, event.time);
  } else {
    end(task, TaskStatus::kCanceled, event.time);
  }
  return {};
}

Result<void> Replay::add_tokens(const TaskId& id, TimeUs time, const TaskTokens& tokens,
                                RestoredTask& task) {
  const size_t known = task.generated.size(), first = tokens.first_index;
  if (first > known)
    return invalid(
        fmt::format("gap in the journal: task {} has {} tokens, the next ones start at index {}",
                    to_string(id), known, first));
  const size_t again = std::min(known - first, tokens.ids.size());
  for (size_t i = 0; i < again; ++i)
    if (tokens.ids[i] != task.generated[first + i])
      return invalid(fmt::format("the journal has two tokens at index {} of task {}: {} and {}",
                                 first + i, to_string(id), task.generated[first + i],
                                 tokens.ids[i]));
  counts_.tokens_again += again;
  task.generated.insert(task.generated.end(), tokens.ids.begin() + static_cast<ptrdiff_t>(again),
                        tokens.ids.end());
  if (!task.first_token_at && !task.generated.empty()) task.first_token_at = time;
  return {};
}

void Replay::end(RestoredTask& task, TaskStatus status, TimeUs time) {
  task.status = status;
  task.finished_at = time;
}

uint64_t Replay::hash() const {
  Hasher hash;
  hash.add(counts_.events)
      .add(counts_.accepted_again)
      .add(counts_.ended_again)
      .add(counts_.after_end);
  hash.add(counts_.tokens_again).add(tasks_.size());
  for (const RestoredTask& task : tasks_) {
    hash.add(task.spec.id.high)
        .add(task.spec.id.low)
        .add(task.spec.body_hash)
        .add(task.spec.sampling.seed);
    task.spec.prompt.add_to(hash);
    hash.add(std::span<const int32_t>(task.generated));
    hash.add(task.device.value)
        .add(static_cast<uint8_t>(task.status))
        .add(task.accepted_at)
        .add(task.starts);
    hash.add(task.started_at.value_or(-1))
        .add(task.first_token_at.value_or(-1))
        .add(task.finished_at.value_or(-1));
    hash.add(std::string_view(task.result.text)).add(task.result.tokens);
    hash.add(static_cast<uint8_t>(task.error_code)).add(std::string_view(task.error));
  }
  return hash.value();
}

std::vector<RestoredTask> Replay::take() {
  index_of_.clear();
  counts_ = {};
  return std::exchange(tasks_, {});
}

}  // namespace altlas::journal
