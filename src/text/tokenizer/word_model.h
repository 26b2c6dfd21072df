// What differs between tokenizer families: ids of one word, as the splits left it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/bpe_merges.h"
#include "text/tokenizer/spelling_index.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

// Reused between the words of one text.
struct ModelScratch {
  struct Best {  // The best way to a byte position.
    double score = 0;
    int32_t from = -1;
    int32_t id = -1;
  };
  BpeMerges::Scratch bpe = {};
  std::vector<Best> best = {};
  std::vector<int32_t> ids = {};
};

// Immutable; any thread.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the ids of `word` (valid UTF-8, not empty). Errors: kInvalid if it can't be spelled.
  virtual Result<void> encode(std::string_view word, ModelScratch& scratch,
                              std::vector<int32_t>& out) const = 0;
};

// `vocabulary` may go away afterwards; `ids` is that of its tokens and outlives the model. Errors:
// kInvalid naming what is wrong with it.
Result<std::unique_ptr<const WordModel>> make_bpe(const Vocabulary& vocabulary, const Steps& steps,
                                                  const SpellingIndex& ids);
Result<std::unique_ptr<const WordModel>> make_unigram(const Vocabulary& vocabulary,
                                                      const Steps& steps);
Result<std::unique_ptr<const WordModel>> make_word_piece(const Vocabulary& vocabulary,
                                                         const Steps& steps);

// The 256 byte tokens ("<0x0A>"), -1 where the vocabulary has none. [256].
std::vector<int32_t> find_byte_tokens(const Vocabulary& vocabulary);
// The byte that "<0x0A>" stands for, or -1.
int32_t byte_of_token(std::string_view token);

}  // namespace altlas::text
