#include "engine/grammar_cache.h"

#include <algorithm>
#include <utility>

namespace altlas::engine {

std::shared_ptr<text::grammar::TokenGrammar> GrammarCache::find(const Grammar& grammar) {
  const auto found = entries_.find(key_of(grammar));
  if (found == entries_.end()) return nullptr;
  found->second.used = ++uses_;
  return found->second.grammar;
}

void GrammarCache::keep(const GrammarKey& key,
                        std::shared_ptr<text::grammar::TokenGrammar> grammar) {
  make_room();
  entries_.insert_or_assign(key, Entry{std::move(grammar), ++uses_});
}

void GrammarCache::make_room() {
  while (!entries_.empty()) {
    uint64_t bytes = 0;
    for (const auto& [key, entry] : entries_) bytes += key.second.size() + entry.grammar->bytes();
    if (bytes <= kGrammarCacheBytesMax && entries_.size() < kGrammarsMax) return;
    entries_.erase(
        std::ranges::min_element(entries_, {}, [](const auto& one) { return one.second.used; }));
  }
}

}  // namespace altlas::engine
