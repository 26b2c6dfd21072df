#include "text/template/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "base/utf8.h"

namespace altlas::text {
namespace {

using Kind = TemplateToken::Kind;
constexpr std::string_view kBlank = " \t\n\r\f\v";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return kBlank.find(c) != std::string_view::npos; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<TemplateToken>> run() {
    while (at_ < source_.size()) ALTLAS_TRY_VOID(data());
    push(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool starts(std::string_view what) const { return rest().starts_with(what); }
  void push(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void skip(size_t count) {
    line_ += static_cast<int>(std::ranges::count(rest().substr(0, count), '\n'));
    at_ += count;
  }
  Error error(std::string_view what) const {
    return invalid(fmt::format("chat template, line {}: {}", line_, what), "chat_template");
  }

  // Reads text up to the next tag, and the tag.
  Result<void> data() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) tag = source_.size();
      if (tag == source_.size() ||
          (tag + 1 < source_.size() &&
           std::string_view("{%#").find(source_[tag + 1]) != std::string_view::npos))
        break;
    }
    std::string_view text = rest().substr(0, tag - at_);
    if (tag < source_.size()) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
      if (sign == '-') {
        const size_t last = text.find_last_not_of(kBlank);
        text = last == std::string_view::npos ? "" : text.substr(0, last + 1);
      } else if (sign != '+' && source_[tag + 1] != '{') {
        const size_t newline = text.rfind('\n');
        const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
        if ((begin > 0 || line_starting_) &&
            text.find_first_not_of(kBlank, begin) == std::string_view::npos)
          text = text.substr(0, begin);
      }
    }
    if (!text.empty()) push(Kind::kText, std::string(text));
    skip(tag - at_);
    return at_ < source_.size() ? this->tag() : Result<void>();
  }

  Result<void> tag() {
    const char kind = source_[at_ + 1];
    if (kind == '#') return comment();
    if (kind == '%' && raw_begin() > 0) return raw();
    skip(2);
    if (starts("-") || starts("+")) skip(1);
    push(kind == '{' ? Kind::kPrintBegin : Kind::kBlockBegin, "");
    return inside(kind == '{' ? "}}" : "%}", kind == '{' ? Kind::kPrintEnd : Kind::kBlockEnd);
  }

  // Skips what a tag takes after its end: after "-%}" (`dash`) all blanks; a block also takes one
  // newline.
  void after_tag(bool dash, bool trims_newline) {
    const size_t before = at_;
    if (dash) {
      skip(std::min(rest().find_first_not_of(kBlank), rest().size()));
    } else if (trims_newline && starts("\n")) {
      skip(1);
    }
    line_starting_ = at_ > before && source_[at_ - 1] == '\n';
  }

