// Text to token ids and back, as the model's own tokenizer does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

// A longer text is refused with kTooLarge. Encoding takes up to 24 bytes of memory per byte of
// text.
inline constexpr size_t kEncodeBytesMax = 64u << 20;
// A larger vocabulary is refused: positions of ids are packed into 32 bits.
inline constexpr size_t kVocabularyTokensMax = 1u << 24;

struct EncodeOptions {
  // BOS and EOS as the model asks for. A text that begins with the BOS token, by parse_special,
  // gets no second one.
  bool add_special = false;
  // "<|im_end|>" in the text becomes that token; else it is plain text.
  bool parse_special = false;
  bool continues = false;  // The text goes on behind another: no space is put in front of it.
};

// A part of a rendered prompt. Control tokens are recognised only where is_content is false.
struct Segment {
  std::string text;
  bool is_content = false;  // Written by a user, a tool or a document, not by the chat template.
  bool operator==(const Segment&) const = default;
};

// What a tokenizer is made for. One that only gives text for ids is made much faster.
enum class TokenizerUse : uint8_t { kAll, kDecode };

class Normalizer;
class Pretokenizer;
class SpecialTokens;
class SpellingIndex;
class WordModel;
struct ModelScratch;
struct Steps;

// Immutable after create; every member may be called from any thread at once.
class Tokenizer {
 public:
  // Made with kDecode, encode(), encode_segments() and id_of() must not be called, and the
  // vocabulary needs no scores and no merges.
  // Errors: kInvalid names the fault of the vocabulary, or the unknown `model` or `pre` with what
  // is supported; kTooLarge where it implies more than kScoreMergesMax merges (score_merges.h).
  static Result<std::unique_ptr<const Tokenizer>> create(Vocabulary vocabulary,
                                                         TokenizerUse use = TokenizerUse::kAll);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids that transformers gives for `text`; invalid UTF-8 counts as U+FFFD. O(n log n) for any
  // text. User-defined tokens are matched always, control tokens with parse_special, longest first.
  // Errors: kTooLarge over kEncodeBytesMax, or where it would take more work than a text of this
  // length may (work_budget.h); kInvalid if a Unigram or WordPiece vocabulary without an unknown
  // token can't spell it.
  Result<std::vector<int32_t>> encode(std::string_view text, EncodeOptions options) const;

  // A rendered chat template: as encode with parse_special on the joined text, but no control token
  // is recognised that content has a byte of. Plain text merges over the borders of segments.
  // Errors: as encode.
  Result<std::vector<int32_t>> encode_segments(std::span<const Segment> segments,
                                               bool add_special) const;

  // The bytes that the token stands for in text: perhaps half a character. Empty for control
  // tokens, unknown and unused ones, and ids out of range.
  std::string_view token_bytes(int32_t id) const;
  // As token_bytes, but a control token gives its spelling ("<|im_end|>"). Empty out of range.
  std::string_view token_text(int32_t id) const;

  bool is_control(int32_t id) const;
  // True for the tokens after which an answer is over.
  bool is_end_of_generation(int32_t id) const;
  const std::vector<int32_t>& end_of_generation() const { return end_of_generation_; }
  // The id of a token as the file spells it ("<|im_end|>", byte-level spelling for normal ones); -1
  // if none.
  int32_t id_of(std::string_view token) const;

  int32_t vocab_size() const { return static_cast<int32_t>(vocabulary_.tokens.size()); }
  int32_t bos() const { return vocabulary_.bos; }
  int32_t eos() const { return vocabulary_.eos; }
  int32_t pad() const { return vocabulary_.pad; }
  // For a tokenizer made to encode.
  const FimTokens& fim() const { return vocabulary_.fim; }
  bool adds_bos() const { return adds_bos_; }
  // Whether the first token's leading space is an artefact of the tokenizer, to be dropped from
  // output.
  bool strips_first_space() const { return strips_first_space_; }
  // A text of n valid bytes takes at least n / this many tokens (before NFC). kEncodeBytesMax where
  // a token may stand for any number of bytes.
  size_t token_bytes_max() const { return token_bytes_max_; }
  // Spelling of the BOS and EOS tokens, for chat templates; empty where the model has none.
  std::string_view bos_text() const { return token_text(vocabulary_.bos); }
  std::string_view eos_text() const { return token_text(vocabulary_.eos); }

 private:
  struct Scratch;
  explicit Tokenizer(Vocabulary vocabulary, Steps steps);
  Result<void> check() const;
  Result<void> make_parts();
  void make_texts();
  void find_special_tokens();
  void append_text(size_t id, std::string& out) const;
  bool may_shrink() const;
  void collect_end_of_generation();
  void find_fim_tokens();
  Result<std::vector<int32_t>> encode_joined(std::string_view text,
                                             std::span<const std::pair<size_t, size_t>> plain,
                                             EncodeOptions options) const;
  void put_around(bool begins_with_token, std::vector<int32_t>& ids) const;
  Result<void> encode_fragment(std::string_view text, bool at_start, Scratch& scratch,
                               std::vector<int32_t>& out) const;
  Result<void> encode_words(std::string text, bool at_start, Scratch& scratch,
                            std::vector<int32_t>& out) const;
  int32_t type_of(size_t id) const;

  Vocabulary vocabulary_;  // Without its steps, scores, merges and character map.
  std::unique_ptr<const Steps> steps_;
  StringList text_;                         // [vocab]: what token_text gives.
  std::vector<int32_t> end_of_generation_;  // Sorted.
  size_t token_bytes_max_ = 1;
  bool strips_first_space_ = false;
  bool adds_bos_ = false;
  // Null where only text is wanted:
  std::unique_ptr<const SpellingIndex> spellings_;
  std::unique_ptr<const SpecialTokens> specials_;             // Looked for before normalization,
  std::unique_ptr<const SpecialTokens> normalized_specials_;  // and after it.
  std::unique_ptr<const Normalizer> normalizer_;
  std::unique_ptr<const Pretokenizer> pretokenizer_;
  std::unique_ptr<const WordModel> model_;
};

}  // namespace altlas::text
