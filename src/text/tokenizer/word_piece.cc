// WordPiece (BERT): the longest piece first, then the longest that continues it, or the word is
// unknown.
#include <fmt/format.h>

#include "base/utf8.h"
#include "text/tokenizer/trie.h"
#include "text/tokenizer/word_model.h"

namespace altlas::text {
namespace {

using Entries = std::vector<std::pair<std::string_view, int32_t>>;

class WordPiece final : public WordModel {
 public:
  WordPiece(Trie begins, Trie inside, size_t chars_max, int32_t unk)
      : begins_(std::move(begins)), inside_(std::move(inside)), chars_max_(chars_max), unk_(unk) {}
  Result<void> encode(std::string_view word, ModelScratch&,
                      std::vector<int32_t>& out) const override;

 private:
  Trie begins_, inside_;
  size_t chars_max_;
  int32_t unk_;
};

Result<void> WordPiece::encode(std::string_view word, ModelScratch&,
                               std::vector<int32_t>& out) const {
  const size_t size = out.size();
  bool known = count_code_points(word) <= chars_max_;
  for (size_t at = 0; known && at < word.size();) {
    size_t length = 0;
    int32_t best = -1;
    (at == 0 ? begins_ : inside_).walk(word.substr(at), [&](size_t bytes, int32_t id) {
      const size_t end = at + bytes;
      if (end < word.size() && is_continuation_byte(word[end])) return;
      length = bytes;
      best = id;
    });
    known = best >= 0;
    out.push_back(best);
    at += length;
  }
  if (known) return {};
  out.resize(size);
  if (unk_ < 0)
    return invalid(
        fmt::format("the model's vocabulary can't spell '{}' and has no token for unknown text",
                    word.substr(0, 64)));
  out.push_back(unk_);
  return {};
}

}  // namespace

Result<std::unique_ptr<const WordModel>> make_word_piece(const Vocabulary& vocabulary,
                                                         const Steps& steps) {
  Entries begins, inside;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const int32_t type = vocabulary.types.empty() ? int32_t{kTokenNormal} : vocabulary.types[i];
    if (type != kTokenNormal && type != kTokenUserDefined) continue;
    std::string_view token = vocabulary.tokens[i];
    const auto id = static_cast<int32_t>(i);
    // GGUF marks the tokens that begin a word, Hugging Face marks those inside of one.
    if (!steps.word_prefix.empty()) {
      const bool is_begin = token.starts_with(steps.word_prefix);
      if (is_begin) token.remove_prefix(steps.word_prefix.size());
      (is_begin ? begins : inside).emplace_back(token, id);
    } else {
      begins.emplace_back(token, id);
      if (!steps.subword_prefix.empty() && !token.starts_with(steps.subword_prefix)) continue;
      token.remove_prefix(steps.subword_prefix.size());
      inside.emplace_back(token, id);
    }
  }
  return std::unique_ptr<const WordModel>(std::make_unique<WordPiece>(
      Trie(std::move(begins)), Trie(std::move(inside)), steps.word_chars_max, vocabulary.unk));
}

}  // namespace altlas::text
