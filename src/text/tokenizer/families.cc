#include "text/tokenizer/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/strings.h"

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
    R"([^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "*" ALTLAS_LOWER R"(+|[^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER
    "+" ALTLAS_LOWER R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" ALTLAS_BLANKS;
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "*" ALTLAS_LOWER "+" ALTLAS_CONTRACTIONS
    R"(?|[^\r\n\p{L}\p{N}]?)" ALTLAS_UPPER "+" ALTLAS_LOWER "*" ALTLAS_CONTRACTIONS
    R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" ALTLAS_BLANKS;
// The cased letters, marks and CJK characters that DeepSeek's file lists.
constexpr std::string_view kDeepseekWord =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-)"
    R"(\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC})"
    R"(\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})"
    R"(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3})"
    R"(\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})"
    R"(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-)"
    R"(\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr std::string_view kDeepseekMarks =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr std::string_view kDeepseekCjk =
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
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
  // Each expression splits the words that the one before it left.
  std::vector<std::string_view> expressions;
  bool nfc = false;
  bool ignore_merges = false;
  // Like `expressions`, over the letters that stand for bytes.
  std::vector<std::string_view> letter_expressions = {};
};

std::vector<Pre> known_pres() {
  return {
      {"gpt-2", {kGpt2}},
      {"mpt", {kGpt2}, true},
      {"qwen2", {kQwen2}, true},
      {"qwen35", {kQwen35}},
      {"llama-bpe", {kLlama3}, false, true},
      {"dbrx", {kLlama3}},
      {"tekken", {kTekken}, false, true},
      {"gpt-4o", {kGpt4o}},
      {"deepseek-llm",
       {"[\r\n]", kDeepseekWord, kDeepseekMarks, R"(\s+$)", kDeepseekCjk, R"(\p{N})"}},
      {"deepseek-coder", {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"}},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)", kDeepseek3}},
      {.name = "falcon",
       .expressions = {R"([\p{P}$+<=>^~|`]+)", kGpt2},
       .letter_expressions = {R"(\p{N}+)", "[0-9][0-9][0-9]"}},
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
// Other names for the same behaviour.
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
    steps.has_unk = false;
    if (pre.nfc) steps.normalizers.push_back({.kind = NormalizerStep::kNfc});
    for (const std::string_view expression : pre.expressions)
      steps.splits.push_back({.pattern = std::string(expression)});
    for (const std::string_view expression : pre.letter_expressions)
      steps.splits.push_back({.pattern = std::string(expression), .on_letters = true});
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
  steps.normalizers.push_back({.kind = NormalizerStep::kReplace, .pattern = " ", .content = "▁"});
  steps.strip_first_space = vocabulary.add_space_prefix;
  // In Phi-3 control tokens take the blanks after them, which its files don't say.
  const std::string name = lower(vocabulary.name);
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos)
    return steps;
  for (size_t i = 0; i < vocabulary.types.size() && i < vocabulary.tokens.size(); ++i) {
    const std::string_view token = vocabulary.tokens[i];
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

// A GGUF file does not say whether capitals count: a vocabulary without any was made from lower
// case.
bool has_capitals(const Vocabulary& vocabulary) {
  return std::ranges::any_of(vocabulary.tokens, [](std::string_view token) {
    return !token.starts_with('[') &&
           std::ranges::any_of(token, [](char c) { return c >= 'A' && c <= 'Z'; });
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
      vocabulary.tokens, [](std::string_view token) { return token.starts_with("▁"); });
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
