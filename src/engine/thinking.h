// Thinking: what a model says to itself before an answer that is held to a grammar. It is free.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "step/step_plan.h"
#include "task/task.h"
#include "text/grammar/matcher.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

// State is a function of the tokens taken. One thread at a time.
class Thinking {
 public:
  // tokenizer: outlives it. rows: tokens that the model can give. grammar: with think_end.
  Thinking(const text::Tokenizer& tokenizer, const Grammar& grammar, uint32_t rows);

  // It has ended, or never began: the answer follows.
  bool over() const { return state_ == State::kOver; }
  // The next token, while it is not over. Nothing: the token is the answer's first; else the bytes
  // of it that are the answer's, mostly none. Spaces beside the mark that ends it are part of that.
  std::optional<std::string_view> take(int32_t token);
  // Its first token was taken, or was there from the start.
  bool begun() const { return state_ == State::kInside || begun_ > 0; }
  // What may come next once it has begun and is not over; null: anything. `answer`: at its begin.
  AllowedTokens allowed(const text::grammar::Matcher& answer) const;
  // What may come next before it has begun: what the answer may begin with, or the thinking.
  AllowedTokens or_begin(AllowedTokens answer) const;

 private:
  enum class State : uint8_t { kMayBegin, kInside, kOver };
  AllowedTokens without_tokens_past_end(const text::grammar::Matcher& answer) const;

  const text::Tokenizer* tokenizer_;
  uint32_t rows_;
  std::vector<int32_t> begin_;  // Tokens of the mark that begins it; empty: it has begun.
  std::string end_;             // The mark that ends it.
  State state_ = State::kInside;
  size_t begun_ = 0;  // How much of begin_ has come, in kMayBegin.
  std::string tail_;  // The last bytes, which end_ may begin with.
};

}  // namespace altlas::engine
