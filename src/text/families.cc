#include "text/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace altlas::text {
namespace {

#define ALTLAS_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define ALTLAS_BLANKS R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define ALTLAS_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define ALTLAS_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 = ALTLAS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" ALTLAS_BLANKS;
constexpr std::string_view kQwen35 = ALTLAS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" ALTLAS_BLANKS;
constexpr std::string_view kLlama3 = ALTLAS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" ALTLAS_BLANKS;
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "*" ALTLAS_LOWER
    R"(+|[^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "+" ALTLAS_LOWER
    R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" ALTLAS_BLANKS;
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "*" ALTLAS_LOWER "+" ALTLAS_CONTRACTIONS
    R"(?|[^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "+" ALTLAS_LOWER "*" ALTLAS_CONTRACTIONS
    R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" ALTLAS_BLANKS;
// Cased letters but modifiers and CJK, as DeepSeek's file spells them out.
constexpr std::string_view kDeepseekWord =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷ)"
    R"(ᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻ)"
    R"(Ȿ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepseekMarks = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr std::string_view kDeepseekCjk = "[一-龥ࠀ-一가-퟿]+";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*)" ALTLAS_BLANKS;
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
    R"(|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder = ALTLAS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" ALTLAS_BLANKS;

struct Pre {
  std::string_view name;
  std::vector<std::string_view> expressions;  // Each on the words that the one before left.
  bool nfc = false;
  bool ignore_merges = false;
};

