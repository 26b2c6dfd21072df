#include "server/tasks/task_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/random.h"
#include "base/utf8.h"
#include "server/tasks/answer_size.h"
#include "server/tasks/body_hash.h"
#include "server/tasks/answer_size.h"
#include "server/tasks/body_hash.h"
#include "text/json_text.h"
#include "text/stop.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr int64_t kTokensMax = INT32_MAX;
constexpr size_t kLogitBiasMax = 16'384;
constexpr size_t kBiasTextBytesMax = 16 << 10;
constexpr size_t kNameMax = 256;  // Characters, as the API's reference says.
constexpr double kDeadlineMax = 366.0 * 86400;

std::vector<std::string_view> enum_names(std::span<const EnumName> table) {
  std::vector<std::string_view> names;
  for (const EnumName& row : table) names.push_back(row.name);
  return names;
}

// A token as its number, or the text of one or more.
std::vector<int32_t> biased_tokens(const json::value& name, bool number, const ServedModel& model) {
  const int32_t count = model.tokenizer->vocab_size();
  int64_t id = -1;
  if (name.is_string() && number) {
    const std::string_view text = name.get_string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size()) id = -1;
  } else if (name.is_string()) {
    auto ids = model.tokenizer->encode(name.get_string(), {.continues = true});
    return ids.ok() ? *std::move(ids) : std::vector<int32_t>();
  } else {
    id = whole_number(name).value_or(-1);
  }
  if (id < 0 || id >= count) return {};
  return {static_cast<int32_t>(id)};
}

// OpenAI's {"id": bias}, or llama-server's [[id or text, bias or false]].
void read_logit_bias(JsonReader& reader, const ServedModel& model, SamplingParams& sampling) {
  const json::value* bias = reader.value("logit_bias");
  if (bias == nullptr) return;
  const json::array* list = bias->if_array();
  const json::object* object = list != nullptr ? nullptr : reader.object("logit_bias");
  const size_t count = list != nullptr ? list->size() : object != nullptr ? object->size() : 0;
  if (count > kLogitBiasMax)
    return reader.fail("logit_bias", fmt::format("has {} tokens, at most {} are taken", count,
                                                 kLogitBiasMax));
  const auto add = [&](const json::value& name, const json::value& value) {
    const std::vector<int32_t> ids = biased_tokens(name, list == nullptr, model);
    if (ids.empty())
      return reader.fail("logit_bias",
                         fmt::format("names token {}, should be from 0 to {}",
                                     text::json_text(name).substr(0, 32),
                                     model.tokenizer->vocab_size() - 1));
    const bool never = list != nullptr && value.is_bool() && !value.get_bool();
    if (!never && (!value.is_number() || !(std::abs(value.to_number<double>()) <= 100)))
      return reader.fail("logit_bias",
                         fmt::format("of token {} should be a number from -100 to 100", ids[0]));
    const auto by = static_cast<float>(never ? -100.0 : value.to_number<double>());
    for (const int32_t id : ids) sampling.logit_bias.emplace_back(id, by);
  };
  if (object != nullptr)
    for (const auto& [key, value] : *object) add(json::value(key), value);
  size_t text_bytes = 0;
  for (size_t i = 0; list != nullptr && i < count && reader.status().ok(); ++i) {
    const json::array* pair = (*list)[i].if_array();
    if (pair == nullptr || pair->size() != 2)
      return reader.fail("logit_bias", "holds what is no pair of a token and its bias");
    if ((*pair)[0].is_string()) text_bytes += (*pair)[0].get_string().size();
    if (text_bytes > kBiasTextBytesMax) break;
    add((*pair)[0], (*pair)[1]);
  }
  if (sampling.logit_bias.size() > kLogitBiasMax || text_bytes > kBiasTextBytesMax)
    return reader.fail("logit_bias",
                       fmt::format("names texts of more than {} bytes in all", kBiasTextBytesMax));
  // Of a token that is named twice the last bias counts.
  std::ranges::reverse(sampling.logit_bias);
  std::ranges::stable_sort(sampling.logit_bias, {}, &std::pair<int32_t, float>::first);
  const auto doubles =
      std::ranges::unique(sampling.logit_bias, {}, &std::pair<int32_t, float>::first);
  sampling.logit_bias.erase(doubles.begin(), doubles.end());
}

// What the model's context has left after the prompt; at least 1, so that admission can say what is
// too long.
int32_t remaining_tokens(const PendingTask& task) {
  const int64_t left =
      int64_t{task.model->model_len_max} - static_cast<int64_t>(task.spec.prompt.size());
  return static_cast<int32_t>(std::max<int64_t>(1, left));
}

