// Byte-pair encoding over bytes (GPT-2, Llama 3, Qwen, ...) and over characters with bytes as the
// last resort (SentencePiece: Llama 2, Gemma, ...).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "text/byte_spelling.h"
#include "text/score_merges.h"
#include "text/spelling_index.h"
#include "text/utf8.h"
#include "text/word_model.h"

namespace altlas::text {
namespace {

constexpr char32_t kMetaspace = 0x2581;  // "▁".
constexpr size_t kWholeWordBytesMax = 512;

class Bpe final : public WordModel {
 public:
  static Result<std::unique_ptr<const WordModel>> create(const Vocabulary& vocabulary,
                                                         const Steps& steps);
  Result<void> encode(std::string_view word, ModelScratch& scratch,
                      std::vector<int32_t>& out) const override;

 private:
  explicit Bpe(size_t merge_count) : merges_(merge_count) {}
  Result<void> add_merges(const Vocabulary& vocabulary, const SpellingIndex& ids);
  Result<void> add_score_merges(const std::vector<ScoreMerge>& merges);
  void index_characters(const Vocabulary& vocabulary);
  void begin_bytes(std::string_view word, std::vector<int32_t>& ids) const;
  void begin_characters(std::string_view word, std::vector<int32_t>& ids) const;
  void begin_unknown(std::string_view c, std::vector<int32_t>& ids) const;
  int32_t id_of(char32_t c) const;
  bool may_cut(char32_t before, char32_t c) const;

  BpeMerges merges_;
  bool byte_level_ = false;
  bool fuse_unk_ = false;
  int32_t unk_ = -1;
  std::vector<int32_t> byte_ids_;  // [256], -1: none.
  // Over characters only:
  std::vector<int32_t> low_ids_;                     // [0x10000], -1: none.
  std::unordered_map<char32_t, int32_t> high_ids_;   // Of characters above U+FFFF.
  std::unordered_set<char32_t> before_space_;        // c of the tokens with "c▁" in them.
  std::unordered_map<std::string, int32_t> wholes_;  // By bytes; only with ignore_merges.
};

Result<std::unique_ptr<const WordModel>> Bpe::create(const Vocabulary& vocabulary,
                                                     const Steps& steps) {
  std::vector<ScoreMerge> implied;
  if (steps.merges_from_scores) {
    ALTLAS_TRY(implied, merges_of_scores(vocabulary));
  }
  std::unique_ptr<Bpe> made(
      new Bpe(steps.merges_from_scores ? implied.size() : vocabulary.merges.size()));
  made->byte_level_ = steps.byte_level;
  made->fuse_unk_ = steps.fuse_unk;
  // What a GGUF file calls unknown is the template's business; its byte-level BPE leaves out.
  made->unk_ = steps.byte_level && !steps.has_unk ? -1 : vocabulary.unk;
  const SpellingIndex ids(vocabulary.tokens);
  if (steps.merges_from_scores) {
    ALTLAS_TRY_VOID(made->add_score_merges(implied));
  } else {
    ALTLAS_TRY_VOID(made->add_merges(vocabulary, ids));
  }
  if (steps.byte_level) {
    made->byte_ids_.assign(256, -1);
    for (size_t b = 0; b < 256; ++b) {
      std::string spelled;
      append_utf8(spelled, byte_letter(static_cast<uint8_t>(b)));
      const auto it = ids.find(spelled);
      made->byte_ids_[b] = it != ids.end() ? it->second : made->unk_;
    }
  } else {
    made->index_characters(vocabulary);
    made->byte_ids_ =
        steps.byte_fallback ? find_byte_tokens(vocabulary) : std::vector<int32_t>(256, -1);
  }
  if (steps.ignore_merges) {
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
      if (vocabulary.types.empty() || vocabulary.types[i] == kTokenNormal)
        made->wholes_.try_emplace(
            steps.byte_level ? bytes_of_letters(vocabulary.tokens[i]) : vocabulary.tokens[i],
            static_cast<int32_t>(i));
  }
  return std::unique_ptr<const WordModel>(std::move(made));
}

Result<void> Bpe::add_merges(const Vocabulary& vocabulary, const SpellingIndex& ids) {
  std::string joined;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == std::string_view::npos || space + 1 == merge.size())
      return invalid(fmt::format("merge {} is '{}', not two tokens with a space between", i, merge),
                     "tokenizer.ggml.merges");
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    joined.assign(left).append(right);
    const auto l = ids.find(left), r = ids.find(right), both = ids.find(joined);
    if (l == ids.end() || r == ids.end() || both == ids.end())
      return invalid(
          fmt::format("merge {} ('{}') names a token that is not in the vocabulary", i, merge),
          "tokenizer.ggml.merges");
    // What only the template may write is not to be spelled by a text.
    if (!vocabulary.types.empty() &&
        vocabulary.types[static_cast<size_t>(both->second)] == kTokenControl)
      continue;
    if (!merges_.add(l->second, r->second, static_cast<uint32_t>(i), both->second))
      return invalid(fmt::format("merge {} ('{}') collides with too many others", i, merge),
                     "tokenizer.ggml.merges");
  }
  return {};
}

