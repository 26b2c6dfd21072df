#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cstring>

#include "base/utf8.h"

namespace altlas::text {
namespace {

constexpr size_t kFreeSteps = 1'000;  // The steps that one match has without spending.
constexpr size_t kFreeBytes = 256;    // The bytes that one match may look at at first.
constexpr size_t kGrowth = 4;         // The factor for both if they were too few.
constexpr uint32_t kMatchDepthMax = 1'000'000;
constexpr size_t kJitStackBytesMax = 4u << 20;
constexpr int kNestingMax = 64;

// Unicode's White_Space, in place of \s: PCRE2's \s also holds U+180E, and Oniguruma's does not.
constexpr std::string_view kSpaces =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

struct PropertyName {
  std::string_view long_name, name;
};
constexpr std::array<PropertyName, 16> kProperties = {{{"Letter", "L"},
                                                       {"Mark", "M"},
                                                       {"Number", "N"},
                                                       {"Punctuation", "P"},
                                                       {"Symbol", "S"},
                                                       {"Separator", "Z"},
                                                       {"Other", "C"},
                                                       {"Uppercase_Letter", "Lu"},
                                                       {"Lowercase_Letter", "Ll"},
                                                       {"Titlecase_Letter", "Lt"},
                                                       {"Modifier_Letter", "Lm"},
                                                       {"Other_Letter", "Lo"},
                                                       {"Decimal_Number", "Nd"},
                                                       {"Nonspacing_Mark", "Mn"},
                                                       {"Alpha", "Alphabetic"},
                                                       {"Punct", "P"}}};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}
  Result<std::string> run() {
    while (at_ < in_.size()) ALTLAS_TRY_VOID(step());
    return std::move(out_);
  }

 private:
  Error refuse(std::string_view what) const {
    return invalid(
        fmt::format("expression '{}': {} at byte {} is not supported; supported are "
                    "classes, \\s \\w \\d \\p{{..}}, groups, look-around and quantifiers",
                    in_.substr(0, 200), what, at_));
  }
  Result<void> step() {
    const char c = in_[at_];
    if (c == '\\') return escape(false);
    if (c == '[') return bracket();
    if (c == '(') return group();
    if (c == '{' && in_.substr(at_, 2) == "{,") {
      out_ += "{0,";
      at_ += 2;
      return {};
    }
    if (c == '}' && at_ + 1 < in_.size() && in_[at_ + 1] == '+') return refuse("'}+'");
    out_ += c;
    ++at_;
    return {};
  }
  Result<void> group() {
    constexpr std::array<std::string_view, 6> kKept = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    for (const std::string_view kept : kKept)
      if (in_.substr(at_).starts_with(kept)) return copy(kept.size());
    if (!in_.substr(at_).starts_with("(?")) return copy(1);
    if (in_.substr(at_).starts_with("(?i:") || in_.substr(at_).starts_with("(?i)")) return copy(4);
    if (in_.substr(at_).starts_with("(?-i:")) return copy(5);
    if (in_.substr(at_).starts_with("(?m:")) {
      out_ += "(?s:";
      at_ += 4;
      return {};
    }
    return refuse(fmt::format("'{}'", in_.substr(at_, 4)));
  }
  Result<void> copy(size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
    return {};
  }
  Result<void> bracket() {
    ALTLAS_TRY_VOID(copy(1));
    if (at_ < in_.size() && in_[at_] == '^') ALTLAS_TRY_VOID(copy(1));
    if (at_ < in_.size() && in_[at_] == ']') {
      out_ += "\\]";
      ++at_;
    }
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '[') return refuse("a class in a class");
      if (in_.substr(at_, 2) == "&&") return refuse("'&&' in a class");
      if (in_[at_] == '\\') {
        ALTLAS_TRY_VOID(escape(true));
      } else {
        ALTLAS_TRY_VOID(copy(1));
      }
    }
    if (at_ == in_.size()) return refuse("a class without ']'");
    return copy(1);
  }
  Result<void> escape(bool in_class) {
    if (at_ + 1 == in_.size()) return refuse("a '\\'");
    const char c = in_[at_ + 1];
    const auto put = [&](std::string_view set, bool negated) {
      out_ += in_class ? std::string(set) : fmt::format("[{}{}]", negated ? "^" : "", set);
      at_ += 2;
      return Result<void>();
    };
    switch (c) {
      case 's':
        return put(kSpaces, false);
      case 'S':
        return in_class ? put(R"(\S\x{180E})", false) : put(kSpaces, true);
      case 'w':
        return put(kWord, false);
      case 'W':
        return in_class ? refuse("'\\W' in a class") : put(kWord, true);
      case 'd':
        return put(R"(\p{Nd})", false);
      case 'D':
        return put(R"(\P{Nd})", false);
      case 'h':
        return put("0-9A-Fa-f", false);
      case 'v':
        return put(R"(\x0B)", false);
      case 'p':
      case 'P':
        return property();
      case 'u':
        return unicode();
      case 'x':
      case 't':
      case 'n':
      case 'r':
      case 'f':
      case 'a':
      case 'e':
        return copy(2);
      case 'A':
      case 'z':
      case 'Z':
      case 'b':
      case 'B':
        if (in_class) return refuse(fmt::format("'\\{}' in a class", c));
        return copy(2);
      default:
        break;
    }
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
        (byte >= 'a' && byte <= 'z'))
      return refuse(fmt::format("'\\{}'", c));
    return copy(2);
  }
  Result<void> property() {
    const size_t end = in_.find('}', at_);
    if (in_.substr(at_ + 2, 1) != "{" || end == std::string_view::npos)
      return refuse("a property without {}");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    bool negated = in_[at_ + 1] == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    for (const PropertyName& known : kProperties)
      if (known.long_name == name) name = known.name;
    out_ += fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name);
    at_ = end + 1;
    return {};
  }
  Result<void> unicode() {
    const std::string_view digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos)
      return refuse("'\\u' without four digits");
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 6;
    return {};
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