json::value time_or_null(const std::optional<TimeUs>& time) {
  return time ? json::value(to_rfc3339(*time)) : json::value(nullptr);
}

}  // namespace

uint64_t draw_seed() {
  return random_bits() & ((uint64_t{1} << 52) - 1);
}

std::optional<uint64_t> given_seed(JsonReader& reader) {
  const auto seed = reader.optional_integer("seed", INT64_MIN, INT64_MAX);
  if (!seed || *seed == -1) return std::nullopt;
  return static_cast<uint64_t>(*seed);
}

uint64_t choice_seed(uint64_t seed, uint64_t index) {
  const uint64_t own = seed + index;
  const bool passes = seed > INT64_MAX && (own == UINT64_MAX || own < seed);
  return passes ? own + 1 : own;
}

std::optional<DeviceId> read_device(JsonReader& reader, std::string_view name) {
  const json::value* value = reader.value(name);
  if (value == nullptr) return std::nullopt;
  int32_t id = -1;
  if (value->is_string()) {
    std::string_view text = value->get_string();
    if (text.starts_with("gpu_")) text.remove_prefix(4);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id < 0) {
      reader.fail(name, fmt::format("is '{}', should be a device id such as 0 or \"gpu_0\"",
                                    std::string_view(value->get_string()).substr(0, 32)));
      return std::nullopt;
    }
    return DeviceId{id};
  }
  const auto number = reader.optional_integer(name, 0, INT32_MAX);
  if (!number) return std::nullopt;
  return DeviceId{static_cast<int32_t>(*number)};
}

GpuOptions read_gpu_options(JsonReader& reader, const Rooms& rooms) {
  GpuOptions options;
  const json::object* object = reader.object("gpu_options");
  if (object == nullptr) return options;
  JsonReader inner(*object, reader.path_of("gpu_options"));
  if (inner.has("strategy")) {
    const auto config = rooms.now();
    const auto& allowed = config->gpu.multi_gpu.strategies;
    std::vector<std::string_view> names;
    for (const Strategy strategy : allowed) names.push_back(to_string(strategy));
    const size_t index = inner.choice("strategy", names, 0);
    if (inner.status().ok()) options.strategy = allowed[index];
  }
  options.specific_gpu_id = read_device(inner, "specific_gpu_id");
  if (inner.has("batch_split")) options.batch_split = inner.boolean("batch_split", true);
  if (const auto status = inner.status(); !status.ok()) {
    const std::string& message = status.error().message();
    const std::string prefix = reader.path_of("gpu_options") + ".";
    // The inner reader's message starts with its whole path.
    const size_t colon = message.find(": ");
    std::string field = status.error().field();
    if (field.starts_with(prefix)) field = "gpu_options." + field.substr(prefix.size());
    reader.fail(field, message.substr(colon + 2));
  }
  return options;
}

Priority read_priority(JsonReader& reader, const Request& request, const Rooms& rooms) {
  Priority priority = rooms.now()->gpu.multi_gpu.default_queue_priority;
  const json::value* value = reader.value("priority");
  if (value != nullptr && value->is_string()) {
    priority = static_cast<Priority>(
        reader.choice("priority", enum_names(kPriorityNames), static_cast<size_t>(priority)));
  } else if (value != nullptr) {
    const int64_t level = reader.integer("priority", 0, INT32_MIN, INT32_MAX);
    priority = level < 0 ? Priority::kHigh : level > 0 ? Priority::kLow : Priority::kNormal;
  }
  return request.background ? Priority::kLow : priority;
}

Result<void> check_generates(const ServedModel& model) {
  if (model.generates) return {};
  return invalid(fmt::format("model: '{}' only gives embeddings: use /v1/embeddings, or a model "
                             "that generates text",
                             model.id),
                 "model");
}

Result<void> check_embeds(const ServedModel& model) {
  if (model.embedding_size > 0) return {};
  return invalid(fmt::format("model: '{}' gives no embeddings: name a model that does", model.id),
                 "model");
}

void as_embedding(PendingTask& task) {
  task.spec.type = kEmbeddingType;
  task.spec.embeds = true;
  task.spec.tokens_max = 0;
  task.prompt.embeds = true;
}

