// A tokenizer of single printable characters and some pairs, for tests of texts held to grammars.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

inline constexpr int32_t kLettersEnd = 0;  // Ends a generation.

inline std::unique_ptr<const text::Tokenizer> letters() {
  text::Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"<|end|>"};
  vocabulary.types = {text::kTokenControl};
  vocabulary.eos = kLettersEnd;
  for (char c = '!'; c <= '~'; ++c) vocabulary.tokens.push_back(std::string(1, c));
  for (const char* pair : {"ab", "bc", "\":", "12", "}}", ",\""}) vocabulary.tokens.push_back(pair);
  vocabulary.types.resize(vocabulary.tokens.size(), text::kTokenNormal);
  auto made = text::Tokenizer::create(std::move(vocabulary));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *std::move(made);
}

}  // namespace altlas::engine