  Result<void> comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string::npos) return error("a comment {# has no #}");
    const char sign = end > at_ + 2 ? source_[end - 1] : ' ';
    skip(end + 2 - at_);
    after_tag(sign == '-', sign != '+');
    return {};
  }

  // Returns the length of "{% raw %}" here, with its trimming, or 0.
  size_t raw_begin() const { return keyword_tag(at_, "raw"); }
  size_t keyword_tag(size_t at, std::string_view keyword) const {
    const std::string_view s = source_;
    if (!s.substr(at).starts_with("{%")) return 0;
    size_t i = at + 2;
    if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
    while (i < s.size() && is_blank(s[i])) ++i;
    if (!s.substr(i).starts_with(keyword)) return 0;
    i += keyword.size();
    while (i < s.size() && is_blank(s[i])) ++i;
    if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
    return s.substr(i).starts_with("%}") ? i + 2 - at : 0;
  }

  Result<void> raw() {
    const size_t length = raw_begin();
    const bool dash = source_[at_ + length - 3] == '-';
    skip(length);
    after_tag(dash, true);
    size_t end = at_;
    while ((end = source_.find("{%", end)) != std::string::npos && keyword_tag(end, "endraw") == 0)
      ++end;
    if (end == std::string::npos) return error("{% raw %} has no {% endraw %}");
    std::string_view text = rest().substr(0, end - at_);
    if (source_[end + 2] == '-') text = trim_end(text, kBlank);
    if (!text.empty()) push(Kind::kText, std::string(text));
    skip(end - at_);
    const size_t closing = keyword_tag(at_, "endraw");
    const bool closing_dash = source_[at_ + closing - 3] == '-';
    skip(closing);
    after_tag(closing_dash, true);
    return {};
  }

  Result<void> inside(std::string_view close, Kind close_kind) {
    int open = 0;  // The open braces: "}}" may end two dictionaries.
    for (;;) {
      while (at_ < source_.size() && is_blank(source_[at_])) skip(1);
      if (at_ == source_.size()) return error(fmt::format("the template ends before {}", close));
      if (open == 0) {
        const bool sign = (starts("-") || starts("+")) && rest().substr(1).starts_with(close);
        if (sign || starts(close)) {
          const bool dash = starts("-"), plus = starts("+");
          push(close_kind, "");
          skip(close.size() + (sign ? 1 : 0));
          after_tag(dash, close_kind == Kind::kBlockEnd && !plus);
          return {};
        }
      }
      ALTLAS_TRY_VOID(token());
      const TemplateToken& last = tokens_.back();
      if (last.kind != Kind::kOperator) continue;
      if (last.text == "{" || last.text == "(" || last.text == "[") ++open;
      if ((last.text == "}" || last.text == ")" || last.text == "]") && --open < 0)
        return error(fmt::format("'{}' closes nothing", last.text));
    }
  }

  Result<void> token() {
    const char c = source_[at_];
    if (is_letter(c)) {
      size_t end = at_;
      while (end < source_.size() && (is_letter(source_[end]) || is_digit(source_[end]))) ++end;
      push(Kind::kName, source_.substr(at_, end - at_));
      skip(end - at_);
      return {};
    }
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string(c);
    constexpr std::array<std::string_view, 26> kOperators = {
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
        ">",  "=",  "(",  ")",  "[",  "]",  "{", "}", ",", ".", ":", "|", ";"};
    for (const std::string_view op : kOperators) {
      if (!starts(op)) continue;
      push(Kind::kOperator, std::string(op));
      skip(op.size());
      return {};
    }
    return error(
        fmt::format("unexpected character '{}'", rest().substr(0, decode_utf8(rest()).length)));
  }

  Result<void> number() {
    size_t end = at_;
    std::string digits;
    bool real = false;
    const auto take = [&] {
      for (; end < source_.size() && (is_digit(source_[end]) || source_[end] == '_'); ++end)
        if (source_[end] != '_') digits += source_[end];
    };
    take();
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      real = true;
      digits += source_[end++];
      take();
    }
    if (end + 1 < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t sign = source_[end + 1] == '+' || source_[end + 1] == '-' ? 1 : 0;
      if (end + 1 + sign < source_.size() && is_digit(source_[end + 1 + sign])) {
        real = true;
        digits += source_.substr(end, 1 + sign);
        end += 1 + sign;
        take();
      }
    }
    push(real ? Kind::kFloat : Kind::kInteger, std::move(digits));
    skip(end - at_);
    return {};
  }

  Result<void> string(char quote) {
    std::string text;
    size_t i = at_ + 1;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\') {
        text += source_[i];
        continue;
      }
      if (++i == source_.size()) break;
      i = escape(i, text);
    }
    if (i >= source_.size()) return error("a string has no closing quote");
    push(Kind::kString, std::move(text));
    skip(i + 1 - at_);
    return {};
  }

  // Reads Python's escapes. `i` is the place after the backslash. Returns the place of the escape's
  // last byte.
  size_t escape(size_t i, std::string& text) const {
    constexpr std::string_view kFrom = "nrtbfva0\\'\"", kTo("\n\r\t\b\f\v\a\0\\'\"", 11);
    const char c = source_[i];
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
      const std::string_view hex = std::string_view(source_).substr(i + 1, digits);
      const auto is_hex = [](char h) { return hex_digit(h) >= 0; };
      if (hex.size() == digits && std::ranges::all_of(hex, is_hex)) {
        const auto point = static_cast<char32_t>(std::stoul(std::string(hex), nullptr, 16));
        append_utf8(text, point > 0x10FFFF || (point >= 0xD800 && point < 0xE000) ? 0xFFFD : point);
        return i + digits;
      }
    }
    const size_t known = kFrom.find(c);
    if (c == '\n') return i;
    if (known == std::string_view::npos) {
      text += '\\';
      text += c;
    } else {
      text += kTo[known];
    }
    return i;
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<TemplateToken> tokens_;
};

}  // namespace

Result<std::vector<TemplateToken>> lex_template(std::string_view source) {
  std::string normal;
  normal.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      normal += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      normal += source[i];
    }
  }
  if (normal.ends_with('\n')) normal.pop_back();
  return Lexer(std::move(normal)).run();
}

}  // namespace altlas::text
