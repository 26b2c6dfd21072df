#include "server/python_call.h"

#include <boost/json.hpp>

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr int kLiteralDepthMax = 32;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<std::vector<ToolCall>> read() {
    std::vector<ToolCall> calls;
    const bool list = take("[");
    do {
      auto call = one_call();
      if (!call) return std::nullopt;
      calls.push_back(*std::move(call));
    } while (list ? take(",") : (skip(), at_ < text_.size()));
    if (list && !take("]")) return std::nullopt;
    skip();
    if (at_ < text_.size()) return std::nullopt;
    return calls;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }
  bool take(std::string_view token) {
    skip();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::string name() {
    skip();
    const size_t from = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }

  std::optional<ToolCall> one_call() {
    ToolCall call{name(), ""};
    if (call.name.empty() || !take("(")) return std::nullopt;
    json::object arguments;
    while (!take(")")) {
      if (!arguments.empty() && !take(",")) return std::nullopt;
      const std::string argument = name();
      if (argument.empty() || !take("=")) return std::nullopt;
      auto value = literal(0);
      if (!value) return std::nullopt;
      arguments[argument] = *std::move(value);
    }
    call.arguments = json::serialize(arguments);
    return call;
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
    for (++at_; !take("]");) {
      if (!out.empty() && !take(",")) return std::nullopt;
      auto value = literal(depth + 1);
      if (!value) return std::nullopt;
      out.push_back(*std::move(value));
    }
    return out;
  }

  std::optional<json::value> dict_literal(int depth) {
    json::object out;
    for (++at_; !take("}");) {
      if (!out.empty() && !take(",")) return std::nullopt;
      const auto key = literal(depth + 1);
      if (!key || !key->is_string() || !take(":")) return std::nullopt;
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

std::optional<std::vector<ToolCall>> python_calls(std::string_view text) {
  return Reader(text).read();
}

}  // namespace altlas::server
