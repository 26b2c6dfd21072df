#include "config/document.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace altlas::config {
namespace {

// True if `text` is a number as JSON writes it.
bool is_json_number(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return false;
  if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return false;
  if (text.ends_with('.') || text.find(".e") != text.npos || text.find(".E") != text.npos)
    return false;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

void write_json(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::kNull:
      out += "null";
      break;
    case Node::Kind::kScalar:
      if (!node.quoted &&
          (node.text == "true" || node.text == "false" || is_json_number(node.text)))
        out += node.text;
      else
        out += json_quote(node.text);
      break;
    case Node::Kind::kList:
    case Node::Kind::kMap: {
      const bool map = node.kind == Node::Kind::kMap;
      out += map ? '{' : '[';
      for (size_t i = 0; i < node.children.size(); ++i) {
        if (i > 0) out += ',';
        if (map) out += json_quote(node.children[i].key) + ":";
        write_json(node.children[i], out);
      }
      out += map ? '}' : ']';
    }
  }
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
          out += fmt::format("\\u{:04x}", static_cast<int>(c));
        else
          out += c;
    }
  }
  return out + "\"";
}

std::string to_json(const Node& node) {
  std::string out;
  write_json(node, out);
  return out;
}

}  // namespace altlas::config
