// Byte-level byte-pair encoding (GPT-2, Llama 3, Qwen, ...).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>

#include "base/hash.h"
#include "text/piece_encoder.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"

namespace altlas::text {
namespace {

// GPT-2's spelling of bytes: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and
// on.
struct ByteSpelling {
  std::array<char32_t, 256> to_point;
  std::array<int16_t, 324> to_byte;  // -1: no byte is spelled so.
};

ByteSpelling make_byte_spelling() {
  ByteSpelling spelling;
  spelling.to_byte.fill(-1);
  char32_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const char32_t point = printable ? static_cast<char32_t>(b) : next++;
    spelling.to_point[static_cast<size_t>(b)] = point;
    spelling.to_byte[point] = static_cast<int16_t>(b);
  }
  return spelling;
}

const ByteSpelling& byte_spelling() {
  static const ByteSpelling spelling = make_byte_spelling();
  return spelling;
}

// (left id, right id) -> (rank, id of both joined); open addressing, at most half full.
class MergeTable {
 public:
  struct Slot {
    uint64_t pair = ~0ULL;
    uint32_t rank = 0;
    int32_t joined = -1;
  };

  explicit MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

  // False if the pair would need more than kProbesMax looks: only a file made for it does that.
  bool add(int32_t left, int32_t right, uint32_t rank, int32_t joined) {
    const uint64_t pair = key(left, right);
    size_t at = mix64(pair) & (slots_.size() - 1);
    for (size_t probe = 0; probe < kProbesMax; ++probe, at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].pair == pair)
        slots_[at].pair = ~0ULL;  // As in transformers, the last of equal merges counts.
      if (slots_[at].pair != ~0ULL) continue;
      slots_[at] = {pair, rank, joined};
      return true;
    }
    return false;
  }
  const Slot* find(int32_t left, int32_t right) const {
    const uint64_t pair = key(left, right);
    for (size_t at = mix64(pair) & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].pair == pair) return &slots_[at];
      if (slots_[at].pair == ~0ULL) return nullptr;
    }
  }

 private:
  static constexpr size_t kProbesMax = 512;
  static uint64_t key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  std::vector<Slot> slots_;
};

class ByteBpe final : public PieceEncoder {
 public:
  static Result<std::unique_ptr<const PieceEncoder>> create(const Vocabulary& vocabulary);
  Result<void> encode(std::string_view text, bool at_start,
                      std::vector<int32_t>& out) const override;
  std::string bytes_of(std::string_view spelling) const override;

 private:
  // Reused between the words of one text.
  struct Scratch {
    std::vector<int32_t> ids, previous, next;
    std::vector<uint64_t> heap;
  };
  explicit ByteBpe(size_t merge_count) : merges_(merge_count) {}
  Result<void> add_merges(const Vocabulary& vocabulary,
                          const std::unordered_map<std::string_view, int32_t>& ids);
  Result<void> encode_word(std::string_view word, Scratch& scratch,
                           std::vector<int32_t>& out) const;
  void merge_short(std::vector<int32_t>& ids) const;
  void merge_long(Scratch& scratch) const;

  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_;
  std::unordered_map<std::string, int32_t>
      whole_words_;  // By bytes; filled only with ignore_merges.
  std::unique_ptr<const Pretokenizer> pretokenizer_;
  bool nfc_ = false;
};

Result<std::unique_ptr<const PieceEncoder>> ByteBpe::create(const Vocabulary& vocabulary) {
  ALTLAS_TRY(const PretokenizerKind kind, find_pretokenizer(vocabulary.pre));
  std::unique_ptr<ByteBpe> made(new ByteBpe(vocabulary.merges.size()));
  ALTLAS_TRY(made->pretokenizer_, Pretokenizer::create(kind));
  made->nfc_ = kind.nfc;
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(vocabulary.tokens.size());
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
    ids.try_emplace(vocabulary.tokens[i], static_cast<int32_t>(i));
  for (size_t b = 0; b < 256; ++b) {
    std::string spelled;
    append_utf8(spelled, byte_spelling().to_point[b]);
    const auto it = ids.find(spelled);
    made->byte_ids_[b] = it != ids.end() ? it->second : vocabulary.unk;
  }
  ALTLAS_TRY_VOID(made->add_merges(vocabulary, ids));
  if (kind.ignore_merges) {
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
      if (vocabulary.types.empty() || vocabulary.types[i] == kTokenNormal)
        made->whole_words_.try_emplace(made->bytes_of(vocabulary.tokens[i]),
                                       static_cast<int32_t>(i));
  }
  return std::unique_ptr<const PieceEncoder>(std::move(made));
}

Result<void> ByteBpe::add_merges(const Vocabulary& vocabulary,
                                 const std::unordered_map<std::string_view, int32_t>& ids) {
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
    if (!merges_.add(l->second, r->second, static_cast<uint32_t>(i), both->second))
      return invalid(fmt::format("merge {} ('{}') collides with too many others", i, merge),
                     "tokenizer.ggml.merges");
  }
  return {};
}

