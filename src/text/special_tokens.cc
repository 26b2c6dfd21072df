#include "text/special_tokens.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::text {
namespace {

bool touches(std::span<const std::pair<size_t, size_t>> ranges, size_t begin, size_t end) {
  const auto it = std::ranges::upper_bound(ranges, begin, {}, &std::pair<size_t, size_t>::second);
  return it != ranges.end() && it->first < end;
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::ranges::stable_sort(entries_, {}, &Entry::text);
  for (const Entry& entry : entries_) {
    ALTLAS_CHECK(!entry.text.empty(), "a special token needs text");
    begins_[static_cast<uint8_t>(entry.text[0])] = true;
  }
}

std::optional<SpecialTokens::Match> SpecialTokens::find(
    std::string_view text, size_t from, std::span<const std::pair<size_t, size_t>> plain) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<uint8_t>(text[begin])]) continue;
    // Narrow the sorted entries to those that begin with text[begin, begin + depth).
    auto low = entries_.begin(), high = entries_.end();
    std::optional<Match> best;
    for (size_t depth = 0; low != high; ++depth) {
      if (low->text.size() ==
          depth) {  // Entries equal to the prefix sort first; the first of equals wins.
        if (!low->is_control || !touches(plain, begin, begin + depth))
          best = Match{begin, begin + depth, low->id};
        while (low != high && low->text.size() == depth) ++low;
      }
      if (low == high || begin + depth == text.size()) break;
      const auto next = static_cast<uint8_t>(text[begin + depth]);
      const auto byte_at = [depth](const Entry& e) { return static_cast<uint8_t>(e.text[depth]); };
      const auto range = std::ranges::equal_range(low, high, next, {}, byte_at);
      low = range.begin();
      high = range.end();
    }
    if (best) return best;
  }
  return std::nullopt;
}

}  // namespace altlas::text
