// /tokenize and /detokenize, in vLLM's and in llama-server's form.
#include <boost/json.hpp>

#include "base/utf8.h"
#include "server/handlers.h"
#include "server/openai/fields.h"
#include "server/prompt/chat_messages.h"
#include "server/prompt/prompt_json.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// A token's bytes: text where they are UTF-8, else a list of them, as llama-server says it.
json::value piece_json(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return json::value(bytes);
  json::array list;
  for (const char c : bytes) list.emplace_back(static_cast<unsigned char>(c));
  return list;
}

// {"prompt"} or {"messages"} as vLLM sends them, {"content"} as llama-server does.
Prompt read_text(JsonReader& reader) {
  Prompt prompt;
  if (reader.has("messages")) {
    prompt.kind = Prompt::Kind::kChat;
    prompt.field = "messages";
    prompt.messages = read_messages(reader);
    read_template_fields(reader, prompt);
    if (const json::array* tools = reader.array("tools"); tools != nullptr && !tools->empty())
      prompt.tools = std::make_shared<json::value>(*tools);
  } else if (reader.has("content")) {
    prompt.text = reader.required_text("content");
    prompt.add_special = reader.boolean("add_special", false);
    prompt.parse_special = reader.boolean("parse_special", true);
  } else {
    if (!reader.has("prompt"))
      reader.fail("prompt", "is missing, should be a string; or send content, or messages");
    prompt.text = reader.text("prompt", "");
    read_special(reader, prompt, /*parse_special=*/true);  // As /v1/completions reads it.
  }
  prompt.embeds = true;  // Nothing is generated after it.
  return prompt;
}

// POST /tokenize -> {"tokens", "count", "max_model_len"}.
awaitable<Result<Response>> tokenize(Request request, Rooms& rooms) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, rooms));
  JsonReader reader(body);
  const std::string name = reader.text("model", "");
  Prompt prompt = read_text(reader);
  const bool with_pieces = reader.boolean("with_pieces", false);
  const bool with_texts = reader.boolean("return_token_strs", false);
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY(const ServedModelPointer model, rooms.prompts.find(name, kGenerationType));
  ALTLAS_CO_TRY(const auto ids, co_await rooms.prompts.encode(*model, std::move(prompt)));
  json::array tokens, texts;
  for (const int32_t id : ids) {
    const std::string_view bytes = model->tokenizer->token_text(id);
    if (with_pieces) {
      tokens.push_back({{"id", id}, {"piece", piece_json(bytes)}});
    } else {
      tokens.emplace_back(id);
    }
    if (with_texts) texts.emplace_back(repair_utf8(bytes));
  }
  json::object out{{"tokens", std::move(tokens)},
                   {"count", ids.size()},
                   {"max_model_len", model->model_len_max}};
  if (with_texts) out["token_strs"] = std::move(texts);
  co_return json_response(text::json_text(out));
}

// POST /detokenize {"tokens"} -> the text, under both servers' names.
awaitable<Result<Response>> detokenize(Request request, Rooms& rooms) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, rooms));
  JsonReader reader(body);
  const std::string name = reader.text("model", "");
  const json::array* tokens = reader.array("tokens");
  if (tokens == nullptr) reader.fail("tokens", "is missing, should be a list of token ids");
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY(const ServedModelPointer model, rooms.prompts.find(name, kGenerationType));
  std::vector<int32_t> ids;
  if (!tokens->empty()) {
    ALTLAS_CO_TRY(ids, read_ids(*tokens, *model, "tokens"));
  }
  ALTLAS_CO_TRY(const std::string text, co_await rooms.prompts.decode(*model, std::move(ids)));
  const json::object out{{"prompt", text}, {"content", text}};
  co_return json_response(text::json_text(out));
}

}  // namespace

std::vector<Route> tokenize_routes() {
  const std::vector<int> errors{400, 404, 413, 415, 429, 503};
  return {
      {"POST",
       "/tokenize",
       Access::kUser,
       tokenize,
       "Text to token ids",
       "TokenizeRequest",
       "TokenizeAnswer",
       {},
       errors},
      {"POST",
       "/detokenize",
       Access::kUser,
       detokenize,
       "Token ids to text",
       "DetokenizeRequest",
       "DetokenizeAnswer",
       {},
       errors},
  };
}

}  // namespace altlas::server
