#include "text/tool_calls/python_call.h"

#include <boost/json.hpp>
#include <optional>

#include "text/json_text.h"

namespace altlas::text {

namespace json = boost::json;

namespace {

constexpr int kLiteralDepthMax = 32;
constexpr size_t kNameBytesMax = 256;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

size_t spaces(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? text.size() : first;
}

// Reads one argument. `short_of_text` tells a text that may still become one from a wrong one.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  size_t at() const { return at_; }
  bool short_of_text() const { return at_ >= text_.size(); }
  void skip() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }
  bool take(char token) {
    skip();
    if (at_ >= text_.size() || text_[at_] != token) return false;
    ++at_;
    return true;
  }
  std::string name() {
    skip();
    const size_t from = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }

  std::optional<json::value> literal(int depth) {
    skip();
    if (at_ >= text_.size() || depth > kLiteralDepthMax) return std::nullopt;
    const char c = text_[at_];
    if (c == '"' || c == '\'') return string_literal(c);
    if (c == '[') return list_literal(depth);
    if (c == '{') return dict_literal(depth);
    const size_t from = at_;
    while (at_ < text_.size() && (is_name(text_[at_]) || text_[at_] == '+')) ++at_;
    const std::string_view word = text_.substr(from, at_ - from);
    if (word == "True" || word == "true") return json::value(true);
    if (word == "False" || word == "false") return json::value(false);
    if (word == "None" || word == "null") return json::value(nullptr);
    boost::system::error_code code;
    json::value number = json::parse(word, code);
    if (code || !number.is_number()) return std::nullopt;
    return number;
  }

 private:
  std::optional<json::value> string_literal(char quote) {
    std::string out;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] != '\\' || at_ + 1 >= text_.size()) {
        out += text_[at_];
        continue;
      }
      const char c = text_[++at_];
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    if (at_ >= text_.size()) return std::nullopt;
    ++at_;
    return json::value(out);
  }

  std::optional<json::value> list_literal(int depth) {
    json::array out;
    for (++at_; !take(']');) {
      if (!out.empty() && !take(',')) return std::nullopt;
      auto value = literal(depth + 1);
      if (!value) return std::nullopt;
      out.push_back(*std::move(value));
    }
    return out;
  }

  std::optional<json::value> dict_literal(int depth) {
    json::object out;
    for (++at_; !take('}');) {
      if (!out.empty() && !take(',')) return std::nullopt;
      const auto key = literal(depth + 1);
      if (!key || !key->is_string() || !take(':')) return std::nullopt;
      auto value = literal(depth + 1);
      if (!value) return std::nullopt;
      out[key->get_string()] = *std::move(value);
    }
    return out;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

CallStatus PythonCalls::push(std::string_view text, bool last, size_t& used) {
  used = 0;
  switch (state_) {
    case State::kStart: {
      const size_t at = spaces(text);
      if (at == text.size()) return last ? CallStatus::kBad : CallStatus::kMore;
      list_ = text[at] == '[';
      state_ = State::kName;
      if (!list_) return read_name(text, last, used);
      used = at + 1;
      return CallStatus::kMore;
    }
    case State::kName:
      return read_name(text, last, used);
    case State::kArguments:
      return read_argument(text, last, used);
    case State::kBetween:
      return read_between(text, last, used);
  }
  return CallStatus::kBad;
}

CallStatus PythonCalls::read_name(std::string_view text, bool last, size_t& used) {
  Reader reader(text);
  name_ = reader.name();
  const bool named = !name_.empty() && name_.size() <= kNameBytesMax && reader.take('(');
  if (!named)
    return reader.short_of_text() && !last && name_.size() <= kNameBytesMax ? CallStatus::kMore
                                                                            : CallStatus::kBad;
  used = reader.at();
  begun_ = false;
  first_ = true;
  tried_ = 0;
  state_ = State::kArguments;
  return CallStatus::kMore;
}

CallStatus PythonCalls::begin() {
  if (begun_) return CallStatus::kMore;
  if (!sink_->begin(name_)) return CallStatus::kBad;
  begun_ = true;
  return CallStatus::kMore;
}

// Reads `, name=value` with what follows it, or the bracket that ends the call.
CallStatus PythonCalls::read_argument(std::string_view text, bool last, size_t& used) {
  // A text is read again only once it has grown by a good part: a long argument is not read anew at
  // each step.
  if (!last && text.size() < tried_ + tried_ / 8) return CallStatus::kMore;
  Reader reader(text);
  const auto wrong = [&] {
    tried_ = text.size();
    return reader.short_of_text() && !last ? CallStatus::kMore : CallStatus::kBad;
  };
  if (reader.take(')')) {
    if (begin() == CallStatus::kBad) return CallStatus::kBad;
    sink_->arguments(first_ ? "{}" : "}");
    sink_->end();
    used = reader.at();
    state_ = State::kBetween;
    return list_ ? CallStatus::kMore : CallStatus::kDone;
  }
  if (!first_ && !reader.take(',')) return wrong();
  // The bracket may follow a last comma.
  if (!first_ && reader.take(')')) {
    sink_->arguments("}");
    sink_->end();
    used = reader.at();
    state_ = State::kBetween;
    return list_ ? CallStatus::kMore : CallStatus::kDone;
  }
  const std::string argument = reader.name();
  if (argument.empty() || !reader.take('=')) return wrong();
  const auto value = reader.literal(0);
  if (!value) return wrong();
  const size_t end = reader.at();
  reader.skip();
  if (reader.short_of_text()) return wrong();  // A number may go on.
  if (text[reader.at()] != ',' && text[reader.at()] != ')') return CallStatus::kBad;
  if (begin() == CallStatus::kBad) return CallStatus::kBad;
  sink_->arguments(std::string(first_ ? "{" : ",") + json_text(json::string(argument)) + ":" +
                   json_text(*value));
  first_ = false;
  tried_ = 0;
  used = end;
  return CallStatus::kMore;
}

CallStatus PythonCalls::read_between(std::string_view text, bool last, size_t& used) {
  const size_t at = spaces(text);
  if (at == text.size()) return last ? CallStatus::kBad : CallStatus::kMore;
  used = at + 1;
  if (text[at] == ']') return CallStatus::kDone;
  if (text[at] != ',') return CallStatus::kBad;
  state_ = State::kName;
  return CallStatus::kMore;
}

}  // namespace altlas::text
