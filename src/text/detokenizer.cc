#include "text/detokenizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace altlas::text {

std::string Detokenizer::push(int32_t id) {
  const bool show = show_control_ || std::ranges::binary_search(shown_, id);
  std::string_view bytes = show ? tokenizer_->token_text(id) : tokenizer_->token_bytes(id);
  if (bytes.empty()) return "";
  if (is_first_ && tokenizer_->strips_first_space() && bytes.starts_with(' '))
    bytes.remove_prefix(1);
  is_first_ = false;
  pending_ += bytes;
  std::string out;
  size_t at = 0;
  while (at < pending_.size()) {
    const Utf8Char c = decode_utf8(std::string_view(pending_).substr(at));
    if (c.kind == Utf8Char::kIncomplete) break;
    out +=
        c.kind == Utf8Char::kValid ? std::string_view(pending_).substr(at, c.length) : kReplacement;
    at += c.length;
  }
  pending_.erase(0, at);
  return out;
}

std::string Detokenizer::flush() {
  std::string out = pending_.empty() ? "" : std::string(kReplacement);
  pending_.clear();
  return out;
}

std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids, bool show_control) {
  Detokenizer detokenizer(tokenizer, show_control);
  std::string out;
  for (const int32_t id : ids) out += detokenizer.push(id);
  return out += detokenizer.flush();
}

}  // namespace altlas::text
