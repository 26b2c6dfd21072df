// A tokenizer of single printable characters and some pairs, for tests of texts held to grammars.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/sim_executor.h"
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

// A small simulated model whose texts the tokenizer reads; its head has more rows than tokens.
inline SimOptions letters_model() {
  SimOptions o;
  o.kind = device_kind("h100").value();
  o.shape = {.layers = 2,
             .hidden = 64,
             .heads = 2,
             .kv_heads = 1,
             .head_dim = 32,
             .ffn = 128,
             .vocab = 200,
             .model_len_max = 512,
             .weight_bytes = 1000};
  return o;
}

}  // namespace altlas::engine
