#include "server/openai/answers.h"

#include <algorithm>

#include "base/utf8.h"
#include "server/prompt/call_id.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Returns a token's bytes as text for JSON: incomplete UTF-8 becomes U+FFFD. `bytes` beside it is
// exact.
std::string printable(std::string_view bytes) { return repair_utf8(bytes); }

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
  uint64_t offset = 0;  // In characters, as clients cut their text.

  void add(const OpenAiReply& reply, const TokenLogprobs& one, bool known) {
    const std::string text = printable(reply.served->tokenizer->token_text(one.id));
    tokens.emplace_back(text);
    token_logprobs.push_back(known ? json::value(one.logprob) : json::value(nullptr));
    json::object top;
    for (size_t i = 0; i < one.top.size() && i < static_cast<size_t>(reply.logprobs); ++i)
      top[printable(reply.served->tokenizer->token_text(one.top[i].first))] = one.top[i].second;
    top.emplace(text, one.logprob);  // The token itself is always there, so there may be one more.
    top_logprobs.push_back(known ? json::value(std::move(top)) : json::value(nullptr));
    text_offset.emplace_back(offset);
    offset += count_code_points(text);
  }
  json::value take() {
    return json::object{{"tokens", std::move(tokens)},
                        {"token_logprobs", std::move(token_logprobs)},
                        {"top_logprobs", std::move(top_logprobs)},
                        {"text_offset", std::move(text_offset)}};
  }
};

// `first_token` is the prompt's, or -1 if the prompt is not wanted; `prompt` has the tokens after
// it. `offset` is the number of characters before these tokens; it moves behind them.
json::value completion_logprobs(const OpenAiReply& reply, int32_t first_token,
                                std::span<const TokenLogprobs> prompt,
                                std::span<const TokenLogprobs> generated, uint64_t& offset) {
  if (reply.logprobs < 0) return nullptr;
  CompletionLogprobs out;
  out.offset = offset;
  if (first_token >= 0) out.add(reply, TokenLogprobs{first_token, 0, {}}, false);
  for (const TokenLogprobs& one : prompt) out.add(reply, one, true);
  if (!reply.drop_generated)
    for (const TokenLogprobs& one : generated) out.add(reply, one, true);
  offset = out.offset;
  return out.take();
}

// Adds log-probabilities to `out` in vLLM's form: by token id, each place's own token and the
// `shown` most likely ones, with their ranks.
void add_logprobs_by_id(const OpenAiReply& reply, std::span<const TokenLogprobs> places,
                        size_t shown, json::array& out) {
  for (const TokenLogprobs& one : places) {
    json::object entry;
    const auto add = [&](int32_t id, float logprob, json::value rank) {
      entry[std::to_string(id)] = {
          {"logprob", logprob},
          {"rank", std::move(rank)},
          {"decoded_token", printable(reply.served->tokenizer->token_text(id))}};
    };
    const auto own =
        std::ranges::find(one.top, one.id, &std::pair<int32_t, float>::first) - one.top.begin();
    add(one.id, one.logprob,
        own < std::ssize(one.top) ? json::value(own + 1) : json::value(nullptr));
    for (size_t i = 0; i < one.top.size() && i < shown; ++i)
      add(one.top[i].first, one.top[i].second, json::value(i + 1));
    out.push_back(std::move(entry));
  }
}

// Nothing predicts a prompt's first token.
json::value prompt_logprobs(const OpenAiReply& reply, std::span<const TokenLogprobs> prompt) {
  json::array out{nullptr};
  add_logprobs_by_id(reply, prompt, static_cast<size_t>(reply.prompt_logprobs), out);
  return out;
}

// Adds what return_token_ids asks for: to a whole choice, or to a chunk of it with the tokens that
// are new. The prompt's ids are told once.
void add_token_ids(const OpenAiReply& reply, size_t index, bool first, std::span<const int32_t> ids,
                   std::span<const TokenLogprobs> logprobs, json::object& choice) {
  if (!reply.token_ids) return;
  if (first) {
    const auto& prompt = reply.prompt_ids[index / reply.choices_per_prompt];
    choice["prompt_token_ids"] = json::array(prompt.begin(), prompt.end());
  }
  if (reply.drop_generated) ids = {};
  choice["token_ids"] = json::array(ids.begin(), ids.end());
  json::value& told = choice["logprobs"];
  if (!told.is_object()) return;
  json::array by_id;
  if (!reply.drop_generated)
    add_logprobs_by_id(reply, logprobs, static_cast<size_t>(reply.logprobs), by_id);
  told.get_object()["by_id"] = std::move(by_id);
}

