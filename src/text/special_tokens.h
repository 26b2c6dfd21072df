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
  };
  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };
  explicit SpecialTokens(std::vector<Entry> entries);

  // The first match at or after `from`. A control token counts only if no range of `plain` (sorted,
  // disjoint byte ranges) touches it. O(n * longest entry), less in practice.
  std::optional<Match> find(std::string_view text, size_t from,
                            std::span<const std::pair<size_t, size_t>> plain) const;

 private:
  std::vector<Entry> entries_;         // Sorted by text.
  std::array<bool, 256> begins_ = {};  // First bytes of entries.
};

}  // namespace altlas::text
