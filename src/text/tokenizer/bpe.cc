// Byte-pair encoding: over bytes (GPT-2, Llama 3, Qwen, ...), and over characters with bytes as the
// last resort (SentencePiece: Llama 2, Gemma, ...).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "base/utf8.h"
#include "text/tokenizer/byte_spelling.h"
#include "text/tokenizer/score_merges.h"
#include "text/tokenizer/word_model.h"

namespace altlas::text {
namespace {

constexpr char32_t kMetaspace = 0x2581;
constexpr std::string_view kSpace = "▁";  // kMetaspace in UTF-8.
constexpr size_t kWholeWordBytesMax = 512;

class Bpe final : public WordModel {
 public:
  static Result<std::unique_ptr<const WordModel>> create(const Vocabulary& vocabulary,
                                                         const Steps& steps,
                                                         const SpellingIndex& spellings);
  Result<void> encode(std::string_view word, ModelScratch& scratch,
                      std::vector<int32_t>& out) const override;

 private:
  Bpe(size_t merge_count, const SpellingIndex& spellings)
      : merges_(merge_count), spellings_(spellings) {}
  Result<void> add_merges(const Vocabulary& vocabulary);
  Result<void> add_score_merges(const std::vector<ScoreMerge>& merges);
  void index_characters(const Vocabulary& vocabulary);
  void index_character(std::string_view token, int32_t id);
  int32_t whole(std::string_view word) const;
  void begin_bytes(std::string_view word, std::vector<int32_t>& ids) const;
  void begin_characters(std::string_view word, std::vector<int32_t>& ids) const;
  void begin_unknown(std::string_view c, std::vector<int32_t>& ids) const;
  int32_t id_of(char32_t c) const;
  bool may_cut(char32_t before, char32_t c) const;

  BpeMerges merges_;
  const SpellingIndex& spellings_;
  bool byte_level_ = false;
  bool fuse_unk_ = false;
  int32_t unk_ = -1;
  std::vector<int32_t> byte_ids_;  // [256], -1: none.
  // The next three are for BPE over characters only.
  std::vector<int32_t> low_ids_;                    // [0x10000], -1: none.
  std::unordered_map<char32_t, int32_t> high_ids_;  // Ids of characters above U+FFFF.
  std::unordered_set<char32_t> before_space_;       // Each c of the tokens that contain "c▁".
  // With ignore_merges only: [vocab], true for tokens that may be a whole word.
  std::vector<bool> wholes_;
};

Result<std::unique_ptr<const WordModel>> Bpe::create(const Vocabulary& vocabulary,
                                                     const Steps& steps,
                                                     const SpellingIndex& spellings) {
  std::vector<ScoreMerge> implied;
  if (steps.merges_from_scores) {
    ALTLAS_TRY(implied, merges_of_scores(vocabulary));
  }
  std::unique_ptr<Bpe> made(
      new Bpe(steps.merges_from_scores ? implied.size() : vocabulary.merges.size(), spellings));
  made->byte_level_ = steps.byte_level;
  made->fuse_unk_ = steps.fuse_unk;
  // A GGUF file's unknown token matters to the template; GGUF's byte-level BPE leaves unknown bytes
  // out.
  made->unk_ = steps.byte_level && !steps.has_unk ? -1 : vocabulary.unk;
  if (steps.merges_from_scores) {
    ALTLAS_TRY_VOID(made->add_score_merges(implied));
  } else {
    ALTLAS_TRY_VOID(made->add_merges(vocabulary));
  }
  if (steps.byte_level) {
    made->byte_ids_.assign(256, -1);
    for (size_t b = 0; b < 256; ++b) {
      std::string spelled;
      append_utf8(spelled, byte_letter(static_cast<uint8_t>(b)));
      const int32_t id = spellings.find(spelled);
      made->byte_ids_[b] = id >= 0 ? id : made->unk_;
    }
  } else {
    made->index_characters(vocabulary);
    made->byte_ids_ =
        steps.byte_fallback ? find_byte_tokens(vocabulary) : std::vector<int32_t>(256, -1);
  }
  if (steps.ignore_merges) {
    made->wholes_.assign(vocabulary.tokens.size(), true);
    for (size_t i = 0; i < vocabulary.types.size(); ++i)
      made->wholes_[i] = vocabulary.types[i] == kTokenNormal;
  }
  return std::unique_ptr<const WordModel>(std::move(made));
}

Result<void> Bpe::add_merges(const Vocabulary& vocabulary) {
  std::string joined;
  int32_t both = -1;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == std::string_view::npos || space + 1 == merge.size())
      return invalid(fmt::format("merge {} is '{}', not two tokens with a space between", i, merge),
                     "tokenizer.ggml.merges");
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    joined.assign(left).append(right);
    const int32_t l = spellings_.find(left), r = spellings_.find(right);
    // In most vocabularies the tokens are in the order of merges.
    const size_t next = static_cast<size_t>(both) + 1;
    const bool in_order = next < vocabulary.tokens.size() && vocabulary.tokens[next] == joined;
    both = in_order ? static_cast<int32_t>(next) : spellings_.find(joined);
    if (l < 0 || r < 0 || both < 0)
      return invalid(
          fmt::format("merge {} ('{}') names a token that is not in the vocabulary", i, merge),
          "tokenizer.ggml.merges");
    // A text must not spell what only the template may write.
    if (!vocabulary.types.empty() && vocabulary.types[static_cast<size_t>(both)] == kTokenControl)
      continue;
    if (!merges_.add(l, r, static_cast<uint32_t>(i), both))
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
    if (type != kTokenNormal && type != kTokenUserDefined) continue;
    if (is_blank_piece(vocabulary, i)) {
      index_character(piece_spelling(vocabulary.tokens[i]), static_cast<int32_t>(i));
    } else {
      index_character(vocabulary.tokens[i], static_cast<int32_t>(i));
    }
  }
}

