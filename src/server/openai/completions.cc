// OpenAI's routes: /v1/models, /v1/completions, /v1/chat/completions; and llama-server's /infill.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "server/body/schema.h"
#include "server/http/problem.h"
#include "server/http/sse.h"
#include "server/openai/answers.h"
#include "server/openai/bodies.h"
#include "server/routes.h"
#include "server/tasks/answer_size.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// Answers with more log-probabilities are sent piece by piece.
constexpr size_t kWholeLogprobsMax = 20'000;

struct OpenAiRequest {
  // One task for each choice of each prompt, a prompt's choices together.
  std::vector<PendingTask> tasks;
  size_t prompts = 1;
  OpenAiReply reply;
  bool stream = false;
  bool include_usage = false;
  int64_t n = 1;           // The number of choices per prompt.
  GrammarRequest grammar;  // The grammar that holds for the answers.
};

json::object model_json(const ServedModel& model, int64_t created) {
  json::object out{{"id", model.id},
                   {"object", "model"},
                   {"created", created},
                   {"owned_by", "altlas"},
                   {"max_model_len", model.model_len_max}};
  if (!model.parent.empty()) out["parent"] = model.parent;
  if (!model.chat_template_error.empty()) out["chat_template_error"] = model.chat_template_error;
  return out;
}

