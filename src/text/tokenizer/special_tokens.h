// Finds whole tokens (control and user-defined) in a text, leftmost and longest first.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace altlas::text {

class SpecialTokens {
 public:
  struct Entry {
    std::string text;  // Not empty.
    int32_t id;
    bool is_control;
    bool strip_left = false;  // Blanks beside it belong to it.
    bool strip_right = false;
    bool single_word = false;  // Only where no word character stands beside it.
  };
  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };
  explicit SpecialTokens(std::vector<Entry> entries);
  bool empty() const { return entries_.empty(); }

  // The first match at or after `from`; blanks before it are taken from `from` on. A control token
  // counts only if no range of `plain` (sorted, disjoint byte ranges) touches it.
  // O(n * longest entry), less in practice.
  std::optional<Match> find(std::string_view text, size_t from,
                            std::span<const std::pair<size_t, size_t>> plain) const;

 private:
  const Entry* longest_at(std::string_view text, size_t begin,
                          std::span<const std::pair<size_t, size_t>> plain) const;

  std::vector<Entry> entries_;         // Sorted by text.
  std::array<bool, 256> begins_ = {};  // First bytes of entries.
};

}  // namespace altlas::text
