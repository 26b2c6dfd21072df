#include "text/score_merges.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "base/hash.h"
#include "text/utf8.h"

namespace altlas::text {
namespace {

constexpr uint64_t kBase = 0x9e3779b97f4a7c15ULL;
constexpr size_t kProbesMax = 4096;

// Spelling -> id by a hash that is cheap for every substring of a spelling. Two spellings with one
// hash would be taken for each other: only a file made for it has them, and harms itself.
class Substrings {
 public:
  explicit Substrings(size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}
  void add(uint64_t hash, int32_t id) {
    hash = mix64(hash) | 1;
    size_t at = hash & (slots_.size() - 1);
    for (size_t probe = 0; probe < kProbesMax; ++probe, at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].hash == hash) return;  // The first of equal spellings counts.
      if (slots_[at].hash != 0) continue;
      slots_[at] = {hash, id};
      return;
    }
  }
  int32_t find(uint64_t hash) const {
    hash = mix64(hash) | 1;
    for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].hash == hash) return slots_[at].id;
      if (slots_[at].hash == 0) return -1;
    }
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    int32_t id = -1;
  };
  std::vector<Slot> slots_;
};

struct Ranked {
  float score;
  uint16_t left_chars, right_chars;
  ScoreMerge merge;
};

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0;
  for (const char c : text) hash = hash * kBase + static_cast<uint8_t>(c) + 1;
  return hash;
}

int32_t type_of(const Vocabulary& vocabulary, size_t id) {
  return vocabulary.types.empty() ? int32_t{kTokenNormal} : vocabulary.types[id];
}

// Appends the merges that make `piece`, ordered by the ids of their parts.
void add_merges_of(const std::string& piece, int32_t id, float score, const Substrings& pieces,
                   const std::vector<uint64_t>& powers, std::vector<Ranked>& out) {
  std::vector<uint64_t> prefix(piece.size() + 1, 0);
  for (size_t i = 0; i < piece.size(); ++i)
    prefix[i + 1] = prefix[i] * kBase + static_cast<uint8_t>(piece[i]) + 1;
  const auto chars = static_cast<uint16_t>(count_code_points(piece));
  const size_t begin = out.size();
  uint16_t left_chars = 0;
  for (size_t i = 1; i < piece.size(); ++i) {
    if ((static_cast<uint8_t>(piece[i]) & 0xC0) == 0x80) continue;
    ++left_chars;
    const int32_t left = pieces.find(prefix[i]);
    if (left < 0) continue;
    const size_t rest = piece.size() - i;
    const int32_t right = pieces.find(prefix.back() - prefix[i] * powers[rest]);
    if (right < 0) continue;
    const auto right_chars = static_cast<uint16_t>(chars - left_chars);
    out.push_back({score, left_chars, right_chars, {left, right, id}});
  }
  std::sort(
      out.begin() + static_cast<ptrdiff_t>(begin), out.end(), [](const Ranked& a, const Ranked& b) {
        return std::pair(a.merge.left, a.merge.right) < std::pair(b.merge.left, b.merge.right);
      });
}

}  // namespace

bool is_blank_piece(const Vocabulary& vocabulary, size_t id) {
  return type_of(vocabulary, id) == kTokenUserDefined &&
         vocabulary.tokens[id].find(' ') != std::string::npos;
}

std::string piece_spelling(const std::string& token) {
  std::string out;
  for (const char c : token) {
    if (c == ' ') {
      out += "▁";
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::vector<ScoreMerge>> merges_of_scores(const Vocabulary& vocabulary) {
  const size_t count = vocabulary.tokens.size();
  Substrings pieces(count);
  size_t bytes_max = 1;
  std::vector<std::string> spellings(count);
  for (size_t i = 0; i < count; ++i) {
    const bool blank = is_blank_piece(vocabulary, i);
    if (type_of(vocabulary, i) != kTokenNormal && !blank) continue;
    spellings[i] = blank ? piece_spelling(vocabulary.tokens[i]) : vocabulary.tokens[i];
    bytes_max = std::max(bytes_max, spellings[i].size());
    if (!spellings[i].empty()) pieces.add(hash_of(spellings[i]), static_cast<int32_t>(i));
  }
  std::vector<uint64_t> powers(bytes_max + 1, 1);
  for (size_t i = 1; i <= bytes_max; ++i) powers[i] = powers[i - 1] * kBase;
  std::vector<Ranked> ranked;
  for (size_t i = 0; i < count; ++i) {
    if (spellings[i].empty()) continue;
    const float score = is_blank_piece(vocabulary, i) ? std::numeric_limits<float>::infinity()
                        : vocabulary.scores.empty()   ? -static_cast<float>(i)
                                                      : vocabulary.scores[i];
    add_merges_of(spellings[i], static_cast<int32_t>(i), score, pieces, powers, ranked);
    if (ranked.size() > kScoreMergesMax)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("the vocabulary implies more than {} merges", kScoreMergesMax));
  }
  std::ranges::stable_sort(ranked, [](const Ranked& a, const Ranked& b) {
    if (a.score != b.score) return a.score > b.score;
    return std::pair(a.left_chars, a.right_chars) > std::pair(b.left_chars, b.right_chars);
  });
  std::vector<ScoreMerge> merges;
  merges.reserve(ranked.size());
  for (const Ranked& one : ranked) merges.push_back(one.merge);
  return merges;
}

}  // namespace altlas::text