json::object head(const OpenAiReply& reply, std::string_view kind) {
  return {{"id", reply.id},
          {"object", kind},
          {"created", reply.created},
          {"model", reply.model},
          {"system_fingerprint", reply.fingerprint},
          {"seed", reply.seed}};
}

// Adds the seed of one of several choices; a single choice's seed is beside `usage`.
void add_seed(const OpenAiReply& reply, size_t index, json::object& choice) {
  if (reply.seeds.size() > 1) choice["seed"] = reply.seeds[index];
}

// Whether the text was ended by the model's own end of a gap, not by a token that the request
// named.
bool ends_gap(const OpenAiReply& reply, const control::TaskView& view) {
  return reply.fills && view.result && view.result->stop_token >= 0 &&
         std::ranges::binary_search(reply.served->tokenizer->fim().ends, view.result->stop_token);
}

// Returns what include_stop_str_in_output puts after the text.
std::string stop_tail(const OpenAiReply& reply, const control::TaskView& view) {
  if (!reply.include_stop || !view.result) return {};
  if (ends_gap(reply, view)) return {};
  if (view.result->stop_token >= 0)
    return printable(reply.served->tokenizer->token_text(view.result->stop_token));
  return view.result->stop_string;
}

// Returns, in vLLM's form, the stop string or the id of stop_token_ids that ended the text.
json::value stop_reason(const OpenAiReply& reply, const control::TaskView& view) {
  if (!view.result || view.result->finish_reason != FinishReason::kStop) return nullptr;
  if (ends_gap(reply, view)) return nullptr;
  if (view.result->stop_token >= 0) return view.result->stop_token;
  if (!view.result->stop_string.empty()) return json::value(view.result->stop_string);
  return nullptr;
}

// A call that the request named is not the model's choice, so OpenAI answers "stop".
std::string_view finish_of(const OpenAiReply& reply, const control::TaskView& view, size_t calls) {
  if (view.result && view.result->finish_reason != FinishReason::kStop)
    return to_string(view.result->finish_reason);
  return calls > 0 && !reply.named_call ? "tool_calls" : "stop";
}

text::AnswerReader::Options reader_options(const OpenAiReply& reply, bool streams) {
  text::AnswerReader::Options options;
  options.format = reply.served->tool_format;
  options.tools = reply.tools;
  options.reasoning = reply.served->reasoning;
  options.in_reasoning = *reply.reasoning == text::ReasoningStart::kUnderway;
  options.forced = reply.forced_call;
  options.one_call = reply.one_call;
  options.streams = streams;
  return options;
}

