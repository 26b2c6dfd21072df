#include "telemetry/text.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <iterator>

#include "base/utf8.h"

namespace altlas::telemetry {
std::string clean_utf8(std::string_view text, size_t bytes_max) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char first = decode_utf8(text);
    const bool valid = first.kind == Utf8Char::kValid;
    const size_t bytes = valid ? first.length : 1;
    if (out.size() + bytes > bytes_max) break;
    out += valid ? text.substr(0, bytes) : "?";
    text.remove_prefix(bytes);
  }
  return out;
}

void append_json_escaped(std::string_view text, std::string& out) {
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
}

void append_number(double value, std::string& out) {
  if (std::isnan(value))
    out += "NaN";
  else if (std::isinf(value))
    out += value > 0 ? "+Inf" : "-Inf";
  else if (value == std::floor(value) && std::abs(value) < 0x1p53)
    fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(value));
  else
    fmt::format_to(std::back_inserter(out), "{}", value);
}

}  // namespace altlas::telemetry
