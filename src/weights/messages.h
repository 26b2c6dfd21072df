// Text from a file inside an error message.
#pragma once

#include <string>
#include <string_view>

namespace altlas::weights {

// In quotes. The text is hostile: it is cut at 80 bytes and what is not printable ASCII becomes
// '?'.
inline std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out + (text.size() > 80 ? "...'" : "'");
}

}  // namespace altlas::weights