void read_sampling(JsonReader& reader, const ServedModel& model, SamplingParams& sampling) {
  sampling.top_p = static_cast<float>(reader.number("top_p", sampling.top_p, 0, 1));
  sampling.top_k = static_cast<int32_t>(
      std::max<int64_t>(0, reader.integer("top_k", sampling.top_k, -1, INT32_MAX)));
  sampling.min_p = static_cast<float>(reader.number("min_p", sampling.min_p, 0, 1));
  const std::string_view repetition =  // llama-server's name is the shorter one.
      reader.has("repetition_penalty") ? "repetition_penalty" : "repeat_penalty";
  sampling.repetition_penalty = static_cast<float>(reader.number(repetition, 1, 0.01, 100));
  sampling.presence_penalty = static_cast<float>(reader.number("presence_penalty", 0, -2, 2));
  sampling.frequency_penalty = static_cast<float>(reader.number("frequency_penalty", 0, -2, 2));
  const auto seed = given_seed(reader);
  sampling.seed = seed ? *seed : draw_seed();
  sampling.stop = reader.texts("stop", text::kStopStringsMax, text::kStopStringBytesMax);
  size_t stop_bytes = 0;
  for (const std::string& stop : sampling.stop) stop_bytes += stop.size();
  if (stop_bytes > text::kStopBytesMax)
    reader.fail("stop", fmt::format("has {} bytes in all, at most {} are allowed", stop_bytes,
                                    text::kStopBytesMax));
  sampling.ignore_eos = reader.boolean("ignore_eos", false);
  sampling.min_tokens = static_cast<int32_t>(reader.integer("min_tokens", 0, 0, kTokensMax));
  read_logit_bias(reader, model, sampling);
}

Result<PendingTask> read_task(const json::object& body, std::string path, const Identity& identity,
                              const Rooms& rooms) {
  JsonReader reader(body, path);
  PendingTask task;
  task.item = std::move(path);
  TaskSpec& spec = task.spec;
  task.prompt.field = "text";
  task.prompt.text = reader.required_text("text");
  if (reader.status().ok() && task.prompt.text.empty())
    reader.fail("text", "is empty, should have at least one character");
  spec.type = reader.text("type", "text_generation");
  if (spec.type.empty() || count_code_points(spec.type) > kNameMax)
    reader.fail("type", fmt::format("should have 1 to {} characters", kNameMax));
  const std::string model = reader.text("model", "");
  spec.tokens_max = static_cast<int32_t>(reader.integer("max_length", 128, 1, kTokensMax));
  spec.sampling.temperature = static_cast<float>(reader.number("temperature", 0.7, 0, 2));
  spec.estimated_memory = reader.unsigned_integer("estimated_memory", 0);
  spec.priority = static_cast<Priority>(
      reader.choice("priority", enum_names(kPriorityNames),
                    static_cast<size_t>(rooms.now()->gpu.multi_gpu.default_queue_priority)));
  if (reader.has("deadline_s")) {
    const double seconds = reader.number("deadline_s", 0, 0.001, kDeadlineMax);
    task.deadline_after = static_cast<TimeUs>(seconds * static_cast<double>(kSecond));
    spec.deadline = system_clock().now() + *task.deadline_after;
  }
  spec.idempotency_key = reader.text("idempotency_key", "");
  if (const size_t length = count_code_points(spec.idempotency_key); length > kNameMax)
    reader.fail("idempotency_key",
                fmt::format("has {} characters, at most {} are taken", length, kNameMax));
  static constexpr std::string_view kTemplates[] = {"raw", "chat"};
  const bool chat = reader.choice("template", kTemplates, 0) == 1;
  task.prompt.parse_special = reader.boolean("parse_special", false);  // Of raw texts alone.
  const GpuOptions options = read_gpu_options(reader, rooms);
  spec.strategy = options.strategy;
  spec.specific_device = options.specific_gpu_id;
  ALTLAS_TRY_VOID(reader.status());
  ALTLAS_TRY(task.model, rooms.prompts.find(model, spec.type));
  const bool embeds = spec.type == kEmbeddingType;
  ALTLAS_TRY_VOID(embeds ? check_embeds(*task.model) : check_generates(*task.model));
  read_sampling(reader, *task.model, spec.sampling);
  task.seed_drawn = !given_seed(reader);
  task.prompt.grammar = read_grammar(reader);
  spec.sampling.grammar = task.prompt.grammar.grammar;
  ALTLAS_TRY_VOID(reader.status());
  if (embeds) as_embedding(task);
  if (chat) {
    task.prompt.kind = Prompt::Kind::kChat;
    json::array messages{json::object{{"role", "user"}, {"content", task.prompt.text}}};
    task.prompt.messages = std::make_shared<json::value>(std::move(messages));
  }
  spec.owner = identity.name;
  spec.deployment = task.model->deployment;
  spec.adapter = task.model->adapter;
  return task;
}

