#include "text/tokenizer/trie.h"

#include <algorithm>
#include <cstring>

namespace altlas::text {

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> entries) {
  std::erase_if(entries, [](const auto& entry) { return entry.first.empty(); });
  std::ranges::stable_sort(entries, {}, &std::pair<std::string_view, int32_t>::first);
  struct Range {
    size_t begin, end;  // The range of entries that share the node's path.
  };
  label_.push_back(0);
  std::vector<Range> level = {{0, entries.size()}}, next;
  for (size_t depth = 0; !level.empty(); ++depth) {
    next.clear();
    for (Range range : level) {
      // Entries that end at this node sort first.
      const bool ends = range.begin < range.end && entries[range.begin].first.size() == depth;
      ids_.push_back(ends ? entries[range.begin].second : -1);
      while (range.begin < range.end && entries[range.begin].first.size() == depth) ++range.begin;
      first_child_.push_back(static_cast<uint32_t>(label_.size()));
      while (range.begin < range.end) {
        const char byte = entries[range.begin].first[depth];
        size_t end = range.begin;
        while (end < range.end && entries[end].first[depth] == byte) ++end;
        label_.push_back(static_cast<uint8_t>(byte));
        next.push_back({range.begin, end});
        range.begin = end;
      }
    }
    level.swap(next);
  }
  first_child_.push_back(static_cast<uint32_t>(label_.size()));
}

uint32_t Trie::child(uint32_t node, uint8_t byte) const {
  const uint32_t begin = first_child_[node], end = first_child_[node + 1];
  if (begin == end) return 0;
  const void* found = std::memchr(&label_[begin], byte, end - begin);
  return found == nullptr
             ? 0
             : static_cast<uint32_t>(static_cast<const uint8_t*>(found) - label_.data());
}

}  // namespace altlas::text
