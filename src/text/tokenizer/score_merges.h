// The merges that a SentencePiece BPE vocabulary implies.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

struct ScoreMerge {
  int32_t left, right, joined;
};

inline constexpr size_t kScoreMergesMax = 1u << 24;

// Every two tokens that joined are a token, as transformers' conversion ranks them: the joined
// token's score, then more characters on the left, then on the right, then order of ids. Control,
// unknown and byte tokens take no part; user-defined ones made of blanks come first.
// Errors: kTooLarge over kScoreMergesMax.
Result<std::vector<ScoreMerge>> merges_of_scores(const Vocabulary& vocabulary);

// True for a user-defined token that is matched as part of the text rather than before it: it has
// a blank in it, which the text's normalization rewrites.
bool is_blank_piece(const Vocabulary& vocabulary, size_t id);

// The token's spelling with every space as "▁".
std::string piece_spelling(std::string_view token);

}  // namespace altlas::text
