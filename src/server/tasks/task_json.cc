#include "server/tasks/task_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "server/tasks/answer_size.h"
#include "server/tasks/follow.h"
#include "server/tasks/sampling.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Returns the tokens that the model's context has left after the prompt; at least 1, so that
// admission can say what is too long.
int32_t remaining_tokens(const PendingTask& task) {
  const int64_t left =
      int64_t{task.model->model_len_max} - static_cast<int64_t>(task.spec.prompt.size());
  return static_cast<int32_t>(std::max<int64_t>(1, left));
}

json::value time_or_null(const std::optional<TimeUs>& time) {
  return time ? json::value(to_rfc3339(*time)) : json::value(nullptr);
}

}  // namespace

void as_embedding(PendingTask& task) {
  task.spec.type = kEmbeddingType;
  task.spec.embeds = true;
  task.spec.tokens_max = 0;
  task.prompt.embeds = true;
}

json::object task_to_json(const control::TaskView& task) {
  json::object out{{"task_id", to_string(task.id)},
                   {"status", to_string(task.status)},
                   {"gpu_id", task.device.value},
                   {"type", task.type},
                   {"created_at", time_or_null(task.created_at)},
                   {"started_at", time_or_null(task.started_at)},
                   {"finished_at", time_or_null(task.finished_at)}};
  out["deployment"] = task.deployment;
  out["prompt_tokens"] = task.prompt_tokens;
  out["generated_tokens"] = task.generated_tokens;
  if (task.queue_position) out["queue_position"] = *task.queue_position;
  if (task.seed) out["seed"] = shown_seed(*task.seed);
  if (task.result) {
    const TimeUs from = task.started_at.value_or(task.created_at.value_or(0));
    const TimeUs until = task.finished_at.value_or(from);
    out["result"] = {{"text", task.result->text},
                     {"execution_time",
                      static_cast<double>(elapsed_us(from, until)) / static_cast<double>(kSecond)},
                     {"timestamp", to_rfc3339(until)},
                     {"tokens", task.result->tokens},
                     {"finish_reason", to_string(task.result->finish_reason)}};
    json::object& result = out["result"].get_object();
    if (task.seed) result["seed"] = shown_seed(*task.seed);
    if (const auto& values = task.result->embedding; !values.empty())
      result["embedding"] = json::array(values.begin(), values.end());
  }
  if (!task.error.empty()) out["error"] = task.error;
  if (!task.note.empty()) out["note"] = task.note;
  return out;
}

json::object usage_json(uint64_t prompt_tokens, uint64_t completion_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens}};
}

json::object device_to_json(const control::DeviceView& device) {
  const auto measured = [](double value) {
    return value < 0 ? json::value(nullptr) : json::value(value);
  };
  json::array memory;
  for (const control::MemoryShare& share : device.memory)
    memory.push_back({{"owner", share.owner}, {"what", share.what}, {"bytes", share.bytes}});
  json::array deployments;
  for (const std::string& name : device.deployments) deployments.emplace_back(name);
  return {{"id", device.id.value},
          {"name", device.name},
          {"kind", device.kind},
          {"node", device.node.empty() ? json::value(nullptr) : json::value(device.node)},
          {"utilization", device.utilization},
          {"memory_used", device.memory_used},
          {"memory_total", device.memory_total},
          {"task_count", device.task_count},
          {"queued_count", device.queued_count},
          {"temperature", measured(device.temperature)},
          {"power", measured(device.power)},
          {"healthy", device.healthy},
          {"deployments", std::move(deployments)},
          {"memory", std::move(memory)}};
}

