// Values as text: Python's str and repr, and JSON.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "text/template/value.h"

namespace altlas::text {
namespace {

bool is_control_point(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD; }

void append_string_repr(TaggedText& out, const TaggedText& text) {
  const std::string_view bytes = text.bytes;
  const bool is_content = text.has_content();
  const char quote =
      bytes.find('\'') != std::string_view::npos && bytes.find('"') == std::string_view::npos
          ? '"'
          : '\'';
  std::string made;
  for (size_t i = 0; i < bytes.size();) {
    const Utf8Char c = decode_utf8(bytes.substr(i));
    if (c.code_point == '\n') {
      made += "\\n";
    } else if (c.code_point == '\r') {
      made += "\\r";
    } else if (c.code_point == '\t') {
      made += "\\t";
    } else if (c.code_point == '\\' || c.code_point == static_cast<char32_t>(quote)) {
      made += '\\';
      made += static_cast<char>(c.code_point);
    } else if (is_control_point(c.code_point)) {
      made += fmt::format("\\x{:02x}", static_cast<uint32_t>(c.code_point));
    } else {
      made += bytes.substr(i, c.length);
    }
    i += c.length;
  }
  out.append(std::string_view(&quote, 1), false);
  out.append(made, is_content);
  out.append(std::string_view(&quote, 1), false);
}

void append_json_string(TaggedText& out, const TaggedText& text, bool ensure_ascii) {
  const std::string_view bytes = text.bytes;
  std::string made;
  for (size_t i = 0; i < bytes.size();) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const Utf8Char c =
        byte < 0x80 ? Utf8Char{Utf8Char::kValid, 1, byte} : decode_utf8(bytes.substr(i));
    switch (c.code_point) {
      case '"':
        made += "\\\"";
        break;
      case '\\':
        made += "\\\\";
        break;
      case '\n':
        made += "\\n";
        break;
      case '\r':
        made += "\\r";
        break;
      case '\t':
        made += "\\t";
        break;
      case '\b':
        made += "\\b";
        break;
      case '\f':
        made += "\\f";
        break;
      default:
        if (c.code_point < 0x20 ||
            (ensure_ascii && c.code_point >= 0x7F && c.code_point < 0x10000)) {
          made += fmt::format("\\u{:04x}", static_cast<uint32_t>(c.code_point));
        } else if (ensure_ascii && c.code_point >= 0x10000) {
          const auto high = static_cast<uint32_t>(c.code_point) - 0x10000;
          made += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (high >> 10), 0xDC00 + (high & 0x3FF));
        } else {
          made += bytes.substr(i, c.length);
        }
    }
    i += c.length;
  }
  out.append("\"", false);
  out.append(made, text.has_content());
  out.append("\"", false);
}

class JsonWriter {
 public:
  JsonWriter(TaggedText& out, const JsonStyle& style, RenderBudget& budget)
      : out_(out), style_(style), budget_(budget) {}

  bool write(const Value& value, int level) {
    if (!budget_.spend(1)) return true;
    switch (value.kind()) {
      case Value::Kind::kNull:
        out_.append("null", false);
        return true;
      case Value::Kind::kBool:
        out_.append(value.as_bool() ? "true" : "false", false);
        return true;
      case Value::Kind::kInt:
        out_.append(fmt::to_string(value.as_int()), false);
        return true;
      case Value::Kind::kDouble:
        write_double(value.as_double());
        return true;
      case Value::Kind::kString:
        if (!budget_.take(2 * value.view().size())) return true;
        append_json_string(out_, value.text(), style_.ensure_ascii);
        return true;
      case Value::Kind::kList:
        return write_list(value, level);
      case Value::Kind::kObject:
        return write_object(value, level);
      default:
        return false;
    }
  }