json::object task_to_json(const control::TaskView& task) {
  json::object out{{"task_id", to_string(task.id)},
                   {"status", to_string(task.status)},
                   {"gpu_id", task.device.value},
                   {"type", task.type},
                   {"created_at", time_or_null(task.created_at)},
                   {"started_at", time_or_null(task.started_at)},
                   {"finished_at", time_or_null(task.finished_at)}};
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

json::object device_to_json(const control::DeviceView& device) {
  const auto measured = [](double value) {
    return value < 0 ? json::value(nullptr) : json::value(value);
  };
  json::array deployments;
  for (const std::string& name : device.deployments) deployments.emplace_back(name);
  return {{"id", device.id.value},
          {"name", device.name},
          {"kind", device.kind},
          {"utilization", device.utilization},
          {"memory_used", device.memory_used},
          {"memory_total", device.memory_total},
          {"task_count", device.task_count},
          {"queued_count", device.queued_count},
          {"temperature", measured(device.temperature)},
          {"power", measured(device.power)},
          {"healthy", device.healthy},
          {"deployments", std::move(deployments)}};
}

namespace {

// Tasks that have their places and their token ids.
struct ReadyTasks {
  control::Admission admission;
  std::vector<TaskSpec> specs;
};

// Tokenizes the task's prompt into its spec, once its deployment has room for it.
boost::asio::awaitable<Result<void>> read_prompt(PendingTask& task, Rooms& rooms) {
  if (task.prompt.reasoning == nullptr)
    task.prompt.reasoning = std::make_shared<text::ReasoningStart>();
  const auto reasoning = task.prompt.reasoning;
  ALTLAS_CO_TRY(task.spec.prompt,
                co_await rooms.prompts.encode(*task.model, std::move(task.prompt)));
  text::free_reasoning(*reasoning, task.model->reasoning, *task.model->tokenizer,
                       task.spec.sampling.grammar);
  co_return Result<void>();
}

boost::asio::awaitable<Result<ReadyTasks>> ready(std::vector<PendingTask> tasks, Rooms& rooms,
                                                 MemoryLease* memory = nullptr) {
  control::AdmissionRequested ask;
  ask.owner = tasks.front().spec.owner;
  ask.deployment = tasks.front().spec.deployment;
  ask.tasks = static_cast<uint32_t>(tasks.size());
  ReadyTasks out;
  ALTLAS_CO_TRY(out.admission, co_await rooms.service.admit(std::move(ask)));
  out.specs.reserve(tasks.size());
  AnswerSize size;
  for (size_t i = 0; i < tasks.size(); ++i) {
    PendingTask& task = tasks[i];
    if (task.same_prompt) {
      task.spec.prompt = out.specs.back().prompt;
      task.spec.sampling.grammar = out.specs.back().sampling.grammar;
    } else if (task.model != nullptr) {
      const std::string field = task.prompt.field;  // Reading takes the prompt.
      const auto read = co_await read_prompt(task, rooms);
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
    std::vector<PendingTask> tasks, bool split, Rooms& rooms, uint32_t min_per_device) {
  ALTLAS_CO_TRY(ReadyTasks all, co_await ready(std::move(tasks), rooms));
  co_return co_await rooms.service.submit(std::move(all.admission), std::move(all.specs), split,
                                          min_per_device);
}

boost::asio::awaitable<Result<std::vector<control::OwnedTask>>> submit_owned(
    std::vector<PendingTask> tasks, Asker asker, Rooms& rooms) {
  for (PendingTask& task : tasks) task.spec.durable = false;
  ALTLAS_CO_TRY(ReadyTasks all, co_await ready(std::move(tasks), rooms, asker.memory.get()));
  ALTLAS_CO_TRY(auto owned, co_await rooms.service.submit_owned(std::move(all.admission),
                                                                std::move(all.specs)));
  if (asker.disconnect != nullptr)
    for (const control::OwnedTask& one : owned)
      asker.disconnect->on_disconnect([id = one.id, &rooms] { rooms.service.cancel_soon(id); });
  co_return owned;
}

boost::asio::awaitable<Result<control::TaskView>> run_task(PendingTask task, Asker asker,
                                                           Rooms& rooms) {
  std::vector<PendingTask> tasks;
  tasks.push_back(std::move(task));
  ALTLAS_CO_TRY(const auto owned, co_await submit_owned(std::move(tasks), std::move(asker), rooms));
  while (true) {
    ALTLAS_CO_TRY(const control::StreamEvent event, co_await owned.front().answer->next());
    if (!event.end) continue;
    if (event.end->status == TaskStatus::kFailed)
      co_return Error(event.end->error_code, event.end->error);
    if (event.end->status == TaskStatus::kCanceled)
      co_return Error(ErrorCode::kCanceled, "the request was cancelled");
    co_return *event.end;
  }
}

}  // namespace altlas::server
