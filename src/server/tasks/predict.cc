// The task API: submit, batch, look at, list, cancel, explain, stream.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "server/body/query.h"
#include "server/http/sse.h"
#include "server/routes.h"
#include "server/tasks/body_hash.h"
#include "server/tasks/follow.h"
#include "server/tasks/predict_body.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// POST /api/v1/predict -> 200 {"task_id", "gpu_id", "status"}.  Errors: kInvalid 400, kNotFound 404
// (model), kConflict 409, kBusy 429, kUnavailable 503.  Runs on an io thread: no model work, no
// blocking call, no lock across co_await.
awaitable<Result<Response>> predict(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, services));
  ALTLAS_CO_TRY(PendingTask task, read_task(body, "", request, services));
  const auto ignored = task.prompt.grammar.ignored;
  task.spec.body_hash = body_hash(task, services.config.gpu.multi_gpu.default_strategy);
  std::vector<PendingTask> tasks;
  tasks.push_back(std::move(task));
  ALTLAS_CO_TRY(const auto placed, co_await submit_tasks(std::move(tasks), true, services));
  const control::Placed& first = placed.front();
  const json::object answer{{"task_id", to_string(first.task)},
                            {"gpu_id", first.device.value},
                            {"status", to_string(first.status)}};
  Response response = json_response(text::json_text(answer));
  add_ignored(*ignored, response);
  co_return response;
}

std::string_view batch_status(const std::vector<control::Placed>& placed, bool split) {
  const auto queued = std::ranges::count(placed, TaskStatus::kQueued, &control::Placed::status);
  if (queued == 0) return split ? "all_distributed" : "running";
  if (static_cast<size_t>(queued) == placed.size()) return split ? "all_queued" : "queued";
  return "mixed";
}

// POST /api/v1/batch_predict.  All items are checked before any is accepted.
awaitable<Result<Response>> batch_predict(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  BatchPredictBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  const json::array* batch = body.batch;
  const GpuOptions options = body.gpu_options.value_or(GpuOptions());
  const auto items_max = static_cast<size_t>(services.config.server.batch_items_max);
  if (batch->empty() || batch->size() > items_max)
    co_return invalid(
        fmt::format("batch: has {} items, should have 1 to {}", batch->size(), items_max), "batch");
  std::vector<PendingTask> tasks;
  std::vector<std::shared_ptr<std::vector<std::string>>> ignored;
  for (size_t i = 0; i < batch->size(); ++i) {
    const std::string path = fmt::format("batch[{}]", i);
    if (!(*batch)[i].is_object())
      co_return invalid(path + ": should be an object as /predict takes it", path);
    ALTLAS_CO_TRY(PendingTask task, read_task((*batch)[i].get_object(), path, request, services));
    if (options.strategy && !task.spec.strategy) task.spec.strategy = options.strategy;
    if (options.specific_gpu_id && !task.spec.specific_device)
      task.spec.specific_device = options.specific_gpu_id;
    if (task.model != (tasks.empty() ? task.model : tasks.front().model))
      co_return invalid(path + ".model: a batch takes one model for all its items",
                        path + ".model");
    ignored.push_back(task.prompt.grammar.ignored);
    task.spec.body_hash = body_hash(task, services.config.gpu.multi_gpu.default_strategy);
    tasks.push_back(std::move(task));
  }
  const auto now = services.now();
  const config::MultiGpuConfig& config = now->gpu.multi_gpu;
  const bool split = options.batch_split.value_or(config.batch_split);
  // A batch that asks for a split is split, however small it is.
  const auto min_per_device =
      static_cast<uint32_t>(options.batch_split ? 1 : config.min_batch_size_per_gpu);
  ALTLAS_CO_TRY(const auto placed,
                co_await submit_tasks(std::move(tasks), split, services, min_per_device));
  json::object answer{{"status", batch_status(placed, split)}};
  json::array list;
  for (const control::Placed& one : placed) {
    if (split) {
      list.push_back({{"task_id", to_string(one.task)},
                      {"gpu_id", one.device.value},
                      {"status", to_string(one.status)}});
    } else {
      list.emplace_back(to_string(one.task));
    }
  }
  if (!split) answer["gpu_id"] = placed.front().device.value;
  answer[split ? "tasks" : "task_ids"] = std::move(list);
  std::vector<std::string> names;
  for (size_t i = 0; i < ignored.size(); ++i)
    for (const std::string& name : *ignored[i])
      names.push_back(fmt::format("batch[{}].{}", i, name));
  Response response = json_response(text::json_text(answer));
  add_ignored(names, response);
  co_return response;
}

// Returns the task named in the path, if the asker may see it.
awaitable<Result<control::TaskView>> own_task(const Request& request, Services& services) {
  const std::string text(request.parameter("id"));
  const auto id = parse_task_id(text);
  const Error missing = not_found(fmt::format(
      "no task '{}': it was never accepted, or is older than the tasks kept", text.substr(0, 64)));
  if (!id) co_return missing;
  const Identity identity = request.identity;
  auto view = co_await services.service.task(*id);
  if (!view.ok()) co_return missing;
  if (identity.role == Role::kUser && view->owner != identity.name) co_return missing;
  co_return view;
}

