#include "telemetry/text.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <iterator>

namespace altlas::telemetry {
namespace {

// Bytes of the valid character at the start of `text`, 0 if there is none.
size_t character_bytes(std::string_view text) {
  const auto at = [text](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xf0 && lead < 0xf5   ? 4
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xc2 && lead < 0xe0 ? 2
                                                     : 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0u) != 0x80) return 0;
  }
  // Overlong forms, surrogates and points above U+10FFFF.
  if ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) >= 0xa0)) return 0;
  if ((lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) >= 0x90)) return 0;
  return bytes;
}

}  // namespace

std::string clean_utf8(std::string_view text, size_t bytes_max) {
  std::string out;
  while (!text.empty()) {
    const size_t bytes = character_bytes(text);
    if (out.size() + std::max<size_t>(bytes, 1) > bytes_max) break;
    if (bytes == 0)
      out += '?';
    else
      out += text.substr(0, bytes);
    text.remove_prefix(std::max<size_t>(bytes, 1));
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
