// A vocabulary for tests that need real token ids and read them as letters.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace altlas::server {

// Byte-level BPE: a token for every printable ASCII byte, for a space (Ġ), a line end (Ċ) and "!!",
// the one merge; then `controls`, as control tokens.
inline text::Vocabulary letter_vocabulary(const std::vector<std::string>& controls = {}) {
  text::Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "qwen2";
  for (char c = '!'; c <= '~'; ++c) vocabulary.tokens.push_back(std::string(1, c));
  for (const char* token : {"Ġ", "Ċ", "!!"}) vocabulary.tokens.push_back(token);
  vocabulary.merges.push_back("! !");
  vocabulary.types.assign(vocabulary.tokens.size(), text::kTokenNormal);
  for (const std::string& name : controls) {
    vocabulary.tokens.push_back(name);
    vocabulary.types.push_back(text::kTokenControl);
  }
  return vocabulary;
}

}  // namespace altlas::server
