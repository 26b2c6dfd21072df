// A tokenizer of single printable characters and some pairs, for tests of texts held to grammars.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "text/tokenizer/letters.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

inline constexpr int32_t kLettersEnd = 0;  // Ends a generation.

inline std::unique_ptr<const text::Tokenizer> letters() {
  auto made =
      text::Tokenizer::create(text::letters_vocabulary({"ab", "bc", "\":", "12", "}}", ",\""}));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *std::move(made);
}

}  // namespace altlas::engine
