// A small vocabulary for simulated models and tests: a token for each printable ASCII character,
// which is no blank.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

// Token 0 ends a text; '!' to '~' follow, then `pieces` of several characters.
inline Vocabulary letters_vocabulary(std::initializer_list<std::string_view> pieces) {
  Vocabulary out;
  out.model = "gpt2";
  out.pre = "gpt-2";
  out.tokens = {"<|end|>"};
  out.types = {kTokenControl};
  out.eos = 0;
  for (char c = '!'; c <= '~'; ++c) out.tokens.push_back(std::string(1, c));
  for (const std::string_view piece : pieces) out.tokens.push_back(piece);
  out.types.resize(out.tokens.size(), kTokenNormal);
  return out;
}

}  // namespace altlas::text
