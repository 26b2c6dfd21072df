#include "text/tokenizer/charsmap.h"

#include <fmt/format.h>

#include <cstring>

#include "base/utf8.h"
#include "text/unicode.h"

namespace altlas::text {

Result<std::unique_ptr<const Charsmap>> Charsmap::create(std::string_view bytes) {
  uint32_t trie_bytes = 0;
  if (bytes.size() >= 4) std::memcpy(&trie_bytes, bytes.data(), 4);
  if (bytes.size() < 8 || trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes > bytes.size() - 4)
    return invalid(
        fmt::format("the precompiled character map has {} bytes and says that its trie "
                    "has {}; that does not fit",
                    bytes.size(), trie_bytes));
  std::unique_ptr<Charsmap> made(new Charsmap());
  made->units_.resize(trie_bytes / 4);
  std::memcpy(made->units_.data(), bytes.data() + 4, trie_bytes);
  made->replacements_ = bytes.substr(4 + trie_bytes);
  return std::unique_ptr<const Charsmap>(std::move(made));
}

// A unit of Darts: bit 8 says that a value hangs below; the label is the low byte (with the top bit
// of a leaf); the offset of the children is in the upper 22 bits, shifted by 8 more with bit 9.
std::optional<std::string_view> Charsmap::find(std::string_view chunk) const {
  const auto offset_of = [](uint32_t unit) {
    return static_cast<size_t>((unit >> 10) << ((unit & (1U << 9)) >> 6));
  };
  size_t at = offset_of(units_[0]);
  for (const char c : chunk) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) break;
    at ^= byte;
    if (at >= units_.size()) return std::nullopt;
    const uint32_t unit = units_[at];
    if ((unit & 0x800000FFU) != byte) return std::nullopt;
    at ^= offset_of(unit);
    if (((unit >> 8) & 1) == 0) continue;
    if (at >= units_.size()) return std::nullopt;
    const size_t begin = units_[at] & 0x7FFFFFFFU;
    if (begin >= replacements_.size()) return std::nullopt;
    const size_t end = replacements_.find('\0', begin);
    return std::string_view(replacements_)
        .substr(begin, end == std::string::npos ? end : end - begin);
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const std::string_view cluster = text.substr(at, grapheme_bytes(text.substr(at)));
    at += cluster.size();
    if (cluster.size() < 6) {
      if (const auto found = find(cluster)) {
        out += *found;
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const Utf8Char c = decode_utf8(cluster.substr(i));
      const std::string_view one = cluster.substr(i, c.length);
      out += find(one).value_or(one);
      i += c.length;
    }
  }
  // Replacements come from the file; whatever they are, the result is UTF-8.
  return is_valid_utf8(out) ? out : repair_utf8(out);
}

}  // namespace altlas::text
