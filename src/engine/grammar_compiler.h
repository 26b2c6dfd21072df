// GrammarCompiler: from a grammar's text to automata over a replica's vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "task/task.h"
#include "text/grammar/matcher.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

// What the compiled form depends on: kind and text.
using GrammarKey = std::pair<GrammarKind, std::string>;
inline GrammarKey key_of(const Grammar& grammar) { return {grammar.kind, grammar.text}; }

using CompiledGrammar = Result<std::shared_ptr<text::grammar::TokenGrammar>>;

// One thread at a time. What it answers depends on the grammar alone.
class GrammarCompiler {
 public:
  // tokenizer: outlives it; null: it refuses every grammar. rows: of the model's head.
  GrammarCompiler(const text::Tokenizer* tokenizer, uint32_t rows)
      : tokenizer_(tokenizer), rows_(rows) {}

  // Up to about half a second. The result may move to another thread.
  // Errors: kInvalid as text::grammar::compile.
  CompiledGrammar compile(const Grammar& grammar);

 private:
  const text::Tokenizer* tokenizer_;
  uint32_t rows_;
  std::shared_ptr<const text::grammar::TokenTrie> trie_;  // Made with the first grammar.
};

}  // namespace altlas::engine