Result<void> Bpe::add_score_merges(const std::vector<ScoreMerge>& merges) {
  for (size_t i = 0; i < merges.size(); ++i)
    if (!merges_.add(merges[i].left, merges[i].right, static_cast<uint32_t>(i), merges[i].joined))
      return invalid("the vocabulary's merges collide with too many others",
                     "tokenizer.ggml.scores");
  return {};
}

void Bpe::index_characters(const Vocabulary& vocabulary) {
  low_ids_.assign(0x10000, -1);
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const int32_t type = vocabulary.types.empty() ? int32_t{kTokenNormal} : vocabulary.types[i];
    const bool blank = is_blank_piece(vocabulary, i);
    if (type != kTokenNormal && type != kTokenUserDefined && !blank) continue;
    const std::string token = blank ? piece_spelling(vocabulary.tokens[i]) : vocabulary.tokens[i];
    char32_t before = 0;
    for (size_t at = 0; at < token.size();) {
      const Utf8Char c = decode_utf8(std::string_view(token).substr(at));
      if (at == 0 && c.length == token.size() && c.kind == Utf8Char::kValid) {
        if (c.code_point > 0xFFFF) {
          high_ids_.try_emplace(c.code_point, static_cast<int32_t>(i));
        } else if (low_ids_[c.code_point] < 0) {
          low_ids_[c.code_point] = static_cast<int32_t>(i);
        }
      }
      if (at > 0 && c.code_point == kMetaspace) before_space_.insert(before);
      before = c.code_point;
      at += c.length;
    }
  }
}

int32_t Bpe::id_of(char32_t c) const {
  if (c <= 0xFFFF) return low_ids_[c];
  const auto it = high_ids_.find(c);
  return it == high_ids_.end() ? -1 : it->second;
}

// No token holds both characters beside each other, so no merge reaches over.
bool Bpe::may_cut(char32_t before, char32_t c) const {
  return c == kMetaspace && before != 0 && !before_space_.contains(before) && low_ids_[c] >= 0;
}

Result<void> Bpe::encode(std::string_view word, ModelScratch& scratch,
                         std::vector<int32_t>& out) const {
  if (!wholes_.empty() && word.size() <= kWholeWordBytesMax) {
    if (const auto it = wholes_.find(std::string(word)); it != wholes_.end()) {
      out.push_back(it->second);
      return {};
    }
  }
  std::vector<int32_t>& ids = scratch.bpe.ids;
  const auto finish = [&] {
    merges_.merge(scratch.bpe);
    out.insert(out.end(), ids.begin(), ids.end());
    ids.clear();
  };
  ids.clear();
  if (byte_level_) {
    begin_bytes(word, ids);
    finish();
    return {};
  }
  // In pieces that no merge reaches over: most are short words.
  size_t begin = 0;
  char32_t before = 0;
  for (size_t at = 0; at < word.size();) {
    const Utf8Char c = decode_utf8(word.substr(at));
    if (may_cut(before, c.code_point)) {
      begin_characters(word.substr(begin, at - begin), ids);
      finish();
      begin = at;
    }
    before = c.code_point;
    at += c.length;
  }
  begin_characters(word.substr(begin), ids);
  finish();
  return {};
}

// As in transformers, a byte that has no token is left out where there is none for unknown text.
void Bpe::begin_bytes(std::string_view word, std::vector<int32_t>& ids) const {
  for (const char c : word)
    if (const int32_t id = byte_ids_[static_cast<uint8_t>(c)]; id >= 0) ids.push_back(id);
}

void Bpe::begin_characters(std::string_view word, std::vector<int32_t>& ids) const {
  bool unknown_before = false;
  for (size_t at = 0; at < word.size();) {
    const Utf8Char c = decode_utf8(word.substr(at));
    const int32_t id = id_of(c.code_point);
    if (id >= 0) {
      ids.push_back(id);
      unknown_before = false;
    } else {
      const size_t size = ids.size();
      begin_unknown(word.substr(at, c.length), ids);
      const bool unknown = ids.size() == size + 1 && ids.back() == unk_;
      if (unknown && unknown_before && fuse_unk_) ids.pop_back();
      unknown_before = unknown;
    }
    at += c.length;
  }
}

void Bpe::begin_unknown(std::string_view c, std::vector<int32_t>& ids) const {
  const auto byte_id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
  if (std::ranges::all_of(c, [&](char byte) { return byte_id(byte) >= 0; })) {
    for (const char byte : c) ids.push_back(byte_id(byte));
  } else if (unk_ >= 0) {
    ids.push_back(unk_);
  }
}

}  // namespace

int32_t byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int32_t byte = 0;
  for (const char c : token.substr(3, 2)) {
    const int32_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

std::vector<int32_t> find_byte_tokens(const Vocabulary& vocabulary) {
  std::vector<int32_t> ids(256, -1);
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
    if (const int32_t byte = byte_of_token(vocabulary.tokens[i]);
        byte >= 0 && ids[static_cast<size_t>(byte)] < 0)
      ids[static_cast<size_t>(byte)] = static_cast<int32_t>(i);
  return ids;
}

Result<std::unique_ptr<const WordModel>> make_bpe(const Vocabulary& vocabulary,
                                                  const Steps& steps) {
  return Bpe::create(vocabulary, steps);
}

}  // namespace altlas::text