// Notes what a token says about characters: that it is one, and which ones are followed by a space.
void Bpe::index_character(std::string_view token, int32_t id) {
  if (!token.empty() && token.size() <= 4) {
    const Utf8Char c = decode_utf8(token);
    if (c.length == token.size() && c.kind == Utf8Char::kValid) {
      if (c.code_point > 0xFFFF) {
        high_ids_.try_emplace(c.code_point, id);
      } else if (low_ids_[c.code_point] < 0) {
        low_ids_[c.code_point] = id;
      }
    }
  }
  for (size_t at = 0; (at = token.find(kSpace, at)) != std::string_view::npos; ++at) {
    if (at == 0) continue;
    size_t before = at - 1;
    while (before > 0 && is_continuation_byte(token[before])) --before;
    before_space_.insert(decode_utf8(token.substr(before)).code_point);
  }
}

int32_t Bpe::id_of(char32_t c) const {
  if (c <= 0xFFFF) return low_ids_[c];
  const auto it = high_ids_.find(c);
  return it == high_ids_.end() ? -1 : it->second;
}

// Whether no token holds both characters side by side, so that no merge reaches across.
bool Bpe::may_cut(char32_t before, char32_t c) const {
  return c == kMetaspace && before != 0 && !before_space_.contains(before) && low_ids_[c] >= 0;
}

// Returns the token for the whole word if that comes before merging, else -1.
int32_t Bpe::whole(std::string_view word) const {
  if (wholes_.empty() || word.size() > kWholeWordBytesMax) return -1;
  std::string letters;
  if (byte_level_)
    for (const char c : word) append_utf8(letters, byte_letter(static_cast<uint8_t>(c)));
  const int32_t id = spellings_.find(byte_level_ ? std::string_view(letters) : word);
  return id >= 0 && wholes_[static_cast<size_t>(id)] ? id : -1;
}

Result<void> Bpe::encode(std::string_view word, ModelScratch& scratch,
                         std::vector<int32_t>& out) const {
  if (const int32_t id = whole(word); id >= 0) {
    out.push_back(id);
    return {};
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
  // The word is split into pieces that no merge reaches across; most are short words.
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

// As in transformers, a byte without a token is left out if there is no token for unknown text.
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

Result<std::unique_ptr<const WordModel>> make_bpe(const Vocabulary& vocabulary, const Steps& steps,
                                                  const SpellingIndex& ids) {
  return Bpe::create(vocabulary, steps, ids);
}

}  // namespace altlas::text