struct FreeMatchData {
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
struct FreeContext {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
struct FreeCompileContext {
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};
struct FreeJitStack {
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};

// What matching needs besides the code. Each thread makes one, once.
struct Workspace {
  std::unique_ptr<pcre2_match_data, FreeMatchData> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, FreeContext> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, FreeJitStack> stack{
      pcre2_jit_stack_create(32 * 1024, kJitStackBytesMax, nullptr)};
  Workspace() {
    pcre2_set_depth_limit(context.get(), kMatchDepthMax);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

Workspace& workspace() {
  thread_local Workspace mine;
  return mine;
}

}  // namespace

struct Regex::Code {
  pcre2_code* code;
  ~Code() { pcre2_code_free(code); }
};

Result<std::string> translate_expression(std::string_view pattern) {
  return Translator(pattern).run();
}

Regex::Regex() = default;
Regex::~Regex() = default;

Result<std::unique_ptr<const Regex>> Regex::create(std::string_view pattern) {
  if (pattern.size() > kExpressionBytesMax)
    return invalid(fmt::format("an expression of {} bytes; at most {} can be used", pattern.size(),
                               kExpressionBytesMax));
  ALTLAS_TRY(const std::string translated, translate_expression(pattern));
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kNestingMax);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                        PCRE2_NO_AUTO_CAPTURE | PCRE2_USE_OFFSET_LIMIT,
                    &error, &offset, context.get());
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> message = {};
    pcre2_get_error_message(error, message.data(), message.size());
    return invalid(fmt::format("expression '{}' can't be compiled: {}", pattern.substr(0, 200),
                               reinterpret_cast<const char*>(message.data())));
  }
  // Without a JIT the interpreter runs.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
  std::unique_ptr<Regex> made(new Regex());
  made->code_.reset(new Code{code});
  return std::unique_ptr<const Regex>(std::move(made));
}