std::string ByteBpe::bytes_of(std::string_view spelling) const {
  std::string bytes;
  for (size_t i = 0; i < spelling.size();) {
    const Utf8Char c = decode_utf8(spelling.substr(i));
    const ByteSpelling& known = byte_spelling();
    // A spelling with any other character stands for itself, as in transformers.
    if (c.kind != Utf8Char::kValid || c.code_point >= known.to_byte.size() ||
        known.to_byte[c.code_point] < 0)
      return std::string(spelling);
    bytes += static_cast<char>(known.to_byte[c.code_point]);
    i += c.length;
  }
  return bytes;
}

Result<void> ByteBpe::encode(std::string_view text, bool, std::vector<int32_t>& out) const {
  std::string composed;
  if (nfc_ && !is_surely_nfc(text)) {
    composed = to_nfc(text);
    text = composed;
  }
  ALTLAS_TRY(const std::vector<size_t> lengths, pretokenizer_->split(text));
  Scratch scratch;
  for (const size_t length : lengths) {
    ALTLAS_TRY_VOID(encode_word(text.substr(0, length), scratch, out));
    text.remove_prefix(length);
  }
  return {};
}

Result<void> ByteBpe::encode_word(std::string_view word, Scratch& scratch,
                                  std::vector<int32_t>& out) const {
  constexpr size_t kShort = 24;  // Up to here looking at all pairs is quicker than a heap.
  if (!whole_words_.empty()) {
    if (const auto it = whole_words_.find(std::string(word)); it != whole_words_.end()) {
      out.push_back(it->second);
      return {};
    }
  }
  scratch.ids.clear();
  for (const char c : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id < 0)
      return invalid(fmt::format(
          "the model's vocabulary has no token for byte 0x{:02X} and none for unknown text",
          static_cast<uint8_t>(c)));
    scratch.ids.push_back(id);
  }
  if (word.size() <= kShort) {
    merge_short(scratch.ids);
  } else {
    merge_long(scratch);
  }
  for (const int32_t id : scratch.ids)
    if (id >= 0) out.push_back(id);
  return {};
}

// The lowest rank first, the leftmost of equals: quadratic, without bookkeeping.
void ByteBpe::merge_short(std::vector<int32_t>& ids) const {
  while (ids.size() > 1) {
    const MergeTable::Slot* best = nullptr;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const MergeTable::Slot* slot = merges_.find(ids[i], ids[i + 1]);
      if (slot != nullptr && (best == nullptr || slot->rank < best->rank)) {
        best = slot;
        best_at = i;
      }
    }
    if (best == nullptr) return;
    ids[best_at] = best->joined;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best_at) + 1);
  }
}

// The same by a heap of (rank, position) over a linked list; merged-away places keep id -1. A heap
// entry whose pair has changed since is recognised by its rank: a pair's bytes only grow, so the
// same rank is the same pair.
void ByteBpe::merge_long(Scratch& s) const {
  const auto size = static_cast<int32_t>(s.ids.size());
  s.previous.resize(s.ids.size());
  s.next.resize(s.ids.size());
  s.heap.clear();
  const auto entry_of = [&](int32_t at) -> uint64_t {
    if (at < 0 || s.next[static_cast<size_t>(at)] < 0) return ~0ULL;
    const auto right = static_cast<size_t>(s.next[static_cast<size_t>(at)]);
    const MergeTable::Slot* slot = merges_.find(s.ids[static_cast<size_t>(at)], s.ids[right]);
    return slot == nullptr ? ~0ULL
                           : (static_cast<uint64_t>(slot->rank) << 32) | static_cast<uint32_t>(at);
  };
  for (int32_t i = 0; i < size; ++i) {
    s.previous[static_cast<size_t>(i)] = i - 1;
    s.next[static_cast<size_t>(i)] = i + 1 < size ? i + 1 : -1;
  }
  for (int32_t i = 0; i + 1 < size; ++i)
    if (const uint64_t entry = entry_of(i); entry != ~0ULL) s.heap.push_back(entry);
  std::ranges::make_heap(s.heap, std::greater<>());
  const auto push = [&](int32_t at) {
    const uint64_t entry = entry_of(at);
    if (entry == ~0ULL) return;
    s.heap.push_back(entry);
    std::ranges::push_heap(s.heap, std::greater<>());
  };
  while (!s.heap.empty()) {
    std::ranges::pop_heap(s.heap, std::greater<>());
    const uint64_t entry = s.heap.back();
    s.heap.pop_back();
    const auto at = static_cast<size_t>(entry & 0xFFFFFFFF);
    if (s.ids[at] < 0 || entry_of(static_cast<int32_t>(at)) != entry) continue;
    const auto right = static_cast<size_t>(s.next[at]);
    s.ids[at] = merges_.find(s.ids[at], s.ids[right])->joined;
    s.ids[right] = -1;
    s.next[at] = s.next[right];
    if (s.next[at] >= 0) s.previous[static_cast<size_t>(s.next[at])] = static_cast<int32_t>(at);
    push(s.previous[at]);
    push(static_cast<int32_t>(at));
  }
}

}  // namespace

Result<std::unique_ptr<const PieceEncoder>> make_byte_bpe(const Vocabulary& vocabulary) {
  return ByteBpe::create(vocabulary);
}

}  // namespace altlas::text