struct TaskQuery {
  std::optional<double> wait;

  static constexpr void fields(auto&& field) {
    field("wait", &TaskQuery::wait,
          BodyField{.help = "Seconds to wait for the task's end; above server.wait_max_s it is "
                            "lowered to that",
                    .min = 0});
  }
};
static_assert(fields_complete<TaskQuery>(), "describe every member in fields()");

awaitable<Result<Response>> get_task(Request request, Services& services) {
  ALTLAS_CO_TRY(const TaskQuery query, read_query<TaskQuery>(request, *services.now()));
  ALTLAS_CO_TRY(control::TaskView view, co_await own_task(request, services));
  if (query.wait && !is_over(view.status)) {
    const double seconds = std::min(*query.wait, services.config.server.wait_max_s);
    ALTLAS_CO_TRY(view,
                  co_await services.service.wait(view.id, static_cast<int64_t>(seconds * 1000)));
  }
  co_return json_response(text::json_text(task_to_json(view)));
}

awaitable<Result<Response>> delete_task(Request request, Services& services) {
  ALTLAS_CO_TRY(const control::TaskView view, co_await own_task(request, services));
  ALTLAS_CO_TRY_VOID(co_await services.service.cancel(view.id));
  const json::object answer{{"task_id", to_string(view.id)}, {"status", "canceled"}};
  co_return json_response(text::json_text(answer));
}

constexpr std::string_view kYesNo[] = {"true", "false"};

struct TaskListQuery {
  std::optional<TaskStatus> status;
  int64_t limit = 100;
  int64_t offset = 0;
  std::string texts = "true";
  std::optional<std::string> key;

  static constexpr void fields(auto&& field) {
    using S = TaskListQuery;
    field("status", &S::status, BodyField{.help = "Only tasks in this state"});
    field("limit", &S::limit,
          BodyField{.help = "Tasks at most; above server.list_limit_max it is lowered to that",
                    .min = 0});
    field("offset", &S::offset, BodyField{.help = "Tasks to skip, newest first", .min = 0});
    field("texts", &S::texts,
          BodyField{.help = "False: results come without their texts", .choices = kYesNo});
    field("key", &S::key, BodyField{.help = "For admins: only tasks of the key with this name"});
  }
};
static_assert(fields_complete<TaskListQuery>(), "describe every member in fields()");

