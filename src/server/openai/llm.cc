// The second source document's routes (/llm/generate, /generate, /chat) and /echo.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "server/http/sse.h"
#include "server/openai/fields.h"
#include "server/prompt/chat_messages.h"
#include "server/prompt/prompt_json.h"
#include "server/routes.h"
#include "server/tasks/task_json.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

struct Defaults {
  int64_t max_tokens = 512;
  double top_p = 0.95;
};

// Fields that /llm/generate, /generate and /chat share.
Result<PendingTask> read_llm_task(JsonReader& reader, const Request& request, const Rooms& rooms,
                                  Defaults defaults) {
  PendingTask task;
  const std::string model = reader.text("model", "");
  const auto tokens = read_tokens_max(reader, {"max_tokens"}, 1, defaults.max_tokens);
  task.spec.tokens_max = static_cast<int32_t>(tokens.value_or(0));  // 0: what the model has left.
  task.spec.sampling.temperature = static_cast<float>(reader.number("temperature", 0.7, 0, 2));
  task.spec.sampling.top_p = static_cast<float>(defaults.top_p);
  const GpuOptions options = read_gpu_options(reader, rooms);
  task.spec.strategy = options.strategy;
  task.spec.specific_device = options.specific_gpu_id;
  task.spec.owner = request.identity.name;
  task.spec.priority = rooms.now()->gpu.multi_gpu.default_queue_priority;
  ALTLAS_TRY_VOID(reader.status());
  ALTLAS_TRY(task.model, rooms.prompts.find(model, kGenerationType));
  ALTLAS_TRY_VOID(check_generates(*task.model));
  task.spec.deployment = task.model->deployment;
  task.spec.adapter = task.model->adapter;
  read_sampling(reader, *task.model, task.spec.sampling);
  ALTLAS_TRY_VOID(reader.status());
  return task;
}

awaitable<Result<control::TaskView>> generate(const Request& request, Rooms& rooms,
                                              Defaults defaults) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, rooms));
  JsonReader reader(body);
  std::string prompt = reader.required_text("prompt");
  if (reader.status().ok() && prompt.empty())
    reader.fail("prompt", "is empty, should have at least one character");
  ALTLAS_CO_TRY(PendingTask task, read_llm_task(reader, request, rooms, defaults));
  read_special(reader, task.prompt, /*parse_special=*/true);
  ALTLAS_CO_TRY_VOID(reader.status());
  task.prompt.field = "prompt";
  task.prompt.text = std::move(prompt);
  co_return co_await run_task(std::move(task), request.asker(), rooms);
}

json::value seed_of(const control::TaskView& view) {
  return view.seed ? json::value(shown_seed(*view.seed)) : json::value(nullptr);
}

// POST /llm/generate -> {"text", "tokens", "seed"}.
awaitable<Result<Response>> llm_generate(Request request, Rooms& rooms) {
  const Defaults defaults;
  ALTLAS_CO_TRY(const control::TaskView view, co_await generate(request, rooms, defaults));
  const json::object answer{
      {"text", view.result->text}, {"tokens", view.result->tokens}, {"seed", seed_of(view)}};
  co_return json_response(text::json_text(answer));
}

// POST /generate -> the text, as the source document's pipeline returns it.
awaitable<Result<Response>> plain_generate(Request request, Rooms& rooms) {
  Defaults defaults;
  defaults.max_tokens = 256;
  ALTLAS_CO_TRY(control::TaskView view, co_await generate(request, rooms, defaults));
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  if (view.seed)
    response.headers.emplace_back("X-Altlas-Seed", std::to_string(shown_seed(*view.seed)));
  response.body = std::move(view.result->text);
  co_return response;
}

json::object usage_json(const control::TaskView& view) {
  return {{"prompt_tokens", view.prompt_tokens},
          {"completion_tokens", view.result->tokens},
          {"total_tokens", view.prompt_tokens + view.result->tokens}};
}

// What is reasoning in a text, and what the answer.
using Reader = std::shared_ptr<text::AnswerReader>;
Reader reader_of(const ServedModel& model, text::ReasoningStart start) {
  text::AnswerReader::Options options;
  options.reasoning = model.reasoning;
  options.in_reasoning = start == text::ReasoningStart::kUnderway;
  return std::make_shared<text::AnswerReader>(std::move(options));
}

// {"reasoning_content", "content"}, each where there is some.
json::object pieces_json(text::AnswerReader& reader, std::string_view text, bool last) {
  std::vector<text::AnswerPiece> pieces = reader.push(text);
  if (last) std::ranges::move(reader.finish(), std::back_inserter(pieces));
  std::string content, reasoning;
  for (const text::AnswerPiece& piece : pieces)
    (piece.kind == text::AnswerPiece::Kind::kReasoning ? reasoning : content) += piece.text;
  json::object out;
  if (!reasoning.empty()) out["reasoning_content"] = reasoning;
  if (!content.empty()) out["content"] = content;
  return out;
}