awaitable<Result<Response>> list_models(Request, Services& services) {
  json::array data;
  for (const ServedModelPointer& model : services.prompts.models())
    data.push_back(model_json(*model, services.started / kSecond));
  const json::object answer{{"object", "list"}, {"data", std::move(data)}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> get_model(Request request, Services& services) {
  ALTLAS_CO_TRY(const ServedModelPointer model,
                services.prompts.find(request.parameter("id"), kGenerationType));
  co_return json_response(text::json_text(model_json(*model, services.started / kSecond)));
}

// Reads the fields that the routes share. The task that they make is the pattern of every choice.
// `logprobs` is that of SamplingParams.
Result<PendingTask> read_common(OpenAiFields fields, int32_t logprobs, JsonReader& reader,
                                const Request& request, const Services& services,
                                OpenAiRequest& out) {
  PendingTask pattern;
  TaskSpec& spec = pattern.spec;
  out.stream = fields.stream;
  out.include_usage = fields.stream_options && fields.stream_options->include_usage;
  if (const GrammarRequest grammar = read_grammar(fields.grammar, reader); !out.grammar.given())
    out.grammar = grammar;
  else if (grammar.given())
    reader.fail("tool_choice", fmt::format("demands a call and {} something else: an answer is "
                                           "held to one",
                                           grammar.field));
  ALTLAS_TRY_VOID(reader.status());
  ALTLAS_TRY_VOID(
      read_target(fields.target, fields.priority, kGenerationType, request, services, pattern));
  spec.asked = request.received;
  pattern.seed_drawn = !wanted_seed(fields.sampling);
  spec.sampling = read_sampling(std::move(fields.sampling), reader, *pattern.model);
  spec.sampling.logprobs = logprobs;
  spec.sampling.grammar = out.grammar.grammar;
  read_vllm_fields(fields, out.n, reader, *pattern.model, spec.sampling);
  ALTLAS_TRY_VOID(reader.status());
  out.reply.prompt_logprobs = spec.sampling.prompt_logprobs;
  out.reply.include_stop = fields.include_stop_str_in_output;
  out.reply.model = pattern.model->id;
  out.reply.fingerprint = "altlas-" + services.version;
  out.reply.shows_usage = out.include_usage;
  out.reply.served = pattern.model;
  out.reply.logprobs = spec.sampling.logprobs;
  out.reply.created = request.received / kSecond;
  out.reply.seed = shown_seed(spec.sampling.seed);
  return pattern;
}

// Makes the answer fill a gap of every prompt, and end where the model ends gaps.
Result<void> fill_gap(const std::string& field, const Gap& gap, std::vector<PromptSource>& prompts,
                      PendingTask& pattern, OpenAiReply& reply) {
  const text::Tokenizer& tokenizer = *pattern.model->tokenizer;
  ALTLAS_TRY_VOID(check_fills(tokenizer, pattern.model->id, field));
  for (PromptSource& prompt : prompts) prompt.gap = gap;
  reply.fills = true;
  SamplingParams& sampling = pattern.spec.sampling;
  if (sampling.ignore_eos) return {};
  std::vector<int32_t> ends;
  std::ranges::set_union(sampling.stop_token_ids, tokenizer.fim().ends, std::back_inserter(ends));
  sampling.stop_token_ids = std::move(ends);
  return {};
}

// Counts the bytes that are about to be copied for each prompt or choice. Errors: those of
// MemoryLease::hold.
Result<void> hold_copies(const Request& request, int64_t bytes, size_t copies) {
  if (request.memory == nullptr) return {};
  return request.memory->add(bytes * static_cast<int64_t>(copies));
}

// Adds `n` choices of every prompt. Choice k draws from seed + k; if the seed was drawn, a repeated
// prompt goes on counting.
Result<void> add_choices(const Request& request, const PendingTask& pattern,
                         std::vector<PromptSource> prompts, OpenAiRequest& out) {
  const int64_t n = out.n;
  if (prompts.size() * static_cast<size_t>(n) > kPromptsMax)
    return invalid(fmt::format("n: {} choices of {} prompts are too many, at most {} in all", n,
                               prompts.size(), kPromptsMax),
                   "n");
  ALTLAS_TRY_VOID(hold_copies(request, field_bytes(pattern.spec.sampling),
                              prompts.size() * static_cast<size_t>(n)));
  out.prompts = prompts.size();
  out.reply.choices_per_prompt = static_cast<size_t>(n);
  // The choices of each prompt so far.
  std::map<std::pair<std::string, std::vector<int32_t>>, uint64_t> drawn;
  for (PromptSource& prompt : prompts) {
    uint64_t first = 0;
    uint64_t& index = pattern.seed_drawn ? drawn[{prompt.text, prompt.ids}] : first;
    if (out.reply.token_ids) out.reply.prompt_ids.push_back(prompt.ids);
    if (out.reply.echo) {
      out.reply.prompt_texts.push_back(prompt.text);
      out.reply.first_tokens.push_back(prompt.ids.empty() ? -1 : prompt.ids.front());
    }
    for (int64_t k = 0; k < n; ++k) {
      PendingTask task = pattern;
      task.same_prompt = k > 0;
      if (out.prompts > 1)
        task.place = fmt::format("{}[{}]", prompt.field, &prompt - prompts.data());
      if (k == 0) task.prompt = std::move(prompt);
      if (out.tasks.empty()) task.prompt.grammar = out.grammar;
      task.spec.sampling.seed = choice_seed(pattern.spec.sampling.seed, index++);
      out.reply.seeds.push_back(shown_seed(task.spec.sampling.seed));
      out.tasks.push_back(std::move(task));
    }
  }
  return {};
}

// Streams the chunks of all choices as they come.
Response stream_choices(OpenAiRequest plan, std::vector<control::OwnedTask> tasks,
                        Services& services) {
  Response response = sse_response();
  const auto shared = std::make_shared<OpenAiRequest>(std::move(plan));
  response.stream = [shared, tasks, &services](WriteChunk write) -> awaitable<void> {
    std::vector<Choice> choices(tasks.size());
    std::vector<ChunkWriter> writers;
    for (size_t i = 0; i < tasks.size(); ++i) writers.emplace_back(shared->reply, i);
    const OnChoiceEvent on_event =
        [&](size_t index, const control::StreamEvent& event) -> awaitable<Result<void>> {
      if (event.end) choices[index].view = *event.end;
      std::string piece;
      for (const json::object& one : writers[index].chunks(event))
        piece += sse_event(text::json_text(one));
      if (piece.empty()) co_return Result<void>();
      co_return co_await write(std::move(piece));
    };
    const auto outcome = co_await read_choices(tasks, on_event, services);
    std::string tail;
    if (!outcome.ok()) {
      tail = sse_event(problem(outcome.error(), true).body);
    } else if (shared->include_usage) {
      tail = sse_event(text::json_text(
          usage_chunk(shared->reply, usage_of(shared->reply, choices, shared->prompts))));
    }
    if (!shared->reply.infill) tail += sse_event("[DONE]");
    if (tail.empty()) co_return;
    // The stream ends whether or not this is written.
    static_cast<void>(co_await write(std::move(tail)));
  };
  return response;
}

// Writes one piece after the other, so that only one is in memory beside what the choices hold.
Response stream_answer(OpenAiReply reply, std::vector<Choice> choices, size_t prompts) {
  struct Answer {
    OpenAiReply reply;
    std::vector<Choice> choices;
  };
  const auto whole = std::make_shared<Answer>(Answer{std::move(reply), std::move(choices)});
  Response response;
  response.stream = [whole, prompts](WriteChunk write) -> awaitable<void> {
    for (size_t i = 0; i < answer_pieces(whole->choices); ++i) {
      std::string piece = answer_piece(whole->reply, whole->choices, prompts, i);
      if (!(co_await write(std::move(piece))).ok()) co_return;
    }
  };
  return response;
}

// `background` is for a batch, which wants the answer whole.
Response whole_answer(OpenAiRequest plan, std::vector<Choice> choices, bool background) {
  if (plan.reply.infill)
    return json_response(
        text::json_text(infill_answer(plan.reply, choices.front().text, choices.front().view)));
  if (!background && logprob_count(choices) > kWholeLogprobsMax)
    return stream_answer(std::move(plan.reply), std::move(choices), plan.prompts);
  std::string body;
  for (size_t i = 0; i < answer_pieces(choices); ++i)
    body += answer_piece(plan.reply, choices, plan.prompts, i);
  return json_response(std::move(body));
}

awaitable<Result<Response>> answer(OpenAiRequest plan, Asker asker, bool background,
                                   Services& services) {
  std::vector<PendingTask> tasks = std::move(plan.tasks);
  ALTLAS_CO_TRY(auto owned, co_await submit_owned(std::move(tasks), std::move(asker), services));
  plan.reply.id = (plan.reply.chat ? "chatcmpl-" : "cmpl-") + to_string(owned.front().id);
  const auto ignored = plan.grammar.ignored;
  Response response;
  if (plan.stream) {
    response = stream_choices(std::move(plan), std::move(owned), services);
  } else {
    ALTLAS_CO_TRY(auto choices,
                  co_await collect_choices(std::move(owned), plan.reply.token_ids, services));
    response = whole_answer(std::move(plan), std::move(choices), background);
  }
  add_ignored(*ignored, response);
  co_return response;
}

void set_tokens_max(std::optional<int64_t> tokens, PendingTask& pattern, OpenAiReply& reply) {
  reply.drop_generated = tokens == 0;
  // 0 stands for what the model has left.
  pattern.spec.tokens_max =
      tokens ? static_cast<int32_t>(std::max<int64_t>(*tokens, 1)) : int32_t{0};
}

// Prepares what echo shows of the prompts, and their log-probabilities with it.
awaitable<Result<std::vector<PromptSource>>> prepare_echo(ServedModelPointer model,
                                                          int32_t logprobs,
                                                          std::vector<PromptSource> prompts,
                                                          Services& services) {
  for (PromptSource& prompt : prompts) {
    if (prompt.kind == PromptSource::Kind::kIds) {
      ALTLAS_CO_TRY(prompt.text, co_await services.prompts.decode(*model, prompt.ids));
    } else if (logprobs >= 0) {
      // The first token has no log-probability, but is shown.
      ALTLAS_CO_TRY(prompt.ids, co_await services.prompts.encode(*model, prompt));
      prompt.kind = PromptSource::Kind::kIds;
    }
  }
  co_return prompts;
}

// Prepares prompts whose ids the answer tells.
awaitable<Result<std::vector<PromptSource>>> tokenize_prompts(ServedModelPointer model,
                                                              std::vector<PromptSource> prompts,
                                                              Services& services) {
  for (PromptSource& prompt : prompts) {
    if (prompt.kind == PromptSource::Kind::kIds && !prompt.gap) continue;
    ALTLAS_CO_TRY(prompt.ids, co_await services.prompts.encode(*model, prompt));
    prompt.kind = PromptSource::Kind::kIds;
    prompt.gap.reset();  // The ids hold its tokens by now.
  }
  co_return prompts;
}

awaitable<Result<Response>> completions(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  CompletionBody body;
  read_fields(reader, body, *services.now());
  OpenAiRequest plan;
  plan.n = body.n;
  plan.reply.echo = body.echo;
  plan.reply.token_ids = body.return_token_ids;
  ALTLAS_CO_TRY(PendingTask pattern, read_common(std::move(body.common), body.logprobs.value_or(-1),
                                                 reader, request, services, plan));
  set_tokens_max(body.max_tokens.tokens, pattern, plan.reply);
  if (plan.reply.echo)
    pattern.spec.sampling.prompt_logprobs =
        std::max(pattern.spec.sampling.prompt_logprobs, plan.reply.logprobs);
  ALTLAS_CO_TRY(auto prompts, read_prompts(*body.prompt, "prompt", *pattern.model));
  const std::string& suffix = body.suffix;
  for (PromptSource& prompt : prompts) {
    // A text with a suffix is part of a file that is being edited: what it quotes is no control
    // token.
    prompt.parse_special = body.parse_special.value_or(suffix.empty());
    prompt.add_special = body.add_special_tokens;
  }
  if (!suffix.empty()) {
    Gap gap;
    gap.suffix = suffix;
    if (plan.reply.echo && plan.reply.logprobs >= 0)
      co_return invalid("suffix: can't be echoed with logprobs: leave one of the three out",
                        "suffix");
    ALTLAS_CO_TRY_VOID(hold_copies(request, static_cast<int64_t>(suffix.size()), prompts.size()));
    ALTLAS_CO_TRY_VOID(fill_gap("suffix", gap, prompts, pattern, plan.reply));
  }
  if (plan.reply.echo) {
    ALTLAS_CO_TRY(prompts, co_await prepare_echo(pattern.model, plan.reply.logprobs,
                                                 std::move(prompts), services));
  }
  if (plan.reply.token_ids) {
    ALTLAS_CO_TRY(prompts, co_await tokenize_prompts(pattern.model, std::move(prompts), services));
  }
  ALTLAS_CO_TRY_VOID(add_choices(request, pattern, std::move(prompts), plan));
  co_return co_await answer(std::move(plan), request.asker(), request.background, services);
}

// One item of input_extra.
struct FileFields {
  std::string filename = "tmp";
  std::string text;

  static constexpr void fields(auto&& field) {
    field("filename", &FileFields::filename, BodyField{});
    field("text", &FileFields::text, BodyField{.needed = "should be a string"});
  }
};
static_assert(fields_complete<FileFields>(), "describe every member in fields()");

std::vector<FimFile> read_files(const json::array& list, JsonReader& reader,
                                const config::Config& now) {
  std::vector<FimFile> files;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("input_extra[{}]", i);
    if (!list[i].is_object()) {
      reader.fail(name, "should be an object with filename and text");
      break;
    }
    JsonReader inner(list[i].get_object());
    FileFields file;
    read_fields(inner, file, now);
    files.push_back({std::move(file.filename), std::move(file.text)});
    if (const auto status = inner.status(); !status.ok())
      reader.fail(name + "." + status.error().field(), "should be a string");
  }
  return files;
}

// llama-server's POST /infill {"input_prefix", "input_suffix", "input_extra", "prompt", …}.
awaitable<Result<Response>> infill(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  InfillBody body;
  const auto now = services.now();
  read_fields(reader, body, *now);
  OpenAiRequest plan;
  plan.reply.infill = true;
  std::vector<PromptSource> prompts(1);
  prompts[0].field = "input_prefix";
  prompts[0].text = std::move(body.input_prefix);
  Gap gap;
  gap.suffix = std::move(body.input_suffix);
  gap.begun = std::move(body.prompt);
  if (body.input_extra != nullptr) gap.files = read_files(*body.input_extra, reader, *now);
  const auto tokens = body.n_predict.tokens;
  ALTLAS_CO_TRY(PendingTask pattern,
                read_common(std::move(body.common), -1, reader, request, services, plan));
  set_tokens_max(tokens, pattern, plan.reply);
  // If the request sets no length for the answer, a quarter of the context is left for it.
  gap.answer_tokens =
      std::min(static_cast<uint32_t>(pattern.spec.tokens_max), pattern.model->model_len_max);
  if (!tokens) gap.answer_tokens = pattern.model->model_len_max / 4;
  ALTLAS_CO_TRY_VOID(fill_gap("input_suffix", gap, prompts, pattern, plan.reply));
  ALTLAS_CO_TRY_VOID(add_choices(request, pattern, std::move(prompts), plan));
  co_return co_await answer(std::move(plan), request.asker(), request.background, services);
}

// Shows control tokens that mark reasoning and calls: as text they tell these from the answer.
void show_marks(const OpenAiReply& reply, PendingTask& pattern) {
  const ServedModel& model = *pattern.model;
  std::vector<std::string_view> marks = model.reasoning.all();
  if (!reply.tools.empty())
    std::ranges::move(text::marks_of(model.tool_format), std::back_inserter(marks));
  pattern.spec.sampling.shown_tokens = text::control_tokens_of(*model.tokenizer, marks);
}

// Reads logprobs and top_logprobs into the form of SamplingParams.
int32_t read_logprobs(const ChatCompletionBody& body, JsonReader& reader) {
  const int32_t top = body.top_logprobs.value_or(0);
  if (top > 0 && !body.logprobs) reader.fail("top_logprobs", "needs logprobs: true");
  return body.logprobs ? top : -1;
}

awaitable<Result<Response>> chat_completions(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  ChatCompletionBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  OpenAiRequest plan;
  plan.reply.chat = true;
  plan.n = body.n;
  PromptSource prompt;
  prompt.kind = PromptSource::Kind::kChat;
  prompt.field = "messages";
  prompt.messages = read_messages(*body.messages, reader);
  read_template_fields(body.chat_template, reader, prompt);
  ToolRequest tools = read_tools(body.tools, reader);
  prompt.tools = std::move(tools.tools);
  plan.grammar = std::move(tools.grammar);
  plan.reply.tools = std::move(tools.names);
  plan.reply.one_call = tools.one_call;
  plan.reply.forced_call = plan.grammar.given();
  plan.reply.named_call = tools.named;
  const int32_t logprobs = read_logprobs(body, reader);
  if (!body.suffix.empty())
    reader.fail("suffix", "has no place in a conversation: /v1/completions fills in between");
  ALTLAS_CO_TRY(PendingTask pattern,
                read_common(std::move(body.common), logprobs, reader, request, services, plan));
  set_tokens_max(body.max_completion_tokens.tokens, pattern, plan.reply);
  show_marks(plan.reply, pattern);
  prompt.reasoning = std::make_shared<text::ReasoningStart>();
  plan.reply.reasoning = prompt.reasoning;
  std::vector<PromptSource> prompts;
  prompts.push_back(std::move(prompt));
  ALTLAS_CO_TRY_VOID(add_choices(request, pattern, std::move(prompts), plan));
  co_return co_await answer(std::move(plan), request.asker(), request.background, services);
}

}  // namespace

json::object files_schema(const config::Config& now) {
  BodySchemas schemas(now);
  schemas.add("file", FileFields());
  return {{"type", "array"}, {"items", schemas.take().at("file")}};
}

std::vector<Route> openai_routes() {
  const std::vector<int> errors{400, 404, 413, 415, 429, 503};
  return {
      {"GET", "/v1/models", Access::kUser, list_models, "Models", "", "Models"},
      {"GET", "/v1/models/{id*}", Access::kUser, get_model, "One model", "", "Model", {}, {404}},
      {"POST",
       "/v1/completions",
       Access::kUser,
       completions,
       "Complete a text",
       "CompletionRequest",
       "Completion",
       {},
       errors},
      {"POST",
       "/v1/chat/completions",
       Access::kUser,
       chat_completions,
       "Answer a conversation",
       "ChatCompletionRequest",
       "ChatCompletion",
       {},
       errors},
      {"POST",
       "/infill",
       Access::kUser,
       infill,
       "What stands between two texts, in llama-server's form",
       "InfillRequest",
       "InfillAnswer",
       {},
       errors},
  };
}

}  // namespace altlas::server
