// Unigram: the likeliest way to spell a word, found by Viterbi over the pieces' log-probabilities.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/tokenizer/trie.h"
#include "text/tokenizer/word_model.h"

namespace altlas::text {
namespace {

// How far an unknown character is below the worst piece, as in SentencePiece.
constexpr double kUnknownPenalty = 10.0;

class Unigram final : public WordModel {
 public:
  static Result<std::unique_ptr<const WordModel>> create(const Vocabulary& vocabulary,
                                                         const Steps& steps);
  Result<void> encode(std::string_view word, ModelScratch& scratch,
                      std::vector<int32_t>& out) const override;

 private:
  explicit Unigram(Trie trie) : trie_(std::move(trie)) {}
  void find_best(std::string_view word, std::vector<ModelScratch::Best>& best) const;
  Result<void> put_unknown(std::string_view part, std::vector<int32_t>& out) const;

  Trie trie_;
  std::vector<double> scores_;
  std::vector<int32_t> byte_ids_;  // [256], or empty.
  double unknown_score_ = 0;
  int32_t unk_ = -1;
};

Result<std::unique_ptr<const WordModel>> Unigram::create(const Vocabulary& vocabulary,
                                                         const Steps& steps) {
  std::vector<double> scores = steps.unigram_scores;
  if (scores.empty()) scores.assign(vocabulary.scores.begin(), vocabulary.scores.end());
  scores.resize(scores.empty() ? 0 : vocabulary.tokens.size(), 0);  // Added tokens have no score.
  if (scores.empty())
    return invalid("a unigram vocabulary needs a score for every token", "tokenizer.ggml.scores");
  std::vector<std::pair<std::string_view, int32_t>> entries;
  const size_t scored = steps.unigram_scores.empty() ? scores.size() : steps.unigram_scores.size();
  const double worst =
      *std::min_element(scores.begin(), scores.begin() + static_cast<ptrdiff_t>(scored));
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const int32_t type = vocabulary.types.empty() ? int32_t{kTokenNormal} : vocabulary.types[i];
    // What only the template may write is no piece of a text.
    if (type == kTokenControl || type == kTokenUnknown || type == kTokenUnused ||
        type == kTokenByte)
      continue;
    entries.emplace_back(vocabulary.tokens[i], static_cast<int32_t>(i));
  }
  std::unique_ptr<Unigram> made(new Unigram(Trie(std::move(entries))));
  made->scores_ = std::move(scores);
  made->unknown_score_ = worst - kUnknownPenalty;
  made->unk_ = vocabulary.unk;
  if (steps.byte_fallback) made->byte_ids_ = find_byte_tokens(vocabulary);
  if (std::ranges::find(made->byte_ids_, -1) != made->byte_ids_.end()) made->byte_ids_.clear();
  return std::unique_ptr<const WordModel>(std::move(made));
}

void Unigram::find_best(std::string_view word, std::vector<ModelScratch::Best>& best) const {
  best.assign(word.size() + 1, {});
  for (size_t at = 0; at < word.size();) {
    const size_t char_bytes = decode_utf8(word.substr(at)).length;
    const double here = best[at].score;
    bool single = false;
    const auto offer = [&](size_t length, double score, int32_t id) {
      ModelScratch::Best& target = best[at + length];
      if (target.from >= 0 && here + score <= target.score) return;
      target = {here + score, static_cast<int32_t>(at), id};
    };
    trie_.walk(word.substr(at), [&](size_t length, int32_t id) {
      offer(length, scores_[static_cast<size_t>(id)], id);
      single |= length == char_bytes;
    });
    if (!single) offer(char_bytes, unknown_score_, -1);
    at += char_bytes;
  }
}

Result<void> Unigram::encode(std::string_view word, ModelScratch& scratch,
                             std::vector<int32_t>& out) const {
  find_best(word, scratch.best);
  // The path is backwards: ids, and for unknown stretches (neighbours are fused) minus their begin,
  // minus 2.
  std::vector<int32_t>& path = scratch.ids;
  path.clear();
  for (size_t end = word.size(); end > 0;) {
    const ModelScratch::Best& step = scratch.best[end];
    if (step.id >= 0) {
      path.push_back(step.id);
    } else if (!path.empty() && path.back() < -1 && end != word.size() &&
               scratch.best[end].id < 0 && static_cast<size_t>(-path.back() - 2) == end) {
      path.back() = -step.from - 2;
    } else {
      path.push_back(static_cast<int32_t>(end));
      path.push_back(-step.from - 2);
    }
    end = static_cast<size_t>(step.from);
  }
  for (size_t i = path.size(); i-- > 0;) {
    if (path[i] >= 0) {
      out.push_back(path[i]);
      continue;
    }
    const auto begin = static_cast<size_t>(-path[i] - 2);
    const auto end = static_cast<size_t>(path[--i]);
    ALTLAS_TRY_VOID(put_unknown(word.substr(begin, end - begin), out));
  }
  return {};
}

Result<void> Unigram::put_unknown(std::string_view part, std::vector<int32_t>& out) const {
  if (!byte_ids_.empty()) {
    for (const char byte : part) out.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    return {};
  }
  if (unk_ < 0)
    return invalid(
        fmt::format("the model's vocabulary has no token for '{}' and none for unknown text",
                    part.substr(0, 64)));
  out.push_back(unk_);
  return {};
}

}  // namespace

Result<std::unique_ptr<const WordModel>> make_unigram(const Vocabulary& vocabulary,
                                                      const Steps& steps) {
  return Unigram::create(vocabulary, steps);
}

}  // namespace altlas::text
