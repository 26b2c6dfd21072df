#include "engine/grammar_compiler.h"

namespace altlas::engine {

namespace grammar = text::grammar;

CompiledGrammar GrammarCompiler::compile(const Grammar& wanted) {
  if (tokenizer_ == nullptr)
    return invalid("this model has no tokenizer: its text can't be held to a grammar");
  ALTLAS_TRY(auto program, grammar::compile(wanted));
  if (trie_ == nullptr) trie_ = std::make_shared<const grammar::TokenTrie>(*tokenizer_, rows_);
  return std::make_shared<grammar::TokenGrammar>(std::move(program), trie_);
}

}  // namespace altlas::engine
