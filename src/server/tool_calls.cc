#include "server/tool_calls.h"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "server/python_call.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";
constexpr size_t kCallDepthMax = 64;

struct Tags {
  std::string_view begin;
  std::string_view end;  // Empty: the end of the text.
};

Tags tags_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
      return {"<tool_call>", "</tool_call>"};
    case ToolFormat::kLlama:
      return {"<|python_tag|>", ""};
    case ToolFormat::kMistral:
      return {"[TOOL_CALLS]", ""};
    case ToolFormat::kDeepSeek:
      return {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"};
    case ToolFormat::kPhi:
      return {"<|tool_call|>", "<|/tool_call|>"};
    case ToolFormat::kPythonic:
      return {"```tool_code", "```"};
  }
  return {};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

// The longest end of `text` that `tag` may begin with.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n)
    if (text.ends_with(tag.substr(0, n))) return n;
  return 0;
}

std::optional<json::value> parse_value(std::string_view text) {
  json::parse_options options;
  options.max_depth = kCallDepthMax;
  boost::system::error_code code;
  json::value value = json::parse(text, code, {}, options);
  if (code) return std::nullopt;
  return value;
}

// {"name": …, "arguments" or "parameters": {…}}, perhaps within {"type": "function", "function":
// …}.
std::optional<ToolCall> call_of(const json::value& value) {
  const json::object* object = value.if_object();
  if (object == nullptr) return std::nullopt;
  if (const json::value* inner = object->if_contains("function");
      inner != nullptr && inner->is_object())
    object = &inner->get_object();
  const json::value* name = object->if_contains("name");
  const json::value* arguments = object->if_contains("arguments");
  if (arguments == nullptr) arguments = object->if_contains("parameters");
  if (name == nullptr || !name->is_string()) return std::nullopt;
  ToolCall call{std::string(name->get_string()), "{}"};
  if (arguments == nullptr || arguments->is_null()) return call;
  if (arguments->is_string()) {
    const auto inner = parse_value(arguments->get_string());
    if (!inner || !inner->is_object()) return std::nullopt;
    call.arguments = json::serialize(*inner);
    return call;
  }
  if (!arguments->is_object()) return std::nullopt;
  call.arguments = json::serialize(*arguments);
  return call;
}

// One object, a list of them, or several with ';' or line ends between.
std::optional<std::vector<ToolCall>> json_calls(std::string_view text) {
  std::vector<ToolCall> calls;
  const auto whole = parse_value(text);
  if (whole && whole->is_array()) {
    for (const json::value& one : whole->get_array()) {
      auto call = call_of(one);
      if (!call) return std::nullopt;
      calls.push_back(*std::move(call));
    }
    return calls;
  }
  json::stream_parser parser;
  std::string_view rest = trimmed(text);
  while (!rest.empty()) {
    boost::system::error_code code;
    parser.reset();
    const size_t used = parser.write_some(rest, code);
    if (code || !parser.done()) return std::nullopt;
    auto call = call_of(parser.release());
    if (!call) return std::nullopt;
    calls.push_back(*std::move(call));
    rest = trimmed(rest.substr(used));
    if (rest.starts_with(";") || rest.starts_with(",")) rest = trimmed(rest.substr(1));
  }
  return calls;
}

// name[ARGS]{…}, name{…}.
std::optional<std::vector<ToolCall>> mistral_calls(std::string_view text) {
  if (text.starts_with("[") || text.starts_with("{")) return json_calls(text);
  const size_t open = text.find('{');
  if (open == std::string_view::npos) return std::nullopt;
  std::string_view name = text.substr(0, open);
  if (name.ends_with("[ARGS]")) name.remove_suffix(6);
  const auto arguments = parse_value(text.substr(open));
  if (!arguments || !arguments->is_object()) return std::nullopt;
  return std::vector{ToolCall{std::string(trimmed(name)), json::serialize(*arguments)}};
}