// Returns call `number` of choice `index`. `arguments` is a piece in a stream, else all of it.
json::object call_json(const OpenAiReply& reply, size_t index, size_t number,
                       const text::ToolCall& call, std::string_view arguments) {
  return {{"id", call_id(reply.id, index, number, reply.served->call_id_size)},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", arguments}}}};
}

// Puts content and reasoning that come together into one delta, and a call's name before its
// arguments.
std::vector<json::object> deltas_of(const OpenAiReply& reply, size_t index,
                                    std::span<const text::AnswerPiece> pieces, size_t calls,
                                    bool first) {
  std::vector<json::object> deltas;
  if (first) deltas.push_back({{"role", "assistant"}, {"content", ""}});
  for (const text::AnswerPiece& piece : pieces) {
    if (piece.kind == text::AnswerPiece::Kind::kCall) {
      json::object begin = call_json(reply, index, calls, piece.call, "");
      begin["index"] = calls++;
      deltas.push_back({{"tool_calls", json::array{std::move(begin)}}});
      continue;
    }
    if (piece.kind == text::AnswerPiece::Kind::kArguments) {
      const json::object more{{"index", calls - 1}, {"function", {{"arguments", piece.text}}}};
      deltas.push_back({{"tool_calls", json::array{more}}});
      continue;
    }
    const bool reasons = piece.kind == text::AnswerPiece::Kind::kReasoning;
    const std::string_view key = reasons ? "reasoning_content" : "content";
    const bool joins = deltas.size() == 1 && first && !deltas[0].contains("tool_calls");
    if (!joins) deltas.emplace_back();
    deltas.back()[key] = piece.text;
  }
  return deltas;
}

// Returns the whole of a choice as OpenAI's message. `calls` becomes the number of calls in it.
json::object message_json(const OpenAiReply& reply, size_t index, const std::string& text,
                          size_t& calls) {
  text::AnswerReader reader(reader_options(reply, /*streams=*/false));
  std::vector<text::AnswerPiece> pieces = reader.push(text);
  std::ranges::move(reader.finish(), std::back_inserter(pieces));
  std::string content, reasoning;
  json::array list;
  for (const text::AnswerPiece& piece : pieces) {
    if (piece.kind == text::AnswerPiece::Kind::kCall)
      list.push_back(call_json(reply, index, list.size(), piece.call, piece.call.arguments));
    else
      (piece.kind == text::AnswerPiece::Kind::kReasoning ? reasoning : content) += piece.text;
  }
  calls = list.size();
  json::object message{{"role", "assistant"}, {"content", content}, {"refusal", nullptr}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  if (!list.empty()) {
    if (content.empty()) message["content"] = nullptr;
    message["tool_calls"] = std::move(list);
  }
  return message;
}

// Returns choice `i` of a whole answer.
json::object choice_json(const OpenAiReply& reply, size_t i, const Choice& choice) {
  size_t calls = 0;
  json::object out{{"index", i}};
  if (reply.chat) {
    out["message"] = message_json(reply, i, choice.text + stop_tail(reply, choice.view), calls);
    out["logprobs"] = chat_logprobs(reply, choice.logprobs);
  } else {
    const size_t prompt_index = i / reply.choices_per_prompt;
    const std::string prefix = reply.echo ? reply.prompt_texts[prompt_index] : "";
    out["text"] = prefix + (reply.drop_generated ? std::string()
                                                 : choice.text + stop_tail(reply, choice.view));
    const auto& prompt = choice.view.result->prompt_logprobs;
    const int32_t first = reply.echo ? reply.first_tokens[prompt_index] : -1;
    uint64_t offset = 0;
    out["logprobs"] = completion_logprobs(reply, first, prompt, choice.logprobs, offset);
    add_token_ids(reply, i, /*first=*/true, choice.token_ids, choice.logprobs, out);
  }
  out["finish_reason"] = finish_of(reply, choice.view, calls);
  out["stop_reason"] = stop_reason(reply, choice.view);
  add_seed(reply, i, out);
  if (reply.prompt_logprobs >= 0 && !reply.chat)
    out["prompt_logprobs"] = prompt_logprobs(reply, choice.view.result->prompt_logprobs);
  return out;
}

}  // namespace

json::object usage_of(const OpenAiReply& reply, std::span<const Choice> choices, size_t prompts) {
  uint64_t prompt_tokens = 0, completion_tokens = 0;
  const size_t per_prompt = std::max<size_t>(1, choices.size() / std::max<size_t>(1, prompts));
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i % per_prompt == 0) prompt_tokens += choices[i].view.prompt_tokens;
    if (choices[i].view.result && !reply.drop_generated)
      completion_tokens += choices[i].view.result->tokens;
  }
  return usage_json(prompt_tokens, completion_tokens);
}

std::string answer_piece(const OpenAiReply& reply, std::span<const Choice> choices, size_t prompts,
                         size_t piece) {
  if (piece == 0) {
    std::string out =
        text::json_text(head(reply, reply.chat ? "chat.completion" : "text_completion"));
    out.pop_back();
    return out + ",\"choices\":[";
  }
  if (piece <= choices.size())
    return (piece > 1 ? "," : "") +
           text::json_text(choice_json(reply, piece - 1, choices[piece - 1]));
  json::object end{{"usage", usage_of(reply, choices, prompts)}};
  if (reply.prompt_logprobs >= 0 && reply.chat)
    end["prompt_logprobs"] = prompt_logprobs(reply, choices.back().view.result->prompt_logprobs);
  return "]," + text::json_text(end).substr(1);
}

