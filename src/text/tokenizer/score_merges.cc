#include "text/tokenizer/score_merges.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/utf8.h"

namespace altlas::text {
namespace {

constexpr uint64_t kBase = 0x9e3779b97f4a7c15ULL;
constexpr size_t kProbesMax = 4096;

// Maps spellings to ids by a hash that is cheap for every substring of a spelling. Two spellings
// with the same hash would be confused, but only a file made for that has such, and it harms
// itself.
class Substrings {
 public:
  explicit Substrings(size_t count)
      : slots_(std::bit_ceil(count + count / 2 + 2)), shift_(std::countl_zero(slots_.size()) + 1) {}
  void add(uint64_t hash, int32_t id) {
    size_t at = place(hash);
    for (size_t probe = 0; probe < kProbesMax; ++probe, at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].id < 0) {
        slots_[at] = {hash, id};
        return;
      }
      if (slots_[at].hash == hash) return;  // The first of equal spellings counts.
    }
  }
  void expect(uint64_t hash) const { __builtin_prefetch(&slots_[place(hash)]); }
  int32_t find(uint64_t hash) const {
    for (size_t at = place(hash); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].hash == hash) return slots_[at].id;
    return -1;
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    int32_t id = -1;  // -1: the place is free.
  };
  size_t place(uint64_t hash) const { return (hash * 0xff51afd7ed558ccdULL) >> shift_; }

  std::vector<Slot> slots_;
  int shift_;  // It leaves as many bits as there are places.
};

struct Ranked {
  uint16_t left_chars, right_chars;
  ScoreMerge merge;
};

// A piece of text that merges may make.
struct Piece {
  int32_t id;
  float score;
};

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0;
  for (const char c : text) hash = hash * kBase + static_cast<uint8_t>(c) + 1;
  return hash;
}

int32_t type_of(const Vocabulary& vocabulary, size_t id) {
  return vocabulary.types.empty() ? int32_t{kTokenNormal} : vocabulary.types[id];
}

// Finds every two pieces that merge into a piece.
class Splitter {
 public:
  Splitter(const Substrings& pieces, size_t bytes_max)
      : pieces_(pieces), powers_(bytes_max + 1, 1), prefix_(bytes_max + 1, 0) {
    for (size_t i = 1; i <= bytes_max; ++i) powers_[i] = powers_[i - 1] * kBase;
  }

  // Appends the merges that make `piece`, those with the most characters on the left first.
  void add_merges_of(std::string_view piece, int32_t id, std::vector<Ranked>& out) {
    cuts_.clear();
    for (size_t i = 0; i < piece.size(); ++i) {
      if (i > 0 && !is_continuation_byte(piece[i])) {
        cuts_.push_back(i);
        pieces_.expect(prefix_[i]);
      }
      prefix_[i + 1] = prefix_[i] * kBase + static_cast<uint8_t>(piece[i]) + 1;
    }
    const uint64_t whole = prefix_[piece.size()];
    const auto rest_of = [&](size_t at) {
      return whole - prefix_[at] * powers_[piece.size() - at];
    };
    for (const size_t at : cuts_) pieces_.expect(rest_of(at));
    for (size_t n = cuts_.size(); n-- > 0;) {
      const int32_t left = pieces_.find(prefix_[cuts_[n]]);
      if (left < 0) continue;
      const int32_t right = pieces_.find(rest_of(cuts_[n]));
      if (right < 0) continue;
      out.push_back({static_cast<uint16_t>(n + 1),
                     static_cast<uint16_t>(cuts_.size() - n),
                     {left, right, id}});
    }
  }

 private:
  const Substrings& pieces_;
  std::vector<uint64_t> powers_;  // Powers of kBase.
  std::vector<uint64_t> prefix_;  // Hashes of the piece's beginnings.
  std::vector<size_t> cuts_;      // Where its characters begin, except for the first.
};

}  // namespace

bool is_blank_piece(const Vocabulary& vocabulary, size_t id) {
  return type_of(vocabulary, id) == kTokenUserDefined &&
         vocabulary.tokens[id].find(' ') != std::string_view::npos;
}

std::string piece_spelling(std::string_view token) {
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
  std::string blanks;
  const auto spelling = [&](size_t i) -> std::string_view {
    if (!is_blank_piece(vocabulary, i)) return vocabulary.tokens[i];
    return blanks = piece_spelling(vocabulary.tokens[i]);
  };
  Substrings known(count);
  size_t bytes_max = 1;
  std::vector<Piece> pieces;
  pieces.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const bool blank = is_blank_piece(vocabulary, i);
    const std::string_view piece = spelling(i);
    if ((type_of(vocabulary, i) != kTokenNormal && !blank) || piece.empty()) continue;
    bytes_max = std::max(bytes_max, piece.size());
    known.add(hash_of(piece), static_cast<int32_t>(i));
    float score = vocabulary.scores.empty() ? -static_cast<float>(i) : vocabulary.scores[i];
    if (blank) score = std::numeric_limits<float>::infinity();
    if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
    pieces.push_back({static_cast<int32_t>(i), score});
  }
  const auto before = [](const Piece& a, const Piece& b) { return a.score > b.score; };
  if (!std::ranges::is_sorted(pieces, before)) std::ranges::stable_sort(pieces, before);
  Splitter splitter(known, bytes_max);
  std::vector<ScoreMerge> merges;
  std::vector<Ranked> ranked;  // The merges of pieces with the same score.
  for (size_t i = 0; i < pieces.size();) {
    ranked.clear();
    const size_t begin = i;
    for (; i < pieces.size() && (i == begin || pieces[i].score == pieces[begin].score); ++i) {
      splitter.add_merges_of(spelling(static_cast<size_t>(pieces[i].id)), pieces[i].id, ranked);
      if (merges.size() + ranked.size() > kScoreMergesMax)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("the vocabulary implies more than {} merges", kScoreMergesMax));
    }
    if (i - begin > 1)
      std::ranges::stable_sort(ranked, [](const Ranked& a, const Ranked& b) {
        return std::pair(a.left_chars, a.right_chars) > std::pair(b.left_chars, b.right_chars);
      });
    for (const Ranked& one : ranked) merges.push_back(one.merge);
  }
  return merges;
}

}  // namespace altlas::text
