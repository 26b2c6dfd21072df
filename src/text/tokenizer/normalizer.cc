#include "text/tokenizer/normalizer.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "text/normal_form.h"
#include "text/unicode.h"

namespace altlas::text {
namespace {

// Calls fn(out, character) for each character of valid UTF-8.
template <class Fn>
std::string map_characters(std::string_view text, Fn fn) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(at));
    fn(out, c.code_point);
    at += c.length;
  }
  return out;
}

std::string strip_marks(std::string_view text, bool (*is_stripped)(char32_t)) {
  return map_characters(text, [is_stripped](std::string& out, char32_t c) {
    if (!is_stripped(c)) append_utf8(out, c);
  });
}

std::string lowercase(std::string_view text) {
  return map_characters(text, [](std::string& out, char32_t c) { append_lowercase(out, c); });
}

std::string apply_bert(const NormalizerStep& step, std::string text) {
  if (step.clean_text)
    text = map_characters(text, [](std::string& out, char32_t c) {
      if (c == 0 || c == 0xFFFD || is_control_char(c)) return;
      append_utf8(out, is_white_space(c) ? U' ' : c);
    });
  if (step.chinese_chars)
    text = map_characters(text, [](std::string& out, char32_t c) {
      const bool apart = is_cjk(c);
      if (apart) out += ' ';
      append_utf8(out, c);
      if (apart) out += ' ';
    });
  if (step.strip_accents) text = strip_marks(to_form(text, NormalForm::kNfd), is_nonspacing_mark);
  return step.lowercase ? lowercase(text) : text;
}

std::string apply_nmt(std::string_view text) {
  return map_characters(text, [](std::string& out, char32_t c) {
    const bool dropped = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) ||
                         c == 0x7F || c == 0x8F || c == 0x9F;
    if (dropped) return;
    const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    append_utf8(out, space ? U' ' : c);
  });
}

std::string strip(const NormalizerStep& step, std::string_view text) {
  while (step.left && !text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!is_white_space(c.code_point)) break;
    text.remove_prefix(c.length);
  }
  while (step.right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && is_continuation_byte(text[begin])) --begin;
    if (!is_white_space(decode_utf8(text.substr(begin)).code_point)) break;
    text.remove_suffix(text.size() - begin);
  }
  return std::string(text);
}

Result<std::string> replace(const Regex& regex, const std::string& content, std::string text,
                            WorkBudget& budget) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  for (;;) {
    ALTLAS_TRY(const auto match, regex.find(text, at, budget));
    if (!match) break;
    ALTLAS_TRY_VOID(budget.spend(content.size() + 1));
    out.append(text, at, match->first - at).append(content);
    at = match->second;
  }
  if (at == 0) return text;
  return out.append(text, at, std::string::npos);
}

}  // namespace

Result<std::unique_ptr<const Normalizer>> Normalizer::create(
    const std::vector<NormalizerStep>& steps) {
  std::unique_ptr<Normalizer> made(new Normalizer());
  for (const NormalizerStep& step : steps) {
    Step compiled{step, nullptr, nullptr};
    if (step.kind == NormalizerStep::kReplace) {
      ALTLAS_TRY(compiled.regex,
                 step.is_regex ? Regex::create(step.pattern) : Regex::literal(step.pattern));
    }
    if (step.kind == NormalizerStep::kReplace || step.kind == NormalizerStep::kPrepend) {
      if (!is_valid_utf8(step.content)) return invalid("a normalizer's content is not UTF-8");
    }
    if (step.kind == NormalizerStep::kCharsmap) {
      ALTLAS_TRY(compiled.charsmap, Charsmap::create(step.content));
      compiled.step.content.clear();
    }
    made->steps_.push_back(std::move(compiled));
  }
  return std::unique_ptr<const Normalizer>(std::move(made));
}

Result<std::string> Normalizer::apply(std::string text, WorkBudget& budget) const {
  for (const Step& step : steps_) {
    ALTLAS_TRY(text, apply_step(step, std::move(text), budget));
  }
  return text;
}

bool Normalizer::drops_first(std::string_view text, WorkBudget& budget) const {
  if (text.empty()) return false;
  std::string first(text.substr(0, decode_utf8(text).length));
  for (const Step& step : steps_) {
    const bool only_right = step.step.kind == NormalizerStep::kStrip && !step.step.left;
    if (only_right || step.step.kind == NormalizerStep::kPrepend) continue;
    auto next = apply_step(step, std::move(first), budget);
    if (!next.ok()) return false;
    first = *std::move(next);
    if (first.empty()) return true;
  }
  return false;
}

Result<std::string> Normalizer::apply_step(const Step& step, std::string text, WorkBudget& budget) {
  ALTLAS_TRY_VOID(budget.spend(text.size() + step.step.content.size()));
  switch (step.step.kind) {
    case NormalizerStep::kNfc:
      return is_surely_nfc(text) ? std::move(text) : to_form(text, NormalForm::kNfc);
    case NormalizerStep::kNfd:
      return to_form(text, NormalForm::kNfd);
    case NormalizerStep::kNfkc:
      return to_form(text, NormalForm::kNfkc);
    case NormalizerStep::kNfkd:
      return to_form(text, NormalForm::kNfkd);
    case NormalizerStep::kLowercase:
      return lowercase(text);
    case NormalizerStep::kStripAccents:
      return strip_marks(text, is_mark);
    case NormalizerStep::kStrip:
      return strip(step.step, text);
    case NormalizerStep::kReplace:
      return replace(*step.regex, step.step.content, std::move(text), budget);
    case NormalizerStep::kPrepend:
      return text.empty() ? text : step.step.content + text;
    case NormalizerStep::kBert:
      return apply_bert(step.step, std::move(text));
    case NormalizerStep::kNmt:
      return apply_nmt(text);
    case NormalizerStep::kCharsmap:
      return step.charsmap->apply(text);
  }
  return text;
}

}  // namespace altlas::text