std::optional<std::vector<ToolCall>> deepseek_calls(std::string_view text) {
  constexpr std::string_view kBegin = "<｜tool▁call▁begin｜>", kEnd = "<｜tool▁call▁end｜>";
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  std::vector<ToolCall> calls;
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    if (text.starts_with(kBegin)) text.remove_prefix(kBegin.size());
    if (!text.starts_with("function")) return std::nullopt;
    text.remove_prefix(8);
    if (text.starts_with(kSeparator)) text.remove_prefix(kSeparator.size());
    constexpr std::string_view kFence = "```json";
    const size_t fence = text.find(kFence);
    if (fence == std::string_view::npos) return std::nullopt;
    const size_t body = fence + kFence.size();
    const size_t close = text.find("```", body);
    if (close == std::string_view::npos) return std::nullopt;
    const auto arguments = parse_value(trimmed(text.substr(body, close - body)));
    if (!arguments || !arguments->is_object()) return std::nullopt;
    calls.push_back({std::string(trimmed(text.substr(0, fence))), json::serialize(*arguments)});
    text.remove_prefix(close + 3);
    if (text.starts_with(kEnd)) text.remove_prefix(kEnd.size());
  }
  return calls;
}

std::optional<std::vector<ToolCall>> calls_of(ToolFormat format, std::string_view text) {
  text = trimmed(text);
  if (text.starts_with("```json") && text.ends_with("```") && text.size() > 10)
    text = trimmed(text.substr(7, text.size() - 10));
  switch (format) {
    case ToolFormat::kMistral:
      return mistral_calls(text);
    case ToolFormat::kDeepSeek:
      return text.starts_with("{") ? json_calls(text) : deepseek_calls(text);
    case ToolFormat::kPythonic:
      return text.starts_with("{") ? json_calls(text) : python_calls(text);
    default:
      return json_calls(text);
  }
}

// What a whole answer without tags begins with if it is a call.
bool may_be_whole_call(ToolFormat format, std::string_view text) {
  const auto begins = [&](std::string_view tag) {
    return tag.starts_with(text.substr(0, tag.size()));
  };
  if (text.starts_with("{")) return true;
  if (format == ToolFormat::kHermes) return false;
  if (format == ToolFormat::kDeepSeek) return begins("function");
  return text.starts_with("[");
}

}  // namespace

