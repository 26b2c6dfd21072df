#include "text/tokenizer/spelling_index.h"

#include <bit>
#include <cstring>

namespace altlas::text {
namespace {

constexpr size_t kProbesMax = 4096;

uint64_t load(const char* from, size_t bytes) {
  uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

// Hashes whole words of eight bytes, then the last eight bytes again: short spellings take one
// multiplication or two.
uint32_t hash_of(std::string_view text) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15ULL;
  uint64_t hash = (text.size() + 1) * kOdd;
  const auto add = [&hash](uint64_t word) {
    hash = (hash ^ word) * kOdd;
    hash ^= hash >> 32;
  };
  const char* at = text.data();
  const size_t size = text.size();
  if (size >= 8) {
    for (size_t i = 0; i + 8 < size; i += 8) add(load(at + i, 8));
    add(load(at + size - 8, 8));
  } else if (size >= 4) {
    add(load(at, 4) << 32 | load(at + size - 4, 4));
  } else if (size > 0) {
    const auto byte = [&](size_t i) { return uint64_t{static_cast<uint8_t>(at[i])}; };
    add(byte(0) << 16 | byte(size / 2) << 8 | byte(size - 1));
  }
  return static_cast<uint32_t>((hash * kOdd) >> 32);
}

}  // namespace

SpellingIndex::SpellingIndex(const StringList& tokens)
    : tokens_(&tokens), entries_(std::bit_ceil(tokens.size() + tokens.size() / 2 + 2)) {}

Result<SpellingIndex> SpellingIndex::create(const StringList& tokens) {
  SpellingIndex made(tokens);
  const size_t mask = made.entries_.size() - 1;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    const uint32_t hash = hash_of(token);
    size_t at = hash & mask, probes = 0;
    for (; made.entries_[at].id >= 0; at = (at + 1) & mask) {
      const Entry& there = made.entries_[at];
      if (there.hash == hash && tokens[static_cast<size_t>(there.id)] == token) break;
      if (++probes > kProbesMax)
        return invalid("the vocabulary's tokens collide with too many others",
                       "tokenizer.ggml.tokens");
    }
    if (made.entries_[at].id < 0) made.entries_[at] = {hash, static_cast<int32_t>(i)};
  }
  return made;
}

int32_t SpellingIndex::find(std::string_view spelling) const {
  const size_t mask = entries_.size() - 1;
  const uint32_t hash = hash_of(spelling);
  for (size_t at = hash & mask; entries_[at].id >= 0; at = (at + 1) & mask)
    if (entries_[at].hash == hash && (*tokens_)[static_cast<size_t>(entries_[at].id)] == spelling)
      return entries_[at].id;
  return -1;
}

}  // namespace altlas::text
