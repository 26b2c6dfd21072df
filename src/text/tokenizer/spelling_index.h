// From a token's spelling to its id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/string_list.h"

namespace altlas::text {

// Filled once, then const; any thread. Refers to the tokens, which stay where they are.
class SpellingIndex {
 public:
  // Among equal spellings the first counts.  Errors: kInvalid for spellings that all fall on one
  // place: only a file made for it has them.
  static Result<SpellingIndex> create(const StringList& tokens);

  // The token's id; -1 if none is spelled so.
  int32_t find(std::string_view spelling) const;

 private:
  // Open addressing, at most two thirds full.
  struct Entry {
    uint32_t hash = 0;
    int32_t id = -1;  // -1: free.
  };
  explicit SpellingIndex(const StringList& tokens);

  const StringList* tokens_;
  std::vector<Entry> entries_;
};

}  // namespace altlas::text
