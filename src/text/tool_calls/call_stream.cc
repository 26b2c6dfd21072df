#include "text/tool_calls/call_stream.h"

#include <algorithm>

#include "base/strings.h"

namespace altlas::text {

namespace {

constexpr size_t kHeadBytesMax = 512;  // The most bytes of a name with what surrounds it.
constexpr std::string_view kFence = "```json", kFenceEnd = "```";
constexpr std::string_view kMistralArguments = "[ARGS]";
constexpr std::string_view kDeepSeekBegin = "<｜tool▁call▁begin｜>";
constexpr std::string_view kDeepSeekEnd = "<｜tool▁call▁end｜>";
constexpr std::string_view kDeepSeekSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kDeepSeekKind = "function";

}  // namespace

CallStream::CallStream(ToolFormat format, bool tagged, bool forced,
                       const std::vector<std::string>& tools)
    : format_(format), tagged_(tagged), forced_(forced), sink_(tools) {}

void CallStream::drop(std::string& text, size_t bytes) {
  unsaid_.append(text, 0, bytes);
  text.erase(0, bytes);
}

// Takes `token` off the front of the text. kPart means that it may still come.
CallStream::Match CallStream::match(std::string& text, std::string_view token, bool last) {
  if (text.starts_with(token)) {
    drop(text, token.size());
    return Match::kYes;
  }
  return !last && token.starts_with(text) ? Match::kPart : Match::kNo;
}

CallStatus CallStream::push(std::string& text, bool last) {
  while (true) {
    const size_t before = text.size();
    const State state = state_;
    const CallStatus status = step(text, last);
    if (status != CallStatus::kMore) return status;
    if (text.size() == before && state_ == state) return last ? CallStatus::kBad : status;
  }
}

CallStatus CallStream::step(std::string& text, bool last) {
  switch (state_) {
    case State::kBetween:
      return between(text, last);
    case State::kJson:
      return read_json(text, last);
    case State::kNamed:
      return open_named(text, last);
    case State::kPython:
      return read_python(text, last);
  }
  return CallStatus::kBad;
}

CallStatus CallStream::end_of_text() const { return seen_ ? CallStatus::kDone : CallStatus::kBad; }

// Skips spaces, separators and fences up to the end or a value.
CallStatus CallStream::between(std::string& text, bool last) {
  drop(text, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (text.empty()) return last ? end_of_text() : CallStatus::kMore;
  if (seen_ && !separated_ && (text[0] == ';' || text[0] == ',')) {
    separated_ = true;
    drop(text, 1);
    return CallStatus::kMore;
  }
  if (fenced_ && seen_) {
    const Match closes = match(text, kFenceEnd, last);
    fenced_ = closes != Match::kYes;
    if (closes != Match::kNo) return CallStatus::kMore;
  }
  const std::string_view end = tagged_ ? tags_of(format_).end : std::string_view();
  if (!end.empty()) {
    const Match ends = match(text, end, last);
    if (ends == Match::kYes) return end_of_text();
    if (ends == Match::kPart) return CallStatus::kMore;
    // The text may have been cut off within the tag.
    if (last && end.starts_with(text)) {
      drop(text, text.size());
      return end_of_text();
    }
  }
  if (!seen_ && !fenced_ && !forced_) {
    const Match opens = match(text, kFence, last);
    fenced_ = opens == Match::kYes;
    if (opens != Match::kNo) return CallStatus::kMore;
  }
  const bool deepseek = format_ == ToolFormat::kDeepSeek && !forced_;
  if (deepseek && seen_)
    for (const std::string_view token : {kFenceEnd, kDeepSeekEnd})
      if (match(text, token, last) != Match::kNo) return CallStatus::kMore;
  if (format_ == ToolFormat::kMistral && seen_ && !forced_)
    if (match(text, tags_of(format_).begin, last) != Match::kNo) return CallStatus::kMore;
  return begin_value(text, last);
}

CallStatus CallStream::begin_value(std::string& text, bool last) {
  separated_ = false;
  if (text[0] == '{' || (text[0] == '[' && (forced_ || format_ != ToolFormat::kPythonic))) {
    json_.emplace(sink_, /*begun=*/false);
    state_ = State::kJson;
    return CallStatus::kMore;
  }
  if (forced_) return CallStatus::kBad;
  switch (format_) {
    case ToolFormat::kPythonic:
      return begin_list(text, last);
    case ToolFormat::kMistral:
      return mistral_name(text, last);
    case ToolFormat::kDeepSeek:
      return deepseek_name(text, last);
    default:
      return CallStatus::kBad;
  }
}

// Begins a list in Python's notation or in JSON's.
CallStatus CallStream::begin_list(std::string& text, bool last) {
  const size_t first = text.find_first_not_of(" \t\r\n", text[0] == '[' ? 1 : 0);
  if (first == std::string::npos) return last ? CallStatus::kBad : CallStatus::kMore;
  if (text[first] == '{') {
    json_.emplace(sink_, /*begun=*/false);
    state_ = State::kJson;
  } else {
    python_.emplace(sink_);
    state_ = State::kPython;
  }
  return CallStatus::kMore;
}

// The call's name is in the first `bytes` of the text; its arguments follow.
CallStatus CallStream::begin_named(std::string& text, std::string_view name, size_t bytes) {
  if (!sink_.begin(std::string(trim(name)))) return CallStatus::kBad;
  text.erase(0, bytes);
  unsaid_.clear();
  state_ = State::kNamed;
  return CallStatus::kMore;
}

// Reads name[ARGS]{…} or name{…}.
CallStatus CallStream::mistral_name(std::string& text, bool last) {
  const std::string head = text.substr(0, kHeadBytesMax);
  const size_t end = head.find_first_of("{[");
  if (end == std::string::npos)
    return last || head.size() == kHeadBytesMax ? CallStatus::kBad : CallStatus::kMore;
  if (head[end] == '{') return begin_named(text, head.substr(0, end), end);
  const std::string_view rest = std::string_view(text).substr(end);
  if (rest.starts_with(kMistralArguments))
    return begin_named(text, head.substr(0, end), end + kMistralArguments.size());
  return !last && kMistralArguments.starts_with(rest) ? CallStatus::kMore : CallStatus::kBad;
}

// Reads function<sep>name ```json {…} ```, with or without the separator, or name<sep>{…}.
CallStatus CallStream::deepseek_name(std::string& text, bool last) {
  if (match(text, kDeepSeekBegin, last) != Match::kNo) return CallStatus::kMore;
  const std::string head = text.substr(0, kHeadBytesMax);
  const CallStatus wanting =
      last || head.size() == kHeadBytesMax ? CallStatus::kBad : CallStatus::kMore;
  const size_t separator = head.find(kDeepSeekSeparator), fence = head.find(kFence);
  const size_t kind = head.starts_with(kDeepSeekKind) ? kDeepSeekKind.size() : 0;
  if (separator < fence && (kind == 0 || separator != kind))
    return begin_named(text, head.substr(0, separator), separator + kDeepSeekSeparator.size());
  if (fence == std::string::npos) return wanting;
  if (kind == 0) return CallStatus::kBad;
  const size_t name = kind + (separator == kind ? kDeepSeekSeparator.size() : 0);
  return begin_named(text, head.substr(name, fence - name), fence + kFence.size());
}

CallStatus CallStream::open_named(std::string& text, bool last) {
  drop(text, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (text.empty()) return last ? CallStatus::kBad : CallStatus::kMore;
  if (text[0] != '{') return CallStatus::kBad;
  unsaid_.clear();
  json_.emplace(sink_, /*begun=*/true);
  state_ = State::kJson;
  return CallStatus::kMore;
}

CallStatus CallStream::read_json(std::string& text, bool last) {
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t ended = sink_.ended();
    const CallStatus status = json_->push(text[i]);
    if (status == CallStatus::kBad) {
      text.erase(0, i);
      return status;
    }
    unsaid_ += text[i];
    if (sink_.open() || sink_.ended() != ended) unsaid_.clear();
    if (status == CallStatus::kMore) continue;
    text.erase(0, i + 1);
    state_ = State::kBetween;
    seen_ = sink_.ended() > 0;
    return CallStatus::kMore;
  }
  text.clear();
  return last ? CallStatus::kBad : CallStatus::kMore;
}

CallStatus CallStream::read_python(std::string& text, bool last) {
  size_t used = 0;
  const size_t ended = sink_.ended();
  const CallStatus status = python_->push(text, last, used);
  drop(text, used);
  if (sink_.open() || sink_.ended() != ended) unsaid_.clear();
  if (status != CallStatus::kDone) return status;
  state_ = State::kBetween;
  seen_ = true;
  return CallStatus::kMore;
}

}  // namespace altlas::text
