// The bodies of /llm/generate, /generate and /chat.
#pragma once

#include "server/prompt/chat_messages.h"
#include "server/prompt/prompt_json.h"
#include "server/tasks/sampling.h"
#include "server/tasks/target.h"

namespace altlas::server {

struct LlmFields {
  TargetFields target;
  TokensMax max_tokens{512};
  SamplingFields sampling{{.top_p = 0.95f}};

  static constexpr void fields(auto&& field) {
    using S = LlmFields;
    field(
        "max_tokens", &S::max_tokens,
        BodyField{.help = "Generated tokens at most; below 0: what the model has left", .min = 1});
    field(&S::target);
    field(&S::sampling);
  }
};
static_assert(fields_complete<LlmFields>(), "describe every member in fields()");

struct GenerateBody {
  std::string prompt;
  bool parse_special = true;
  bool add_special_tokens = true;
  LlmFields common;

  static constexpr void fields(auto&& field) {
    using S = GenerateBody;
    field("prompt", &S::prompt, BodyField{.needed = "should be a string", .min = 1});
    field("parse_special", &S::parse_special, kParseSpecialField);
    field("add_special_tokens", &S::add_special_tokens, kAddSpecialField);
    field(&S::common);
  }
};
static_assert(fields_complete<GenerateBody>(), "describe every member in fields()");
// The body of /generate, which answers plain text, with its defaults.
inline GenerateBody plain_generate_body() {
  GenerateBody body;
  body.common.max_tokens.tokens = 256;
  return body;
}

struct ChatBody {
  const boost::json::array* messages = nullptr;
  bool stream = false;
  LlmFields common;

  static constexpr void fields(auto&& field) {
    using S = ChatBody;
    field("messages", &S::messages, kMessagesField);
    field("stream", &S::stream, BodyField{.help = "The answer comes in server-sent events"});
    field(&S::common);
  }
};
static_assert(fields_complete<ChatBody>(), "describe every member in fields()");

}  // namespace altlas::server
