#include "server/openai_json.h"

#include "text/utf8.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// A token's bytes as a JSON string: incomplete UTF-8 becomes U+FFFD; `bytes` beside it is exact.
std::string printable(std::string_view bytes) { return text::repair_utf8(bytes); }

json::object chat_logprob(const ServedModel& model, int32_t id, float logprob) {
  const std::string_view bytes = model.tokenizer->token_text(id);
  json::array list;
  for (const char c : bytes) list.emplace_back(static_cast<unsigned char>(c));
  return {{"token", printable(bytes)}, {"logprob", logprob}, {"bytes", std::move(list)}};
}

json::value chat_logprobs(const OpenAiReply& reply, std::span<const TokenLogprobs> logprobs) {
  if (reply.logprobs < 0) return nullptr;
  json::array content;
  for (const TokenLogprobs& one : logprobs) {
    json::object entry = chat_logprob(*reply.served, one.id, one.logprob);
    json::array top;
    for (size_t i = 0; i < one.top.size() && i < static_cast<size_t>(reply.logprobs); ++i)
      top.push_back(chat_logprob(*reply.served, one.top[i].first, one.top[i].second));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return json::object{{"content", std::move(content)}};
}

struct CompletionLogprobs {
  json::array tokens, token_logprobs, top_logprobs, text_offset;
  uint64_t offset = 0;

  void add(const OpenAiReply& reply, const TokenLogprobs& one, bool known) {
    const std::string text = printable(reply.served->tokenizer->token_text(one.id));
    tokens.emplace_back(text);
    token_logprobs.push_back(known ? json::value(one.logprob) : json::value(nullptr));
    json::object top;
    for (size_t i = 0; i < one.top.size() && i < static_cast<size_t>(reply.logprobs); ++i)
      top[printable(reply.served->tokenizer->token_text(one.top[i].first))] = one.top[i].second;
    top_logprobs.push_back(known ? json::value(std::move(top)) : json::value(nullptr));
    text_offset.emplace_back(offset);
    offset += text.size();
  }
  json::value take() {
    return json::object{{"tokens", std::move(tokens)},
                        {"token_logprobs", std::move(token_logprobs)},
                        {"top_logprobs", std::move(top_logprobs)},
                        {"text_offset", std::move(text_offset)}};
  }
};

// first_token: of the prompt, -1 where the prompt is not wanted; `prompt`: of the tokens after it.
json::value completion_logprobs(const OpenAiReply& reply, int32_t first_token,
                                std::span<const TokenLogprobs> prompt,
                                std::span<const TokenLogprobs> generated, uint64_t offset) {
  if (reply.logprobs < 0) return nullptr;
  CompletionLogprobs out;
  out.offset = offset;
  if (first_token >= 0) out.add(reply, TokenLogprobs{first_token, 0, {}}, false);
  for (const TokenLogprobs& one : prompt) out.add(reply, one, true);
  if (!reply.drop_generated)
    for (const TokenLogprobs& one : generated) out.add(reply, one, true);
  return out.take();
}

json::object head(const OpenAiReply& reply, std::string_view kind) {
  return {{"id", reply.id},
          {"object", kind},
          {"created", reply.created},
          {"model", reply.model},
          {"system_fingerprint", reply.fingerprint}};
}

// What include_stop_str_in_output puts behind the text.
std::string stop_tail(const OpenAiReply& reply, const control::TaskView& view) {
  return reply.include_stop && view.result ? view.result->stop_string : std::string();
}

std::string_view finish_of(const control::TaskView& view) {
  return view.result ? to_string(view.result->finish_reason) : std::string_view("stop");
}

}  // namespace

json::object usage_json(const OpenAiReply& reply, std::span<const Choice> choices, size_t prompts) {
  uint64_t prompt_tokens = 0, completion_tokens = 0;
  const size_t per_prompt = std::max<size_t>(1, choices.size() / std::max<size_t>(1, prompts));
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i % per_prompt == 0) prompt_tokens += choices[i].view.prompt_tokens;
    if (choices[i].view.result && !reply.drop_generated)
      completion_tokens += choices[i].view.result->tokens;
  }
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens}};
}

json::object whole_answer(const OpenAiReply& reply, std::span<const Choice> choices,
                          size_t prompts) {
  json::object answer = head(reply, reply.chat ? "chat.completion" : "text_completion");
  json::array list;
  for (size_t i = 0; i < choices.size(); ++i) {
    const Choice& choice = choices[i];
    json::object out{{"index", i}, {"finish_reason", finish_of(choice.view)}};
    if (reply.chat) {
      out["message"] = {{"role", "assistant"},
                        {"content", choice.text + stop_tail(reply, choice.view)}};
      out["logprobs"] = chat_logprobs(reply, choice.logprobs);
    } else {
      const std::string prefix = reply.echo ? reply.prompt_texts[i] : "";
      out["text"] = prefix + (reply.drop_generated ? std::string()
                                                   : choice.text + stop_tail(reply, choice.view));
      const auto& prompt = choice.view.result->prompt_logprobs;
      const int32_t first = reply.echo ? reply.first_tokens[i] : -1;
      out["logprobs"] = completion_logprobs(reply, first, prompt, choice.logprobs,
                                            first >= 0 ? 0 : prefix.size());
    }
    list.push_back(std::move(out));
  }
  answer["choices"] = std::move(list);
  answer["usage"] = usage_json(reply, choices, prompts);
  return answer;
}

json::object chunk(const OpenAiReply& reply, size_t index, const control::StreamEvent& event,
                   bool first) {
  json::object out = head(reply, reply.chat ? "chat.completion.chunk" : "text_completion");
  json::object choice{{"index", index}};
  const std::string text = event.delta.text + (event.end ? stop_tail(reply, *event.end) : "");
  const std::string prefix = reply.echo ? reply.prompt_texts[index] : std::string();
  if (reply.chat) {
    json::object delta;
    if (first) delta["role"] = "assistant";
    if (first || !text.empty()) delta["content"] = text;
    choice["delta"] = std::move(delta);
    choice["logprobs"] = event.delta.logprobs.empty() ? json::value(nullptr)
                                                      : chat_logprobs(reply, event.delta.logprobs);
  } else {
    choice["text"] = (first ? prefix : "") + text;
    choice["logprobs"] = event.delta.logprobs.empty()
                             ? json::value(nullptr)
                             : completion_logprobs(reply, -1, {}, event.delta.logprobs,
                                                   prefix.size() + event.delta.text_offset);
  }
  choice["finish_reason"] = event.end ? json::value(finish_of(*event.end)) : json::value(nullptr);
  json::array choices;
  choices.push_back(std::move(choice));
  out["choices"] = std::move(choices);
  if (reply.shows_usage) out["usage"] = nullptr;
  return out;
}

json::object usage_chunk(const OpenAiReply& reply, json::object usage) {
  json::object out = head(reply, reply.chat ? "chat.completion.chunk" : "text_completion");
  out["choices"] = json::array();
  out["usage"] = std::move(usage);
  return out;
}

}  // namespace altlas::server