ToolFormat tool_format_of(std::string_view chat_template) {
  const auto has = [&](std::string_view text) { return chat_template.contains(text); };
  if (has("<tool_call>")) return ToolFormat::kHermes;
  if (has("[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (has("tool▁call")) return ToolFormat::kDeepSeek;
  if (has("<|tool_call|>") || has("<|tool|>")) return ToolFormat::kPhi;
  if (has("<|python_tag|>") || has("<|start_header_id|>")) return ToolFormat::kLlama;
  if (has("<start_of_turn>") || has("tool_code")) return ToolFormat::kPythonic;
  return ToolFormat::kHermes;
}

bool has_reasoning(std::string_view chat_template) { return chat_template.contains(kThinkEnd); }

std::vector<AnswerPiece> AnswerReader::push(std::string_view text) {
  held_ += text;
  std::vector<AnswerPiece> out;
  while (advance(/*last=*/false, out)) {
  }
  return out;
}

std::vector<AnswerPiece> AnswerReader::finish() {
  std::vector<AnswerPiece> out;
  while (advance(/*last=*/true, out)) {
  }
  return out;
}

void AnswerReader::say(AnswerPiece::Kind kind, std::string text, std::vector<AnswerPiece>& out) {
  if (text.empty()) return;
  if (!out.empty() && out.back().kind == kind && kind != AnswerPiece::Kind::kCall)
    out.back().text += text;
  else
    out.push_back({kind, std::move(text), {}});
}

// One step; false: more text is needed, or nothing is left.
bool AnswerReader::advance(bool last, std::vector<AnswerPiece>& out) {
  switch (state_) {
    case State::kStart:
      return start(last);
    case State::kReasoning: {
      if (fresh_) drop_line_ends();
      fresh_ = fresh_ && held_.empty();
      const size_t end = held_.find(kThinkEnd);
      const size_t said = end != std::string::npos ? end
                          : last                   ? held_.size()
                                                   : held_.size() - begun(held_, kThinkEnd);
      say(AnswerPiece::Kind::kReasoning, held_.substr(0, said), out);
      held_.erase(0, said + (end != std::string::npos ? kThinkEnd.size() : 0));
      if (end == std::string::npos) return false;
      state_ = State::kStart;
      reasoned_ = true;
      return true;
    }
    case State::kText:
      return read_text(last, out);
    case State::kCall:
      return read_call(last, out);
    case State::kWhole: {
      if (!last || held_.empty()) return false;
      const std::string all = std::exchange(held_, {});
      if (!take_calls(all, out)) say(AnswerPiece::Kind::kContent, all, out);
      return false;
    }
  }
  return false;
}

// Decides by the first characters.
bool AnswerReader::start(bool last) {
  const size_t first = held_.find_first_not_of(" \t\r\n");
  const std::string_view text =
      first == std::string::npos ? std::string_view() : std::string_view(held_).substr(first);
  if (text.empty() && !last) return false;
  const bool may_reason = options_.reasoning && !reasoned_;
  if (may_reason && text.starts_with(kThink)) {
    held_.erase(0, first + kThink.size());
    state_ = State::kReasoning;
    return true;
  }
  if (!last && may_reason && kThink.starts_with(text)) return false;
  const std::string_view tag = tags_of(options_.format).begin;
  const bool tagged = !options_.tools.empty() && !text.empty() && !options_.forced &&
                      tag.starts_with(text.substr(0, tag.size()));
  if (tagged && !last && text.size() < tag.size()) return false;
  const bool whole = options_.forced || (!options_.tools.empty() && !text.empty() && !tagged &&
                                         may_be_whole_call(options_.format, text));
  state_ = whole ? State::kWhole : State::kText;
  if (reasoned_) drop_line_ends();
  return true;
}

void AnswerReader::drop_line_ends() {
  held_.erase(0, std::min(held_.find_first_not_of('\n'), held_.size()));
}

// Text up to a tag; spaces before it go with the call.
bool AnswerReader::read_text(bool last, std::vector<AnswerPiece>& out) {
  if (options_.tools.empty()) {
    say(AnswerPiece::Kind::kContent, std::exchange(held_, {}), out);
    return false;
  }
  const std::string_view tag = tags_of(options_.format).begin;
  const size_t at = held_.find(tag);
  size_t end = at != std::string::npos ? at
               : last                  ? held_.size()
                                       : held_.size() - begun(held_, tag);
  if (!last || at != std::string::npos)
    while (end > 0 && std::string_view(" \t\r\n").contains(held_[end - 1])) --end;
  const size_t cut = at != std::string::npos ? at : end;
  if (end > 0) say(AnswerPiece::Kind::kContent, std::exchange(space_, {}), out);
  say(AnswerPiece::Kind::kContent, held_.substr(0, end), out);
  if (at != std::string::npos) space_ += held_.substr(end, at - end);
  held_.erase(0, cut);
  if (at == std::string::npos) {
    if (last) say(AnswerPiece::Kind::kContent, calls_ == 0 ? std::exchange(space_, {}) : "", out);
    return false;
  }
  state_ = State::kCall;
  return true;
}

// held_ begins with the tag.
bool AnswerReader::read_call(bool last, std::vector<AnswerPiece>& out) {
  const Tags tags = tags_of(options_.format);
  const size_t end = tags.end.empty() ? std::string::npos : held_.find(tags.end, tags.begin.size());
  if (end == std::string::npos && !last) return false;
  const size_t body_end = std::min(end, held_.size());
  const std::string body = held_.substr(tags.begin.size(), body_end - tags.begin.size());
  const std::string all = held_.substr(0, std::min(held_.size(), body_end + tags.end.size()));
  held_.erase(0, all.size());
  state_ = State::kText;
  if (take_calls(body, out)) {
    space_.clear();
  } else {
    say(AnswerPiece::Kind::kContent, std::exchange(space_, {}) + all, out);
  }
  return !held_.empty() || last;
}

// True if all of `body` is calls of known tools.
bool AnswerReader::take_calls(std::string_view body, std::vector<AnswerPiece>& out) {
  const auto calls = options_.forced ? json_calls(trimmed(body)) : calls_of(options_.format, body);
  if (!calls || calls->empty()) return false;
  const auto known = [&](const ToolCall& call) {
    return std::ranges::find(options_.tools, call.name) != options_.tools.end();
  };
  if (!std::ranges::all_of(*calls, known)) return false;
  for (const ToolCall& call : *calls) {
    if (options_.one_call && calls_ > 0) break;
    out.push_back({AnswerPiece::Kind::kCall, "", call});
    ++calls_;
  }
  return true;
}

}  // namespace altlas::server