awaitable<Result<Response>> list_tasks(Request request, Services& services) {
  ALTLAS_CO_TRY(const TaskListQuery query, read_query<TaskListQuery>(request, *services.now()));
  control::TaskFilter filter;
  if (request.identity.role == Role::kUser) filter.owner = request.identity.name;
  filter.status = query.status;
  filter.texts = query.texts == "true";
  if (query.key && request.identity.role != Role::kUser) filter.owner = *query.key;
  filter.offset = static_cast<uint64_t>(query.offset);
  filter.limit =
      static_cast<uint32_t>(std::min(query.limit, services.config.server.list_limit_max));
  const control::TaskPage page = co_await services.service.tasks(std::move(filter));
  json::object tasks;
  tasks.reserve(page.tasks.size());
  for (const control::TaskView& view : page.tasks)
    tasks.emplace(to_string(view.id), task_to_json(view));
  const json::object answer{{"tasks", std::move(tasks)}, {"total", page.total}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> explain_task(Request request, Services& services) {
  const std::string id_text(request.parameter("id"));
  const auto id = parse_task_id(id_text);
  // The event log may know tasks that the server has forgotten.
  const Error missing =
      not_found(fmt::format("no task '{}': it was never accepted, or is older than the event log",
                            id_text.substr(0, 64)));
  if (!id) co_return missing;
  const auto view = co_await services.service.task(*id);
  const Identity identity = request.identity;
  const auto is_hidden = [&](const std::string& owner) {
    return identity.role == Role::kUser && owner != identity.name;
  };
  if (view.ok() && is_hidden(view->owner)) co_return missing;
  const auto story = co_await services.service.explain(*id);
  if (!story.ok() && story.error().code() == ErrorCode::kNotFound && !view.ok()) co_return missing;
  if (!story.ok()) co_return story.error();
  if (is_hidden(story->owner)) co_return missing;
  const control::Explanation& why = *story->choice;
  json::object answer{{"task_id", to_string(why.task)},
                      {"strategy", to_string(why.strategy)},
                      {"reason", why.reason}};
  answer["winner"] = why.winner.value;
  answer["runner_up"] = why.runner_up ? json::value(why.runner_up->value) : json::value(nullptr);
  json::array rejected;
  for (const control::Rejection& one : why.rejected)
    rejected.push_back({{"gpu_id", one.device.value}, {"reason", one.reason}});
  answer["rejected"] = std::move(rejected);
  json::object alternatives;
  for (const auto& [strategy, device] : why.alternatives)
    alternatives[to_string(strategy)] = device ? json::value(device->value) : json::value(nullptr);
  answer["alternatives"] = std::move(alternatives);
  answer["epoch"] = why.epoch;
  json::array moves;
  for (const control::Move& move : story->moves)
    moves.push_back({{"from", move.from.value},
                     {"to", move.to.value},
                     {"at", to_rfc3339(move.at)},
                     {"reason", move.reason}});
  answer["moves"] = std::move(moves);
  if (!story->note.empty()) answer["note"] = story->note;
  co_return json_response(text::json_text(answer));
}

// Errors: kInvalid unless Last-Event-ID is left out, empty or a number, as ids of events are.
Result<uint64_t> read_last_event_id(const Request& request) {
  const std::string& text = request.last_event_id;
  uint64_t bytes = 0;
  if (text.empty()) return bytes;
  const char* const end = text.data() + text.size();
  if (const auto [rest, error] = std::from_chars(text.data(), end, bytes);
      error != std::errc() || rest != end)
    return invalid("Last-Event-ID: should be the id of an event of this stream, a number",
                   "Last-Event-ID");
  return bytes;
}

// Returns the text of `delta` behind its first `seen` bytes; a character that they cut is whole.
std::string_view text_behind(const TokenDelta& delta, uint64_t seen) {
  std::string_view text = delta.text;
  if (seen <= delta.text_offset) return text;
  size_t cut = std::min<uint64_t>(seen - delta.text_offset, text.size());
  while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80)
    --cut;
  return text.substr(cut);
}

// Returns what the client is sent for an event: the text and its tokens, and at the end the task
// itself. Text among the first `seen` bytes is left out, and the tokens of an event with it. An
// event's id is the number of bytes up to its end.
std::string say(const Result<control::StreamEvent>& event, uint64_t seen) {
  if (!event.ok())
    return sse_event(text::json_text(json::object{{"error", event.error().message()}}));
  std::string out;
  const TokenDelta& delta = event->delta;
  const std::string_view text = text_behind(delta, seen);
  const bool whole = text.size() == delta.text.size();
  if (!text.empty() || (whole && !delta.ids.empty() && delta.text_offset >= seen)) {
    json::array ids;
    if (whole) ids = json::array(delta.ids.begin(), delta.ids.end());
    const json::object piece{{"text", text}, {"tokens", std::move(ids)}};
    out = sse_event(text::json_text(piece), delta.text_offset + delta.text.size());
  }
  if (event->end)
    out += sse_event(text::json_text(task_to_json(*event->end))) + sse_event("[DONE]");
  return out;
}

// GET /api/v1/task/{id}/stream: the task's text from its first byte, or behind what the event named
// by Last-Event-ID ended with, then the task itself.
awaitable<Result<Response>> stream_task(Request request, Services& services) {
  ALTLAS_CO_TRY(const uint64_t seen, read_last_event_id(request));
  ALTLAS_CO_TRY(const control::TaskView view, co_await own_task(request, services));
  ALTLAS_CO_TRY(auto opened, co_await services.service.subscribe(view.id));
  const SayEvent from_seen = [seen](const Result<control::StreamEvent>& event) {
    return say(event, seen);
  };
  co_return stream_events(std::move(opened), from_seen);
}

}  // namespace

std::vector<Route> task_routes() {
  return {
      {"POST",
       "/api/v1/predict",
       Access::kUser,
       predict,
       "Submit one task",
       "PredictRequest",
       "Placed",
       {},
       {400, 404, 409, 413, 415, 429, 503}},
      {"POST",
       "/api/v1/batch_predict",
       Access::kUser,
       batch_predict,
       "Submit many tasks",
       "BatchPredictRequest",
       "BatchPlaced",
       {},
       {400, 404, 409, 413, 415, 429, 503}},
      {"GET",
       "/api/v1/task/{id}",
       Access::kUser,
       get_task,
       "Look at a task",
       "",
       "Task",
       &kQueryOf<TaskQuery>,
       {400, 404}},
      {"DELETE",
       "/api/v1/task/{id}",
       Access::kUser,
       delete_task,
       "Cancel a task",
       "",
       "Canceled",
       {},
       {404, 409}},
      {"GET",
       "/api/v1/tasks",
       Access::kUser,
       list_tasks,
       "List tasks, newest first",
       "",
       "TaskList",
       &kQueryOf<TaskListQuery>,
       {400}},
      {"GET",
       "/api/v1/task/{id}/explain",
       Access::kUser,
       explain_task,
       "Why this device",
       "",
       "Explanation",
       {},
       {404, 429, 503}},
      {"GET",
       "/api/v1/task/{id}/stream",
       Access::kUser,
       stream_task,
       "A task's text as server-sent events",
       "",
       "",
       {},
       {404},
       "text/event-stream"},
  };
}

}  // namespace altlas::server