namespace {

// Tasks that have their places and their token ids.
struct ReadyTasks {
  control::Admission admission;
  std::vector<TaskSpec> specs;
};

// Tokenizes the task's prompt into its spec, once its deployment has room for it.
boost::asio::awaitable<Result<void>> read_prompt(PendingTask& task, Services& services) {
  if (task.prompt.reasoning == nullptr)
    task.prompt.reasoning = std::make_shared<text::ReasoningStart>();
  const auto reasoning = task.prompt.reasoning;
  ALTLAS_CO_TRY(task.spec.prompt,
                co_await services.prompts.encode(*task.model, std::move(task.prompt)));
  text::free_reasoning(*reasoning, task.model->reasoning, *task.model->tokenizer,
                       task.spec.sampling.grammar);
  co_return Result<void>();
}

boost::asio::awaitable<Result<ReadyTasks>> ready(std::vector<PendingTask> tasks, Services& services,
                                                 MemoryLease* memory = nullptr) {
  control::AdmissionRequested ask;
  ask.owner = tasks.front().spec.owner;
  ask.deployment = tasks.front().spec.deployment;
  ask.tasks = static_cast<uint32_t>(tasks.size());
  ReadyTasks out;
  ALTLAS_CO_TRY(out.admission, co_await services.service.admit(std::move(ask)));
  out.specs.reserve(tasks.size());
  AnswerSize size;
  for (size_t i = 0; i < tasks.size(); ++i) {
    PendingTask& task = tasks[i];
    if (task.same_prompt) {
      task.spec.prompt = out.specs.back().prompt;
      task.spec.sampling.grammar = out.specs.back().sampling.grammar;
    } else if (task.model != nullptr) {
      const std::string field = task.prompt.field;  // Reading consumes the prompt.
      const auto read = co_await read_prompt(task, services);
      if (!read.ok()) {
        Error error = read.error();
        std::string place = task.item;
        if (place.empty() && error.field() == field) place = task.place;
        if (!place.empty()) error = std::move(error).with_context(place);
        co_return error;
      }
    }
    size.add(task.spec);
    if (task.model != nullptr && task.spec.tokens_max == 0 && !task.spec.embeds)
      task.spec.tokens_max = remaining_tokens(task);
    out.specs.push_back(std::move(task.spec));
    if (memory != nullptr) ALTLAS_CO_TRY_VOID(size.hold(*memory));
  }
  co_return out;
}

}  // namespace

boost::asio::awaitable<Result<std::vector<control::Placed>>> submit_tasks(
    std::vector<PendingTask> tasks, bool split, Services& services, uint32_t min_per_device) {
  ALTLAS_CO_TRY(ReadyTasks all, co_await ready(std::move(tasks), services));
  co_return co_await services.service.submit(std::move(all.admission), std::move(all.specs), split,
                                             min_per_device);
}

boost::asio::awaitable<Result<std::vector<control::OwnedTask>>> submit_owned(
    std::vector<PendingTask> tasks, Asker asker, Services& services) {
  for (PendingTask& task : tasks) task.spec.durable = false;
  ALTLAS_CO_TRY(ReadyTasks all, co_await ready(std::move(tasks), services, asker.memory.get()));
  ALTLAS_CO_TRY(auto owned, co_await services.service.submit_owned(std::move(all.admission),
                                                                   std::move(all.specs)));
  if (asker.disconnect != nullptr)
    for (const control::OwnedTask& one : owned)
      asker.disconnect->on_disconnect(
          [id = one.id, &services] { services.service.cancel_soon(id); });
  co_return owned;
}

boost::asio::awaitable<Result<control::TaskView>> run_task(PendingTask task, Asker asker,
                                                           Services& services) {
  std::vector<PendingTask> tasks;
  tasks.push_back(std::move(task));
  ALTLAS_CO_TRY(const auto owned,
                co_await submit_owned(std::move(tasks), std::move(asker), services));
  while (true) {
    ALTLAS_CO_TRY(const control::StreamEvent event, co_await owned.front().answer->next());
    if (!event.end) continue;
    ALTLAS_CO_TRY_VOID(failure_of(*event.end));
    co_return *event.end;
  }
}

}  // namespace altlas::server
