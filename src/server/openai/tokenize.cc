// /tokenize and /detokenize, in vLLM's and in llama-server's form.
#include <boost/json.hpp>

#include "base/utf8.h"
#include "server/body/read.h"
#include "server/handlers.h"
#include "server/openai/bodies.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// Returns a token's bytes in llama-server's form: text if they are UTF-8, else a list of them.
json::value piece_json(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return json::value(bytes);
  json::array list;
  for (const char c : bytes) list.emplace_back(static_cast<unsigned char>(c));
  return list;
}

// Reads {"prompt"} or {"messages"} as vLLM's clients send them, or {"content"} as llama-server's
// do.
PromptSource read_text(const TokenizeBody& body, JsonReader& reader) {
  PromptSource prompt;
  if (body.messages != nullptr) {
    prompt.kind = PromptSource::Kind::kChat;
    prompt.field = "messages";
    prompt.messages = read_messages(*body.messages, reader);
    read_template_fields(body.chat_template, reader, prompt);
    if (body.tools != nullptr && !body.tools->empty())
      prompt.tools = std::make_shared<json::value>(*body.tools);
  } else if (body.content) {
    prompt.text = *body.content;
    prompt.add_special = body.add_special;
    prompt.parse_special = body.parse_special;
  } else {
    if (!body.prompt)
      reader.fail("prompt", "is missing, should be a string; or send content, or messages");
    prompt.text = body.prompt.value_or("");
    prompt.add_special = body.add_special_tokens;
    prompt.parse_special = body.parse_special;
  }
  prompt.embeds = true;  // Nothing is generated after it.
  return prompt;
}

// POST /tokenize -> {"tokens", "count", "max_model_len"}.
awaitable<Result<Response>> tokenize(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  TokenizeBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  PromptSource prompt = read_text(body, reader);
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY(const ServedModelPointer model, services.prompts.find(body.model, kGenerationType));
  ALTLAS_CO_TRY(const auto ids, co_await services.prompts.encode(*model, std::move(prompt)));
  json::array tokens, texts;
  for (const int32_t id : ids) {
    const std::string_view bytes = model->tokenizer->token_text(id);
    if (body.with_pieces) {
      tokens.push_back({{"id", id}, {"piece", piece_json(bytes)}});
    } else {
      tokens.emplace_back(id);
    }
    if (body.return_token_strs) texts.emplace_back(repair_utf8(bytes));
  }
  json::object out{{"tokens", std::move(tokens)},
                   {"count", ids.size()},
                   {"max_model_len", model->model_len_max}};
  if (body.return_token_strs) out["token_strs"] = std::move(texts);
  co_return json_response(text::json_text(out));
}

// POST /detokenize {"tokens"} -> the text, under both servers' names.
awaitable<Result<Response>> detokenize(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  DetokenizeBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY(const ServedModelPointer model, services.prompts.find(body.model, kGenerationType));
  std::vector<int32_t> ids;
  if (!body.tokens->empty()) {
    ALTLAS_CO_TRY(ids, read_ids(*body.tokens, *model, "tokens"));
  }
  ALTLAS_CO_TRY(const std::string text, co_await services.prompts.decode(*model, std::move(ids)));
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