size_t logprob_count(std::span<const Choice> choices) {
  size_t count = 0;
  for (const Choice& choice : choices) {
    for (const TokenLogprobs& one : choice.logprobs) count += 1 + one.top.size();
    if (choice.view.result)
      for (const TokenLogprobs& one : choice.view.result->prompt_logprobs)
        count += 1 + one.top.size();
  }
  return count;
}

ChunkWriter::ChunkWriter(const OpenAiReply& reply, size_t index) : reply_(&reply), index_(index) {
  if (reply.chat) reader_.emplace(reader_options(reply, /*streams=*/true));
}

json::object ChunkWriter::chunk(json::object choice) const {
  json::object out = head(*reply_, reply_->chat ? "chat.completion.chunk" : "text_completion");
  choice["index"] = index_;
  if (!choice.contains("logprobs")) choice["logprobs"] = nullptr;
  if (!choice.contains("finish_reason")) choice["finish_reason"] = nullptr;
  json::array choices;
  choices.push_back(std::move(choice));
  out["choices"] = std::move(choices);
  if (reply_->shows_usage) out["usage"] = nullptr;
  return out;
}

std::vector<json::object> ChunkWriter::chunks(const control::StreamEvent& event) {
  const OpenAiReply& reply = *reply_;
  const bool first = std::exchange(first_, false);
  if (reply.infill) {
    std::vector<json::object> pieces;
    if (!reply.drop_generated && !(event.delta.ids.empty() && event.delta.text.empty()))
      pieces.push_back(infill_piece(event.delta));
    if (event.end) pieces.push_back(infill_answer(reply, "", *event.end));
    return pieces;
  }
  const std::string text = event.delta.text + (event.end ? stop_tail(reply, *event.end) : "");
  std::vector<json::object> choices;
  if (reply.chat) {
    size_t calls = reader_->calls();
    std::vector<text::AnswerPiece> pieces = reader_->push(text);
    if (event.end) std::ranges::move(reader_->finish(), std::back_inserter(pieces));
    for (json::object& delta : deltas_of(reply, index_, pieces, calls, first))
      choices.push_back({{"delta", std::move(delta)}});
    const bool says = event.end || !event.delta.logprobs.empty();
    if (choices.empty() && says) choices.push_back({{"delta", json::object()}});
    if (!event.delta.logprobs.empty())
      choices.front()["logprobs"] = chat_logprobs(reply, event.delta.logprobs);
    if (event.end) {
      choices.back()["finish_reason"] = finish_of(reply, *event.end, reader_->whole_calls());
      choices.back()["stop_reason"] = stop_reason(reply, *event.end);
      add_seed(reply, index_, choices.back());
    }
  } else if (first || event.end || !text.empty() || !event.delta.logprobs.empty() ||
             (reply.token_ids && !event.delta.ids.empty())) {
    const size_t prompt = index_ / reply.choices_per_prompt;
    const std::string prefix = reply.echo ? reply.prompt_texts[prompt] : std::string();
    json::object& choice = choices.emplace_back();
    choice["text"] = (first ? prefix : "") + (reply.drop_generated ? std::string() : text);
    const int32_t token = first && reply.echo ? reply.first_tokens[prompt] : -1;
    if (!event.delta.logprobs.empty())
      choice["logprobs"] = completion_logprobs(reply, token, event.delta.prompt_logprobs,
                                               event.delta.logprobs, logprobs_offset_);
    add_token_ids(reply, index_, first, event.delta.ids, event.delta.logprobs, choice);
    if (event.end) {
      choice["finish_reason"] = finish_of(reply, *event.end, 0);
      choice["stop_reason"] = stop_reason(reply, *event.end);
      add_seed(reply, index_, choice);
    }
  }
  std::vector<json::object> out;
  for (json::object& choice : choices) out.push_back(chunk(std::move(choice)));
  return out;
}

json::object usage_chunk(const OpenAiReply& reply, json::object usage) {
  json::object out = head(reply, reply.chat ? "chat.completion.chunk" : "text_completion");
  out["choices"] = json::array();
  out["usage"] = std::move(usage);
  return out;
}

}  // namespace altlas::server
