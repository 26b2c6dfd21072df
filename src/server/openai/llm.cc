// The second source document's routes (/llm/generate, /generate, /chat) and /echo.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "server/body/read.h"
#include "server/http/sse.h"
#include "server/openai/llm_bodies.h"
#include "server/routes.h"
#include "server/tasks/follow.h"
#include "server/tasks/task_json.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// Reads the fields that /llm/generate, /generate and /chat share.
Result<PendingTask> read_llm_task(LlmFields fields, JsonReader& reader, const Request& request,
                                  const Services& services) {
  ALTLAS_TRY_VOID(reader.status());
  PendingTask task;
  ALTLAS_TRY_VOID(
      read_target(fields.target, std::nullopt, kGenerationType, request, services, task));
  // 0 stands for what the model has left.
  task.spec.tokens_max = static_cast<int32_t>(fields.max_tokens.tokens.value_or(0));
  task.spec.sampling = read_sampling(std::move(fields.sampling), reader, *task.model);
  ALTLAS_TRY_VOID(reader.status());
  return task;
}

// `body` already has the route's defaults.
awaitable<Result<control::TaskView>> generate(const Request& request, Services& services,
                                              GenerateBody body) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY(PendingTask task, read_llm_task(std::move(body.common), reader, request, services));
  task.prompt.field = "prompt";
  task.prompt.text = std::move(body.prompt);
  task.prompt.parse_special = body.parse_special;
  task.prompt.add_special = body.add_special_tokens;
  co_return co_await run_task(std::move(task), request.asker(), services);
}

json::value seed_of(const control::TaskView& view) {
  return view.seed ? json::value(shown_seed(*view.seed)) : json::value(nullptr);
}

// POST /llm/generate -> {"text", "tokens", "seed"}.
awaitable<Result<Response>> llm_generate(Request request, Services& services) {
  GenerateBody body;
  ALTLAS_CO_TRY(const control::TaskView view,
                co_await generate(request, services, std::move(body)));
  const json::object answer{
      {"text", view.result->text}, {"tokens", view.result->tokens}, {"seed", seed_of(view)}};
  co_return json_response(text::json_text(answer));
}

// POST /generate -> the text, as the source document's pipeline returns it.
awaitable<Result<Response>> plain_generate(Request request, Services& services) {
  GenerateBody body = plain_generate_body();
  ALTLAS_CO_TRY(control::TaskView view, co_await generate(request, services, std::move(body)));
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  if (view.seed)
    response.headers.emplace_back("X-Altlas-Seed", std::to_string(shown_seed(*view.seed)));
  response.body = std::move(view.result->text);
  co_return response;
}

// Tells the reasoning in a text from the answer.
using Reader = std::shared_ptr<text::AnswerReader>;
Reader reader_of(const ServedModel& model, text::ReasoningStart start) {
  text::AnswerReader::Options options;
  options.reasoning = model.reasoning;
  options.in_reasoning = start == text::ReasoningStart::kUnderway;
  return std::make_shared<text::AnswerReader>(std::move(options));
}

// Returns {"reasoning_content", "content"}, without those that are empty.
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

// Returns what the client is sent for an event: {"content": "…"}, and after the last one the usage
// and [DONE].
std::string say(text::AnswerReader& reader, const Result<control::StreamEvent>& event) {
  if (!event.ok())
    return sse_event(text::json_text(json::object{{"error", event.error().message()}}));
  const json::object piece = pieces_json(reader, event->delta.text, event->end.has_value());
  std::string out = piece.empty() ? "" : sse_event(text::json_text(piece));
  if (!event->end) return out;
  const control::TaskView& view = *event->end;
  json::object last{{"finish_reason", view.result ? to_string(view.result->finish_reason) : ""}};
  if (view.result) last["usage"] = usage_json(view.prompt_tokens, view.result->tokens);
  last["seed"] = seed_of(view);
  if (!view.error.empty()) last["error"] = view.error;
  return out + sse_event(text::json_text(last)) + sse_event("[DONE]");
}

awaitable<Result<Response>> stream_chat(PendingTask task, Request request, Services& services) {
  const ServedModelPointer model = task.model;
  const auto start = task.prompt.reasoning;
  std::vector<PendingTask> tasks;
  tasks.push_back(std::move(task));
  ALTLAS_CO_TRY(const auto owned,
                co_await submit_owned(std::move(tasks), request.asker(), services));
  const Reader reader = reader_of(*model, *start);
  co_return stream_events(
      owned.front().answer,
      [reader](const Result<control::StreamEvent>& event) { return say(*reader, event); });
}

// POST /chat -> {"content", "usage", "seed"}, and "reasoning_content" if there is any.
awaitable<Result<Response>> chat(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  ChatBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  auto messages = read_messages(*body.messages, reader);
  ALTLAS_CO_TRY(PendingTask task, read_llm_task(std::move(body.common), reader, request, services));
  task.prompt.kind = PromptSource::Kind::kChat;
  task.prompt.field = "messages";
  task.prompt.messages = std::move(messages);
  task.prompt.reasoning = std::make_shared<text::ReasoningStart>();
  task.spec.sampling.shown_tokens =
      text::control_tokens_of(*task.model->tokenizer, task.model->reasoning.all());
  if (body.stream) co_return co_await stream_chat(std::move(task), std::move(request), services);
  const ServedModelPointer model = task.model;
  const auto start = task.prompt.reasoning;
  ALTLAS_CO_TRY(const control::TaskView view,
                co_await run_task(std::move(task), request.asker(), services));
  json::object answer = pieces_json(*reader_of(*model, *start), view.result->text, true);
  answer.emplace("content", "");
  answer["usage"] = usage_json(view.prompt_tokens, view.result->tokens);
  answer["seed"] = seed_of(view);
  co_return json_response(text::json_text(answer));
}

// POST /echo -> {"echo": the body, "calls": the replica's count}: a deployment like any other,
// without a model.
awaitable<Result<Response>> echo(Request request, Services& services) {
  const auto depth_max = static_cast<size_t>(services.config.server.json_depth_max);
  if (const auto body = parse_json(request.body, depth_max); !body.ok()) co_return body.error();
  PendingTask task;
  task.spec.type = "echo";
  task.spec.deployment = "echo";
  task.spec.owner = request.identity.name;
  task.spec.tokens_max = 1;
  // The body stays as it was sent, so numbers keep their digits.
  task.spec.prompt.add_payload(std::move(request.body), 0);
  ALTLAS_CO_TRY(control::TaskView view,
                co_await run_task(std::move(task), request.asker(), services));
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
       "PlainGenerateRequest",
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
