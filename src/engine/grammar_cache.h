// GrammarCache: compiled grammars of a replica, and what is known of them over its vocabulary.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "base/result.h"
#include "task/task.h"
#include "text/grammar/matcher.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

// The grammar that was not asked for longest goes first; what a sequence uses stays with it.
inline constexpr uint64_t kGrammarCacheBytesMax = 256u << 20;
inline constexpr size_t kGrammarsMax = 256;

// One thread at a time. What it answers depends on the grammar alone, never on what it keeps.
class GrammarCache {
 public:
  // tokenizer: outlives it; null: it refuses every grammar. rows: of the model's head.
  GrammarCache(const text::Tokenizer* tokenizer, uint32_t rows)
      : tokenizer_(tokenizer), rows_(rows) {}

  // Errors: kInvalid as text::grammar::compile.
  Result<std::shared_ptr<text::grammar::TokenGrammar>> get(const Grammar& grammar);

 private:
  struct Entry {
    std::shared_ptr<text::grammar::TokenGrammar> grammar;
    uint64_t used = 0;
  };
  void make_room();

  const text::Tokenizer* tokenizer_;
  const uint32_t rows_;
  std::shared_ptr<const text::grammar::TokenTrie> trie_;  // Made with the first grammar.
  std::map<std::pair<GrammarKind, std::string>, Entry> entries_;
  uint64_t uses_ = 0;
};

}  // namespace altlas::engine
