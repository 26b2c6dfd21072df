#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

namespace altlas::text {
namespace {

// Steps of one match; a word of n bytes takes about n, and words are not longer than a text may be.
constexpr uint32_t kMatchStepsMax = 1u << 30;
constexpr uint32_t kMatchDepthMax = 1'000'000;
constexpr size_t kJitStackBytesMax = 1u << 20;

// \s is written out as Unicode White_Space: PCRE2's also holds U+180E, Oniguruma's (transformers')
// does not.
#define ALTLAS_WS \
  R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
#define ALTLAS_TAIL                                                                 \
  "| ?[^" ALTLAS_WS R"(\p{L}\p{N}]+[\r\n]*|[)" ALTLAS_WS R"(]*[\r\n]+|[)" ALTLAS_WS \
  "]+(?![^" ALTLAS_WS "])|[" ALTLAS_WS "]+"
#define ALTLAS_WORD R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+)"

constexpr std::string_view kGpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" ALTLAS_WS "\\p{L}\\p{N}]+|[" ALTLAS_WS
    "]+(?![^" ALTLAS_WS "])|[" ALTLAS_WS "]+";
constexpr std::string_view kQwen2 = ALTLAS_WORD R"(|\p{N})" ALTLAS_TAIL;
constexpr std::string_view kLlama3 = ALTLAS_WORD R"(|\p{N}{1,3})" ALTLAS_TAIL;
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
    "| ?[^" ALTLAS_WS R"(\p{L}\p{N}]+[\r\n/]*|[)" ALTLAS_WS R"(]*[\r\n]+|[)" ALTLAS_WS
    "]+(?![^" ALTLAS_WS "])|[" ALTLAS_WS "]+";

std::vector<PretokenizerKind> kinds() {
  return {
      {.name = "qwen2", .expressions = {kQwen2}, .nfc = true},
      {.name = "gpt-2", .expressions = {kGpt2}},
      {.name = "llama-bpe", .expressions = {kLlama3}, .ignore_merges = true},
      {.name = "tekken", .expressions = {kTekken}, .ignore_merges = true},
  };
}

struct Alias {
  std::string_view alias, name;
};
// Other names of the same behaviour.
constexpr std::array<Alias, 6> kAliases = {{{"gpt2", "gpt-2"},
                                            {"default", "gpt-2"},
                                            {"", "gpt-2"},
                                            {"llama3", "llama-bpe"},
                                            {"llama-v3", "llama-bpe"},
                                            {"deepseek-r1-qwen", "qwen2"}}};

struct FreeMatchData {
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
struct FreeContext {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
struct FreeJitStack {
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};

}  // namespace

struct Pretokenizer::Expression {
  pcre2_code* code;
  ~Expression() { pcre2_code_free(code); }

  Result<void> split(std::string_view text, size_t begin, size_t end,
                     std::vector<size_t>& out) const;
};

Result<PretokenizerKind> find_pretokenizer(std::string_view pre) {
  std::string_view name = pre;
  for (const Alias& alias : kAliases)
    if (alias.alias == pre) name = alias.name;
  std::string supported;
  for (PretokenizerKind& kind : kinds()) {
    if (kind.name == name) return std::move(kind);
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", kind.name);
  }
  return invalid(fmt::format("unknown pre-tokenizer '{}'; supported are {}", pre, supported),
                 "tokenizer.ggml.pre");
}

Pretokenizer::Pretokenizer() = default;
Pretokenizer::~Pretokenizer() = default;

Result<std::unique_ptr<const Pretokenizer>> Pretokenizer::create(const PretokenizerKind& kind) {
  std::unique_ptr<Pretokenizer> made(new Pretokenizer());
  for (const std::string_view expression : kind.expressions) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
    if (code == nullptr)
      return Error(ErrorCode::kInternal,
                   fmt::format("pre-tokenizer {}: PCRE2 error {} at {}", kind.name, error, offset));
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // Where there is no JIT the interpreter runs.
    made->expressions_.push_back(std::unique_ptr<const Expression>(new Expression{code}));
  }
  return std::unique_ptr<const Pretokenizer>(std::move(made));
}

// What lies between two matches is a piece as well ("isolated" in tokenizers' words).
Result<void> Pretokenizer::Expression::split(std::string_view text, size_t begin, size_t end,
                                             std::vector<size_t>& out) const {
  const std::unique_ptr<pcre2_match_data, FreeMatchData> data(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeContext> context(
      pcre2_match_context_create(nullptr));
  const std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack(
      pcre2_jit_stack_create(32 * 1024, kJitStackBytesMax, nullptr));
  pcre2_set_match_limit(context.get(), kMatchStepsMax);
  pcre2_set_depth_limit(context.get(), kMatchDepthMax);
  pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data() + begin);
  const size_t size = end - begin;
  const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(data.get());
  for (size_t at = 0; at < size;) {
    const int count = pcre2_match(code, subject, size, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                  data.get(), context.get());
    if (count == PCRE2_ERROR_NOMATCH) {
      out.push_back(size - at);
      break;
    }
    if (count < 0)
      return Error(
          ErrorCode::kTooLarge,
          fmt::format("the text can't be split into words within the limits (PCRE2 {})", count));
    if (range[0] > at) out.push_back(range[0] - at);
    out.push_back(range[1] - range[0]);
    at = range[1];
  }
  return {};
}

Result<std::vector<size_t>> Pretokenizer::split(std::string_view text) const {
  std::vector<size_t> lengths = {text.size()};
  for (const auto& expression : expressions_) {
    std::vector<size_t> next;
    next.reserve(text.size() / 4 + 1);
    size_t begin = 0;
    for (const size_t length : lengths) {
      ALTLAS_TRY_VOID(expression->split(text, begin, begin + length, next));
      begin += length;
    }
    lengths = std::move(next);
  }
  return lengths;
}

}  // namespace altlas::text
