#include "base/byte_order_mark.h"

#include <fmt/format.h>

namespace altlas {

namespace {

constexpr std::string_view kUtf8 = "\xEF\xBB\xBF";

// Whether the text begins with two letters in UTF-16: every second one of its first four bytes,
// from `zero` on, is zero. No text in UTF-8 begins so.
bool are_letters(std::string_view text, size_t zero) {
  if (text.size() < 2 || text.size() % 2 != 0) return false;
  const std::string_view begin = text.substr(0, 4);
  for (size_t i = 0; i < begin.size(); ++i)
    if ((begin[i] == '\0') != (i % 2 == zero)) return false;
  return true;
}

std::string_view other_encoding(std::string_view text) {
  using namespace std::string_view_literals;
  // UTF-32's little-endian mark begins as UTF-16's.
  if (text.starts_with("\xFF\xFE\0\0"sv) || text.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (text.size() >= 4 && text.size() % 4 == 0 && (text[0] != '\0') != (text[3] != '\0') &&
      (text.substr(1, 3) == "\0\0\0"sv || text.starts_with("\0\0\0"sv)))
    return "UTF-32";
  if (text.starts_with("\xFF\xFE") || are_letters(text, 1)) return "UTF-16, little-endian";
  if (text.starts_with("\xFE\xFF") || are_letters(text, 0)) return "UTF-16, big-endian";
  return "";
}

}  // namespace

Result<std::string_view> skip_byte_order_mark(std::string_view text, std::string_view what) {
  if (const std::string_view other = other_encoding(text); !other.empty())
    return invalid(fmt::format("{} is {}: it should be UTF-8", what, other))
        .with_reason(kUnsupportedEncoding);
  if (text.starts_with(kUtf8)) text.remove_prefix(kUtf8.size());
  return text;
}

}  // namespace altlas