 private:
  void write_double(double value) {
    out_.append(std::isnan(value)   ? "NaN"
                : std::isinf(value) ? (value > 0 ? "Infinity" : "-Infinity")
                                    : format_double(value),
                false);
  }
  void new_line(int level) {
    if (style_.indent < 0) return;
    const auto blanks = static_cast<size_t>(style_.indent) * static_cast<size_t>(level);
    budget_.take(blanks);
    out_.append("\n" + std::string(budget_.exhausted() ? 0 : blanks, ' '), false);
  }
  void separate(const std::string& separator) {
    if (budget_.take(separator.size())) out_.append(separator, false);
  }
  bool write_list(const Value& value, int level) {
    if (value.items().empty()) return out_.append("[]", false), true;
    out_.append("[", false);
    for (size_t i = 0; i < value.items().size(); ++i) {
      if (i > 0) separate(style_.item_separator);
      new_line(level + 1);
      if (!write(value.items()[i], level + 1)) return false;
      if (budget_.exhausted()) return true;
    }
    new_line(level);
    out_.append("]", false);
    return true;
  }
  bool write_object(const Value& value, int level) {
    if (value.entries().empty()) return out_.append("{}", false), true;
    std::vector<const Value::Entry*> order;
    for (const auto& entry : value.entries()) order.push_back(&entry);
    if (style_.sort_keys)
      std::ranges::stable_sort(order, {}, [](const Value::Entry* entry) {
        return entry->first.is_string() ? entry->first.view() : std::string_view();
      });
    out_.append("{", false);
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) separate(style_.item_separator);
      new_line(level + 1);
      const Value& key = order[i]->first;
      if (key.is_string()) {
        if (!budget_.take(2 * key.view().size())) return true;
        append_json_string(out_, key.text(), style_.ensure_ascii);
      } else {
        out_.append(fmt::format("\"{}\"", key.as_int()), false);
      }
      separate(style_.key_separator);
      if (!write(order[i]->second, level + 1)) return false;
      if (budget_.exhausted()) return true;
    }
    new_line(level);
    out_.append("}", false);
    return true;
  }

  TaggedText& out_;
  const JsonStyle& style_;
  RenderBudget& budget_;
};

}  // namespace

std::string format_double(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  // Such numbers are written as in Python: 1e-05, 1.5e+16.
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string out(buffer, fixed);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

void append_repr(TaggedText& out, const Value& value, RenderBudget& budget) {
  if (!budget.spend(1)) return;
  switch (value.kind()) {
    case Value::Kind::kString:
      if (!budget.take(2 * value.view().size())) return;
      append_string_repr(out, value.text());
      return;
    case Value::Kind::kList: {
      out.append(value.is_tuple() ? "(" : "[", false);
      for (size_t i = 0; i < value.items().size() && !budget.exhausted(); ++i) {
        if (i > 0) out.append(", ", false);
        append_repr(out, value.items()[i], budget);
      }
      out.append(!value.is_tuple() ? "]" : value.items().size() == 1 ? ",)" : ")", false);
      return;
    }
    case Value::Kind::kObject: {
      out.append("{", false);
      bool first = true;
      for (const auto& [key, item] : value.entries()) {
        if (budget.exhausted()) return;
        if (!std::exchange(first, false)) out.append(", ", false);
        append_repr(out, key, budget);
        out.append(": ", false);
        append_repr(out, item, budget);
      }
      out.append("}", false);
      return;
    }
    case Value::Kind::kUndefined:
      out.append("Undefined", false);
      return;
    default:
      append_str(out, value, budget);
  }
}

void append_str(TaggedText& out, const Value& value, RenderBudget& budget) {
  if (!budget.spend(1)) return;
  switch (value.kind()) {
    case Value::Kind::kUndefined:
      return;
    case Value::Kind::kNull:
      out.append("None", false);
      return;
    case Value::Kind::kBool:
      out.append(value.as_bool() ? "True" : "False", false);
      return;
    case Value::Kind::kInt:
      out.append(fmt::to_string(value.as_int()), false);
      return;
    case Value::Kind::kDouble:
      out.append(format_double(value.as_double()), false);
      return;
    case Value::Kind::kString:
      if (budget.take(value.view().size())) out.append(value.text());
      return;
    case Value::Kind::kList:
    case Value::Kind::kObject:
      append_repr(out, value, budget);
      return;
    default:
      out.append(fmt::format("<{}>", value.kind_name()), false);
  }
}

bool append_json(TaggedText& out, const Value& value, const JsonStyle& style,
                 RenderBudget& budget) {
  return JsonWriter(out, style, budget).write(value, 0);
}

}  // namespace altlas::text
