#include "scheduler/guess.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace altlas::scheduler {

size_t PromptLookup::place(std::span<const int32_t> tokens, size_t end, uint32_t length) const {
  Hasher hasher;
  hasher.add(tokens.subspan(end - length, length));
  return hasher.value() & (follows_.size() - 1);
}

// Learns the n-grams whose next token is known.
void PromptLookup::learn(std::span<const int32_t> tokens) {
  constexpr size_t kPlacesMin = 256;
  const size_t places = std::max(kPlacesMin, std::bit_ceil(2 * kLengths.size() * tokens.size()));
  if (places > follows_.size()) {
    follows_.assign(places, 0);
    learned_ = 0;
  }
  for (; learned_ < tokens.size(); ++learned_)
    for (const uint32_t length : kLengths)
      if (learned_ >= length)
        follows_[place(tokens, learned_, length)] = static_cast<uint32_t>(learned_);
}

std::vector<int32_t> PromptLookup::guess(std::span<const int32_t> tokens, uint32_t count) {
  ALTLAS_CHECK(tokens.size() >= learned_ && tokens.size() < UINT32_MAX, "tokens only grow");
  learn(tokens);
  for (const uint32_t length : kLengths) {
    if (tokens.size() <= length) continue;
    const size_t from = follows_[place(tokens, tokens.size(), length)];
    if (from < length ||
        !std::ranges::equal(tokens.subspan(from - length, length), tokens.last(length)))
      continue;
    std::vector<int32_t> out;
    const size_t period = tokens.size() - from;
    for (size_t i = 0; i < count; ++i)
      out.push_back(i < period ? tokens[from + i] : out[i - period]);
    return out;
  }
  return {};
}

uint32_t GuessPace::take() {
  if (pause_ == 0) return next_;
  --pause_;
  return 0;
}

void GuessPace::told(uint32_t guessed, uint32_t right) {
  if (right == guessed) {
    next_ = std::min(2 * next_, most_);
    misses_ = 0;
  } else if (right > 0) {
    next_ = std::max(right + 1, next_ / 2);
    misses_ = 0;
  } else {
    next_ = std::max(1u, next_ / 2);
    pause_ = std::min(1u << std::min(misses_++, 16u), kPauseMax);
  }
  next_ = std::min(next_, most_);
}

}  // namespace altlas::scheduler
