// From a token's spelling to its id.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace altlas::text {

// Filled once, then const; any thread. Refers to the tokens, which stay where they are.
class SpellingIndex {
 public:
  struct Entry {
    uint32_t hash = 0;
    int32_t second = -1;  // The token's id; -1: free.
  };

  // Of equal spellings the first counts.
  explicit SpellingIndex(const std::vector<std::string>& tokens)
      : tokens_(tokens), entries_(std::bit_ceil(2 * tokens.size() + 2)) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      Entry& entry = entries_[place(tokens[i])];
      if (entry.second < 0) entry = {hash_of(tokens[i]), static_cast<int32_t>(i)};
    }
  }

  const Entry* end() const { return nullptr; }
  // end() if no token is spelled so.
  const Entry* find(std::string_view spelling) const {
    const Entry& entry = entries_[place(spelling)];
    return entry.second < 0 ? end() : &entry;
  }

 private:
  static uint32_t hash_of(std::string_view spelling) {
    return static_cast<uint32_t>(Hasher().add(spelling).value() >> 32);
  }
  // Where the spelling is, or would be.
  size_t place(std::string_view spelling) const {
    const uint32_t hash = hash_of(spelling);
    size_t at = hash & (entries_.size() - 1);
    while (entries_[at].second >= 0 &&
           (entries_[at].hash != hash ||
            tokens_[static_cast<size_t>(entries_[at].second)] != spelling))
      at = (at + 1) & (entries_.size() - 1);
    return at;
  }

  const std::vector<std::string>& tokens_;
  std::vector<Entry> entries_;
};

}  // namespace altlas::text