Result<std::unique_ptr<const Regex>> Regex::literal(std::string_view text) {
  if (text.empty() || text.size() > kExpressionBytesMax)
    return invalid(fmt::format("a pattern of {} bytes; 1 to {} can be used", text.size(),
                               kExpressionBytesMax));
  std::unique_ptr<Regex> made(new Regex());
  made->literal_ = text;
  return std::unique_ptr<const Regex>(std::move(made));
}

namespace {

// Returns the end of a window of at most `bytes` from `at` on, at a character's end.
size_t window_end(std::string_view text, size_t at, size_t bytes) {
  if (text.size() - at <= bytes) return text.size();
  size_t end = at + bytes;
  while (is_continuation_byte(text[end])) --end;
  return end;
}

size_t next_character(std::string_view text, size_t at) {
  do ++at;
  while (at < text.size() && is_continuation_byte(text[at]));
  return at;
}

}  // namespace

Result<int> Regex::match(std::string_view text, size_t at, size_t end, WorkBudget& budget) const {
  const Workspace& mine = workspace();
  const uint32_t partial = end < text.size() ? PCRE2_PARTIAL_HARD : 0;
  for (size_t steps = kFreeSteps;; steps *= kGrowth) {
    pcre2_set_match_limit(mine.context.get(),
                          static_cast<uint32_t>(std::min<size_t>(steps, UINT32_MAX)));
    const int count = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), end, at,
                                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | partial, mine.data.get(),
                                  mine.context.get());
    if (count > 0 || count == PCRE2_ERROR_NOMATCH || count == PCRE2_ERROR_PARTIAL) return count;
    if (count != PCRE2_ERROR_MATCHLIMIT)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("the text can't be matched within the limits (PCRE2 {})", count));
    ALTLAS_TRY_VOID(budget.spend(steps * kGrowth));
  }
}

Result<int> Regex::match_here(std::string_view text, size_t at, WorkBudget& budget) const {
  pcre2_match_context* const context = workspace().context.get();
  pcre2_set_offset_limit(context, at);
  Result<int> count = PCRE2_ERROR_PARTIAL;
  for (size_t bytes = kGrowth * kFreeBytes; count.ok() && *count == PCRE2_ERROR_PARTIAL;
       bytes *= kGrowth) {
    const size_t end = window_end(text, at, bytes);
    const auto spent = budget.spend(end - at);
    count = spent.ok() ? match(text, at, end, budget) : Result<int>(spent.error());
  }
  pcre2_set_offset_limit(context, PCRE2_UNSET);
  return count;
}

// An expression may look at the whole text for each match, and PCRE2 does not count that. So it
// sees only a window, and reports (PARTIAL_HARD) if the text after it may matter; then this one
// place is tried with more and more of the text.
Result<std::optional<std::pair<size_t, size_t>>> Regex::find(std::string_view text, size_t at,
                                                             WorkBudget& budget) const {
  using Found = std::optional<std::pair<size_t, size_t>>;
  if (!literal_.empty()) {
    // memmem(), since string_view::find takes the product of both lengths.
    const void* found =
        memmem(text.data() + at, text.size() - at, literal_.data(), literal_.size());
    if (found == nullptr) return Found();
    const auto begin = static_cast<size_t>(static_cast<const char*>(found) - text.data());
    return Found({begin, begin + literal_.size()});
  }
  const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(workspace().data.get());
  while (at < text.size()) {
    const size_t end = window_end(text, at, kFreeBytes);
    ALTLAS_TRY(int count, match(text, at, end, budget));
    if (count == PCRE2_ERROR_PARTIAL) {
      at = std::max(at, range[0]);  // No match begins before it.
      ALTLAS_TRY(count, match_here(text, at, budget));
      if (count == PCRE2_ERROR_NOMATCH) at = next_character(text, at);
    } else if (count == PCRE2_ERROR_NOMATCH) {
      at = end;
    }
    if (count == PCRE2_ERROR_NOMATCH) continue;
    if (range[0] > range[1])
      // \K in a look-ahead does this.
      return invalid("an expression's match ends before it begins");
    return Found({range[0], range[1]});
  }
  return Found();
}

}  // namespace altlas::text