// Streams {"content": "…"} events, then one with the usage, then [DONE].
awaitable<Result<Response>> stream_chat(PendingTask task, Request request, Rooms& rooms) {
  const ServedModelPointer model = task.model;
  const auto start = task.prompt.reasoning;
  std::vector<PendingTask> tasks;
  tasks.push_back(std::move(task));
  ALTLAS_CO_TRY(const auto owned, co_await submit_owned(std::move(tasks), request.asker(), rooms));
  const std::shared_ptr<control::Subscription> subscription = owned.front().answer;
  Response response = sse_response();
  const Reader reader = reader_of(*model, *start);
  response.stream = [subscription, reader](WriteChunk write) -> awaitable<void> {
    while (true) {
      auto event = co_await subscription->next();
      json::object piece;
      if (!event.ok()) {
        piece["error"] = event.error().message();
      } else {
        piece = pieces_json(*reader, event->delta.text, event->end.has_value());
      }
      if (!piece.empty() && !(co_await write(sse_event(text::json_text(piece)))).ok()) co_return;
      if (!event.ok()) co_return;
      if (!event->end) continue;
      const control::TaskView& view = *event->end;
      json::object last{
          {"finish_reason", view.result ? to_string(view.result->finish_reason) : ""}};
      if (view.result) last["usage"] = usage_json(view);
      last["seed"] = seed_of(view);
      if (!view.error.empty()) last["error"] = view.error;
      std::string tail = sse_event(text::json_text(last)) + sse_event("[DONE]");
      static_cast<void>(co_await write(std::move(tail)));  // The stream ends either way.
      co_return;
    }
  };
  co_return response;
}

// POST /chat -> {"content", "usage", "seed"}, and "reasoning_content" where there is some.
awaitable<Result<Response>> chat(Request request, Rooms& rooms) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, rooms));
  JsonReader reader(body);
  auto messages = read_messages(reader);
  const bool stream = reader.boolean("stream", false);
  const Defaults defaults;
  ALTLAS_CO_TRY(PendingTask task, read_llm_task(reader, request, rooms, defaults));
  task.prompt.kind = Prompt::Kind::kChat;
  task.prompt.field = "messages";
  task.prompt.messages = std::move(messages);
  task.prompt.reasoning = std::make_shared<text::ReasoningStart>();
  task.spec.sampling.shown_tokens =
      text::control_tokens_of(*task.model->tokenizer, task.model->reasoning.all());
  if (stream) co_return co_await stream_chat(std::move(task), std::move(request), rooms);
  const ServedModelPointer model = task.model;
  const auto start = task.prompt.reasoning;
  ALTLAS_CO_TRY(const control::TaskView view,
                co_await run_task(std::move(task), request.asker(), rooms));
  json::object answer = pieces_json(*reader_of(*model, *start), view.result->text, true);
  answer.emplace("content", "");
  answer["usage"] = usage_json(view);
  answer["seed"] = seed_of(view);
  co_return json_response(text::json_text(answer));
}

// POST /echo -> {"echo": the body, "calls": the replica's count}: a deployment like any other,
// without a model.
awaitable<Result<Response>> echo(Request request, Rooms& rooms) {
  const auto depth_max = static_cast<size_t>(rooms.config.server.json_depth_max);
  if (const auto body = parse_json(request.body, depth_max); !body.ok()) co_return body.error();
  PendingTask task;
  task.spec.type = "echo";
  task.spec.deployment = "echo";
  task.spec.owner = request.identity.name;
  task.spec.tokens_max = 1;
  task.spec.prompt.add_payload(std::move(request.body),
                               0);  // As it was sent: numbers keep their digits.
  ALTLAS_CO_TRY(control::TaskView view, co_await run_task(std::move(task), request.asker(), rooms));
  co_return json_response(std::move(view.result->text));
}

}  // namespace

std::vector<Route> llm_routes() {
  const std::vector<int> errors{400, 404, 413, 415, 429, 503};
  return {
      {"POST",
       "/llm/generate",
       Access::kUser,
       llm_generate,
       "Generate text",
       "GenerateRequest",
       "GenerateAnswer",
       {},
       errors},
      {"POST",
       "/generate",
       Access::kUser,
       plain_generate,
       "Generate text, answered as plain text",
       "GenerateRequest",
       "",
       {},
       errors,
       "text/plain"},
      {"POST",
       "/chat",
       Access::kUser,
       chat,
       "One turn of a conversation",
       "ChatRequest",
       "ChatAnswer",
       {},
       errors},
      {"POST",
       "/echo",
       Access::kUser,
       echo,
       "The body and the replica's count of calls",
       "Any",
       "EchoAnswer",
       {},
       {400, 413, 415, 429, 503}},
  };
}

}  // namespace altlas::server
