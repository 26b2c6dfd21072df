// Guesses of what a sequence says next, made from what it said before, and how many are worth it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/hash.h"

namespace altlas::scheduler {

// Prompt lookup: what followed the last time the same few tokens stood there. Its state is a
// function of the tokens, which only grow. Pure; one writer.
class PromptLookup {
 public:
  // Up to `count` guesses of what follows `tokens`; none where the last tokens are new. `tokens`
  // begins with those of the call before. Amortised O(new tokens + count).
  std::vector<int32_t> guess(std::span<const int32_t> tokens, uint32_t count);

 private:
  static constexpr std::array<uint32_t, 2> kLengths = {4, 2};  // Looked for in this order.
  // Place in `follows_` of the `length` tokens before `end`.
  size_t place(std::span<const int32_t> tokens, size_t end, uint32_t length) const;
  void learn(std::span<const int32_t> tokens);

  // What followed an n-gram last: a position, 0 for none. n-grams that share a place displace each
  // other; tokens are compared before use.
  std::vector<uint32_t> follows_;
  size_t learned_ = 0;  // n-grams that end before this position are in.
};

// How far to guess: twice as far after guesses that were all right, half as far otherwise, and
// longer and longer pauses while all are wrong. A function of what it was told.
class GuessPace {
 public:
  explicit GuessPace(uint32_t most = 0) : most_(most), next_(most < kFirst ? most : kFirst) {}

  // Guesses worth making at this token; 0 while it pauses. Counts the pause down: once per token.
  uint32_t take();
  void told(uint32_t guessed, uint32_t right);
  void add_to(Hasher& hasher) const { hasher.add(next_).add(pause_).add(misses_); }

 private:
  static constexpr uint32_t kFirst = 4;
  static constexpr uint32_t kPauseMax = 64;
  uint32_t most_;
  uint32_t next_;
  uint32_t pause_ = 0;
  uint32_t misses_ = 0;  // In a row, without one right guess.
};

}  // namespace altlas::scheduler