std::vector<Pre> known_pres() {
  return {
      {"gpt-2", {kGpt2}},
      {"mpt", {kGpt2}, true},
      {"qwen2", {kQwen2}, true},
      {"qwen35", {kQwen35}, true},
      {"llama-bpe", {kLlama3}, false, true},
      {"dbrx", {kLlama3}},
      {"tekken", {kTekken}, false, true},
      {"gpt-4o", {kGpt4o}},
      {"deepseek-llm",
       {"[\r\n]", kDeepseekWord, kDeepseekMarks, R"(\s+$)", kDeepseekCjk, R"(\p{N})"}},
      {"deepseek-coder", {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"}},
      {"deepseek-v3", {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseek3}},
      {"falcon", {R"([\p{P}$+<=>^~|`]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {"starcoder", {R"(\p{N})", kGpt2}},
      {"command-r", {R"(\p{N})", kGpt2}, true},
      {"bloom", {kBloom}},
      {"viking", {kBloom, R"(\p{N})"}},
      {"bailingmoe", {kBailing}},
      {"seed-coder", {kSeedCoder}},
  };
}

struct Alias {
  std::string_view alias, name;
};
// Other names of the same behaviour.
constexpr std::array<Alias, 53> kAliases = {{{"gpt2", "gpt-2"},
                                             {"default", "gpt-2"},
                                             {"", "gpt-2"},
                                             {"phi-2", "gpt-2"},
                                             {"jais", "gpt-2"},
                                             {"trillion", "gpt-2"},
                                             {"exaone4", "gpt-2"},
                                             {"roberta-bpe", "gpt-2"},
                                             {"jina-v2-code", "gpt-2"},
                                             {"granite-docling", "gpt-2"},
                                             {"gigachat", "gpt-2"},
                                             {"mellum", "gpt-2"},
                                             {"olmo", "mpt"},
                                             {"modern-bert", "mpt"},
                                             {"llama3", "llama-bpe"},
                                             {"llama-v3", "llama-bpe"},
                                             {"falcon3", "llama-bpe"},
                                             {"falcon-h1", "llama-bpe"},
                                             {"pixtral", "llama-bpe"},
                                             {"lfm2", "llama-bpe"},
                                             {"midm-2.0", "llama-bpe"},
                                             {"glm4", "llama-bpe"},
                                             {"glm5", "llama-bpe"},
                                             {"smaug-bpe", "dbrx"},
                                             {"chatglm-bpe", "dbrx"},
                                             {"llama4", "gpt-4o"},
                                             {"kanana2", "gpt-4o"},
                                             {"minimax-m2", "gpt-4o"},
                                             {"deepseek-r1-qwen", "qwen2"},
                                             {"stablelm2", "qwen2"},
                                             {"hunyuan", "qwen2"},
                                             {"megrez", "qwen2"},
                                             {"grok-2", "qwen2"},
                                             {"solar-open", "qwen2"},
                                             {"kormo", "qwen2"},
                                             {"f2llmv2", "qwen2"},
                                             {"deepseek-v2", "deepseek-llm"},
                                             {"deepseek-r1", "deepseek-v3"},
                                             {"hunyuan-dense", "deepseek-v3"},
                                             {"joyai-llm", "deepseek-v3"},
                                             {"hy_v4", "deepseek-v3"},
                                             {"refact", "starcoder"},
                                             {"smollm", "starcoder"},
                                             {"codeshell", "starcoder"},
                                             {"exaone", "starcoder"},
                                             {"minerva-7b", "starcoder"},
                                             {"mellum2", "starcoder"},
                                             {"granite", "starcoder"},
                                             {"poro-chat", "bloom"},
                                             {"gpt3-finnish", "bloom"},
                                             {"bailingmoe2", "bailingmoe"},
                                             {"llada-moe", "bailingmoe"},
                                             {"command-r7b", "command-r"}}};

void add_bos_eos(const Vocabulary& vocabulary, Steps& steps) {
  if (vocabulary.add_bos && vocabulary.bos >= 0) steps.before = {vocabulary.bos};
  if (vocabulary.add_eos && vocabulary.eos >= 0) steps.after = {vocabulary.eos};
}

Result<Steps> byte_level_steps(const Vocabulary& vocabulary) {
  std::string_view name = vocabulary.pre;
  for (const Alias& alias : kAliases)
    if (alias.alias == vocabulary.pre) name = alias.name;
  std::string supported;
  for (const Pre& pre : known_pres()) {
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", pre.name);
    if (pre.name != name) continue;
    Steps steps{.byte_level = true, .decoder = DecoderKind::kByteLevel};
    steps.ignore_merges = pre.ignore_merges;
    if (pre.nfc) steps.normalizers.push_back({.kind = NormalizerStep::kNfc});
    for (const std::string_view expression : pre.expressions)
      steps.splits.push_back({.pattern = std::string(expression)});
    return steps;
  }
  for (const Alias& alias : kAliases)
    if (!alias.alias.empty()) supported += fmt::format(", {}", alias.alias);
  return invalid(
      fmt::format("unknown pre-tokenizer '{}'; supported are {}", vocabulary.pre, supported),
      "tokenizer.ggml.pre");
}

Steps sentence_piece_steps(const Vocabulary& vocabulary) {
  Steps steps{.byte_fallback = true, .fuse_unk = true, .decoder = DecoderKind::kMetaspace};
  steps.merges_from_scores = vocabulary.merges.empty();
  if (vocabulary.add_space_prefix)
    steps.normalizers.push_back({.kind = NormalizerStep::kPrepend, .content = "▁"});
  steps.normalizers.push_back(
      {.kind = NormalizerStep::kReplace, .pattern = " ", .content = "▁"});
  steps.strip_first_space = vocabulary.add_space_prefix;
  // Phi-3's files leave out that its control tokens take the blanks after them.
  std::string name = vocabulary.name;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos)
    return steps;
  for (size_t i = 0; i < vocabulary.types.size() && i < vocabulary.tokens.size(); ++i) {
    const std::string& token = vocabulary.tokens[i];
    const bool control = vocabulary.types[i] == kTokenControl && token != "<unk>" &&
                         token != "<s>" && token != "<|endoftext|>";
    if (control || token == "</s>")
      steps.rules.push_back({.id = static_cast<int32_t>(i), .strip_right = true});
  }
  return steps;
}

Steps unigram_steps(const Vocabulary& vocabulary) {
  Steps steps{.model = ModelKind::kUnigram, .decoder = DecoderKind::kMetaspace};
  if (!vocabulary.charsmap.empty())
    steps.normalizers.push_back(
        {.kind = NormalizerStep::kCharsmap, .content = vocabulary.charsmap});
  if (vocabulary.remove_extra_whitespaces)
    steps.splits.push_back({.pattern = R"(\s+)", .behavior = SplitBehavior::kRemoved});
  steps.splits.push_back(
      {.kind = SplitStep::kMetaspace,
       .pattern = "▁",
       .prefix = vocabulary.add_space_prefix ? PrefixScheme::kAlways : PrefixScheme::kNever});
  steps.strip_first_space = vocabulary.add_space_prefix;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
    if (vocabulary.tokens[i] == "<mask>")
      steps.rules.push_back({.id = static_cast<int32_t>(i), .strip_left = true});
  return steps;
}

// A GGUF file does not say whether capitals count: a vocabulary without any was made without.
bool has_capitals(const Vocabulary& vocabulary) {
  return std::ranges::any_of(vocabulary.tokens, [](const std::string& token) {
    return !token.starts_with('[') && std::ranges::any_of(token, [](char c) {
      return c >= 'A' && c <= 'Z';
    });
  });
}

Steps word_piece_steps(const Vocabulary& vocabulary) {
  Steps steps{.model = ModelKind::kWordPiece, .decoder = DecoderKind::kWordPiece};
  const bool cased = has_capitals(vocabulary);
  steps.normalizers.push_back(
      {.kind = NormalizerStep::kBert, .strip_accents = !cased, .lowercase = !cased});
  steps.splits.push_back({.pattern = R"(\s)", .behavior = SplitBehavior::kRemoved});
  steps.splits.push_back({.pattern = R"([\p{P}!-/:-@\[-`{-~])"});
  const bool marked = std::ranges::any_of(
      vocabulary.tokens, [](const std::string& token) { return token.starts_with("▁"); });
  if (marked) steps.word_prefix = "▁";
  steps.cleanup = true;
  steps.strip_first_space = true;
  const int32_t cls = vocabulary.cls >= 0 ? vocabulary.cls : vocabulary.bos;
  const int32_t sep = vocabulary.sep >= 0 ? vocabulary.sep : vocabulary.eos;
  if (cls >= 0) steps.before = {cls};
  if (sep >= 0) steps.after = {sep};
  return steps;
}

}  // namespace

std::string_view gpt2_expression() { return kGpt2; }

Result<Steps> steps_of_names(const Vocabulary& vocabulary) {
  Steps steps;
  if (vocabulary.model == "gpt2") {
    ALTLAS_TRY(steps, byte_level_steps(vocabulary));
  } else if (vocabulary.model == "llama" || vocabulary.model == "gemma4") {
    steps = sentence_piece_steps(vocabulary);
  } else if (vocabulary.model == "t5") {
    steps = unigram_steps(vocabulary);
  } else if (vocabulary.model == "bert") {
    return word_piece_steps(vocabulary);
  } else {
    return invalid(fmt::format("unknown tokenizer model '{}'; supported are gpt2, llama, t5, bert, "
                               "gemma4",
                               vocabulary.model),
                   "tokenizer.ggml.model");
  }
  add_bos_eos(vocabulary, steps);
  return steps;
}

}  // namespace altlas::text
