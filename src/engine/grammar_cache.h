// GrammarCache: compiled grammars of a replica, and what is known of them over its vocabulary.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "engine/grammar_compiler.h"

namespace altlas::engine {

// The grammar that was not asked for longest goes first; what a sequence uses stays with it.
inline constexpr uint64_t kGrammarCacheBytesMax = 256u << 20;
inline constexpr size_t kGrammarsMax = 256;

// One thread at a time.
class GrammarCache {
 public:
  // Null: it is not here.
  std::shared_ptr<text::grammar::TokenGrammar> find(const Grammar& grammar);
  void keep(const GrammarKey& key, std::shared_ptr<text::grammar::TokenGrammar> grammar);

 private:
  struct Entry {
    std::shared_ptr<text::grammar::TokenGrammar> grammar;
    uint64_t used = 0;
  };
  void make_room();

  std::map<GrammarKey, Entry> entries_;
  uint64_t uses_ = 0;
};

}  // namespace altlas::engine
