#include "text/tokenizer/special_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace altlas::text {
namespace {

bool touches(std::span<const std::pair<size_t, size_t>> ranges, size_t begin, size_t end) {
  const auto it = std::ranges::upper_bound(ranges, begin, {}, &std::pair<size_t, size_t>::second);
  return it != ranges.end() && it->first < end;
}

// Returns the begin of the character that ends before `end` > 0.
size_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && is_continuation_byte(text[begin])) --begin;
  return begin;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    const size_t before = character_before(text, begin);
    if (is_word_char(decode_utf8(text.substr(before)).code_point)) return false;
  }
  return end == text.size() || !is_word_char(decode_utf8(text.substr(end)).code_point);
}

size_t skip_blanks(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(at));
    if (!is_white_space(c.code_point)) break;
    at += c.length;
  }
  return at;
}

size_t skip_blanks_before(std::string_view text, size_t from, size_t at) {
  while (at > from) {
    const size_t before = character_before(text, at);
    if (before < from || !is_white_space(decode_utf8(text.substr(before)).code_point)) break;
    at = before;
  }
  return at;
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::ranges::stable_sort(entries_, {}, &Entry::text);
  for (const Entry& entry : entries_) {
    ALTLAS_CHECK(!entry.text.empty(), "a special token needs text");
    begins_[static_cast<uint8_t>(entry.text[0])] = true;
  }
}

const SpecialTokens::Entry* SpecialTokens::longest_at(
    std::string_view text, size_t begin, std::span<const std::pair<size_t, size_t>> plain) const {
  // The sorted entries are narrowed to those that begin with text[begin, begin + depth).
  auto low = entries_.begin(), high = entries_.end();
  const Entry* best = nullptr;
  for (size_t depth = 0; low != high; ++depth) {
    // Entries that equal the prefix sort first, and the first of them counts.
    if (low->text.size() == depth) {
      if (!low->is_control || !touches(plain, begin, begin + depth)) best = &*low;
      while (low != high && low->text.size() == depth) ++low;
    }
    if (low == high || begin + depth == text.size()) break;
    const auto next = static_cast<uint8_t>(text[begin + depth]);
    const auto byte_at = [depth](const Entry& e) { return static_cast<uint8_t>(e.text[depth]); };
    const auto range = std::ranges::equal_range(low, high, next, {}, byte_at);
    low = range.begin();
    high = range.end();
  }
  return best;
}

std::optional<SpecialTokens::Match> SpecialTokens::find(
    std::string_view text, size_t from, std::span<const std::pair<size_t, size_t>> plain) const {
  for (size_t begin = from; begin < text.size();) {
    const Entry* best =
        begins_[static_cast<uint8_t>(text[begin])] ? longest_at(text, begin, plain) : nullptr;
    if (best == nullptr) {
      ++begin;
      continue;
    }
    const size_t end = begin + best->text.size();
    if (best->single_word && !stands_alone(text, begin, end)) {
      begin = end;
      continue;
    }
    return Match{best->strip_left ? skip_blanks_before(text, from, begin) : begin,
                 best->strip_right ? skip_blanks(text, end) : end, best->id};
  }
  return std::nullopt;
}

}  // namespace altlas::text
