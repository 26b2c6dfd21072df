#include "engine/grammar_cache.h"

#include <algorithm>

namespace altlas::engine {

namespace grammar = text::grammar;

Result<std::shared_ptr<grammar::TokenGrammar>> GrammarCache::get(const Grammar& wanted) {
  if (tokenizer_ == nullptr)
    return invalid("this model has no tokenizer: its text can't be held to a grammar");
  const auto found = entries_.find({wanted.kind, wanted.text});
  if (found != entries_.end()) {
    found->second.used = ++uses_;
    return found->second.grammar;
  }
  ALTLAS_TRY(auto program, grammar::compile(wanted));
  if (trie_ == nullptr) trie_ = std::make_shared<const grammar::TokenTrie>(*tokenizer_, rows_);
  make_room();
  auto made = std::make_shared<grammar::TokenGrammar>(std::move(program), trie_);
  entries_.emplace(std::pair(wanted.kind, wanted.text), Entry{made, ++uses_});
  return made;
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
