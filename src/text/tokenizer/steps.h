// What a tokenizer does to a text, step by step, as plain data: the normalizer, the splits into
// words, the model's options, what stands around a text, and how tokens become text again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace altlas::text {

struct NormalizerStep {
  enum Kind : uint8_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kStripAccents,  // Drops combining marks; takes effect on decomposed text.
    kStrip,         // Whitespace at the ends.
    kReplace,       // `pattern` by `content`.
    kPrepend,       // `content` before a text that is not empty.
    kBert,          // As BertNormalizer.
    kNmt,           // SentencePiece's nmt rules: controls go, odd blanks become spaces.
    kCharsmap,      // `content`: SentencePiece's precompiled map.
  };
  Kind kind = kNfc;
  std::string pattern = {};
  std::string content = {};
  bool is_regex = false;  // kReplace: `pattern` is an expression, else plain text.
  bool left = true;       // kStrip.
  bool right = true;
  bool clean_text = true;  // kBert.
  bool chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

enum class SplitBehavior : uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

enum class PrefixScheme : uint8_t { kNever, kFirst, kAlways };

struct SplitStep {
  enum Kind : uint8_t {
    kPattern,      // Cuts where `pattern` matches.
    kMetaspace,    // Spaces become `pattern`, one is put in front by `prefix`; cuts before each.
    kPrefixSpace,  // A space in front of each word that has none (ByteLevel's add_prefix_space).
  };
  Kind kind = kPattern;
  std::string pattern = {};
  bool is_regex = true;  // Oniguruma's syntax, as in tokenizer.json; else plain text.
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;                         // What lies between matches counts as the match.
  PrefixScheme prefix = PrefixScheme::kNever;  // kMetaspace.
  bool split = true;                           // kMetaspace.
  bool on_letters = false;  // kPattern: sees GPT-2's letter for each byte instead of the text.
};

enum class ModelKind : uint8_t { kBpe, kUnigram, kWordPiece };
enum class DecoderKind : uint8_t { kPlain, kByteLevel, kMetaspace, kWordPiece };

// How a token that is matched as a whole takes part.
struct WholeTokenRule {
  int32_t id = -1;
  bool strip_left = false;  // Blanks before it belong to it.
  bool strip_right = false;
  bool single_word = false;  // Only where no letter or digit stands beside it.
  bool normalized = false;   // Looked for in the normalized text.
};

struct Steps {
  ModelKind model = ModelKind::kBpe;
  std::vector<NormalizerStep> normalizers = {};
  std::vector<SplitStep> splits = {};
  bool byte_level = false;     // BPE: tokens are spelled in GPT-2's letters for bytes.
  bool byte_fallback = false;  // "<0x0A>" stands for a byte that no other token spells.
  bool has_unk = true;         // BPE: Vocabulary::unk stands for what can't be spelled.
  bool fuse_unk = false;       // Neighbouring unknown characters give one unknown token.
  bool ignore_merges = false;  // A word that is a token is taken whole.
  // BPE without merges: two tokens merge if both joined are one, best score first.
  bool merges_from_scores = false;
  std::string subword_prefix = "##";  // WordPiece: how a token inside a word begins.
  std::string word_prefix = {};       // WordPiece: how one at a word's begin begins.
  size_t word_chars_max = 100;        // WordPiece: a longer word is unknown.
  DecoderKind decoder = DecoderKind::kPlain;
  std::string space = "▁";                  // kMetaspace: what stands for a space in tokens.
  bool strip_first_space = false;           // The text's first space is an artefact.
  std::vector<double> unigram_scores = {};  // [vocab] in place of Vocabulary's, or empty.
  bool cleanup = false;                     // kWordPiece: no space before punctuation.
  std::vector<int32_t> before = {};         // What add_special puts around a text.
  std::vector<int32_t> after = {};
  // The rules of the control and user-defined tokens that need one.
  std::vector<WholeTokenRule> rules = {};
};

}  // namespace altlas::text
