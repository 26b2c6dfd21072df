// Reads GBNF, llama.cpp's notation for grammars.
#include <fmt/format.h>

#include <map>
#include <string>

#include "base/utf8.h"
#include "text/grammar/expression.h"
#include "text/grammar/program.h"

namespace altlas::text::grammar {

namespace {

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Rules> read() {
    if (!is_valid_utf8(text_)) return wrong("the rules are not valid UTF-8");
    rules_.add("root");
    names_.emplace("root", 0);
    skip_space(/*lines=*/true);
    while (at_ < text_.size()) {
      ALTLAS_TRY_VOID(one_rule());
      skip_space(/*lines=*/true);
    }
    for (const Rules::Rule& rule : rules_.rules)
      if (rule.expression == nullptr)
        return invalid(fmt::format("grammar: rule '{}' is {}", rule.name,
                                   rule.name == "root" ? "missing: it is where every text begins"
                                                       : "used, but not defined"));
    return std::move(rules_);
  }

 private:
  Error wrong(std::string_view what) const {
    size_t line = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) line += text_[i] == '\n';
    return invalid(fmt::format("grammar, line {}: {}", line, what));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  // Skips blanks and comments, and ends of lines if `lines` is set.
  void skip_space(bool lines) {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ + 1 < text_.size() && text_[at_ + 1] != '\n' && text_[at_ + 1] != '\r') ++at_;
      } else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) {
        return;
      }
    }
  }
  std::string name() {
    std::string out;
    while (is_name(peek())) out += text_[at_++];
    return out;
  }
  Result<uint32_t> rule_named(const std::string& name) {
    const auto [at, fresh] = names_.try_emplace(name, static_cast<uint32_t>(rules_.rules.size()));
    if (fresh) {
      if (rules_.rules.size() >= kGrammarRulesMax)
        return wrong(fmt::format("more than {} rules", kGrammarRulesMax));
      rules_.add(name.substr(0, 64));
    }
    return at->second;
  }

  Result<void> one_rule() {
    const std::string defined = name();
    if (defined.empty()) return wrong("a rule's name was expected: name ::= …");
    skip_space(false);
    if (!take("::=")) return wrong(fmt::format("'::=' was expected after '{}'", defined));
    ALTLAS_TRY(const uint32_t index, rule_named(defined));
    if (rules_.rules[index].expression != nullptr)
      return wrong(fmt::format("rule '{}' is defined twice", defined));
    skip_space(true);
    ALTLAS_TRY(ExpressionPtr all, alternatives(0));
    rules_.rules[index].expression = std::move(all);
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r')
      return wrong(fmt::format("unexpected '{}'", text_.substr(at_, 1)));
    return {};
  }

  Result<ExpressionPtr> alternatives(size_t depth) {
    if (depth > kGrammarNestingMax)
      return wrong(fmt::format("groups lie deeper than {}", kGrammarNestingMax));
    std::vector<ExpressionPtr> parts;
    while (true) {
      ALTLAS_TRY(ExpressionPtr one, run(depth));
      parts.push_back(std::move(one));
      if (!take("|")) return choice(std::move(parts));
      skip_space(true);
    }
  }

  Result<ExpressionPtr> run(size_t depth) {
    std::vector<ExpressionPtr> parts;
    while (at_ < text_.size() && peek() != '|' && peek() != ')') {
      if (peek() == '\n' || peek() == '\r') {
        // Outside of parentheses the next line goes on with the rule only if it begins with '|'.
        if (depth == 0) {
          const size_t before = at_;
          skip_space(true);
          if (peek() == '|') break;
          at_ = before;
          break;
        }
        skip_space(true);
        continue;
      }
      ALTLAS_TRY(ExpressionPtr one, item(depth));
      ALTLAS_TRY(one, repeated(std::move(one)));
      parts.push_back(std::move(one));
      skip_space(depth > 0);
    }
    return sequence(std::move(parts));
  }

  Result<ExpressionPtr> repeated(ExpressionPtr one) {
    for (size_t levels = 0;; ++levels) {
      uint32_t min = 0, max = kUnlimited;
      if (take("*")) {
      } else if (take("+")) {
        min = 1;
      } else if (take("?")) {
        max = 1;
      } else if (take("{")) {
        ALTLAS_TRY(min, number());
        max = min;
        skip_space(false);
        if (take(",")) {
          skip_space(false);
          max = kUnlimited;
          if (peek() != '}') {
            ALTLAS_TRY(max, number());
          }
        }
        skip_space(false);
        if (!take("}")) return wrong("'}' is missing");
        if (min > max) return wrong("a repetition's minimum is above its maximum");
      } else {
        return one;
      }
      if (levels >= 4) return wrong("more than four repetitions of repetitions");
      one = repeat(std::move(one), min, max);
    }
  }

  Result<uint32_t> number() {
    skip_space(false);
    uint64_t value = 0;
    if (peek() < '0' || peek() > '9') return wrong("a number was expected");
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + static_cast<uint64_t>(text_[at_++] - '0');
      if (value > kRepetitionMax)
        return wrong(fmt::format("repetitions are at most {}", kRepetitionMax));
    }
    skip_space(false);
    return static_cast<uint32_t>(value);
  }

  Result<ExpressionPtr> item(size_t depth) {
    if (take("\"")) return literal();
    if (take("[")) return char_class();
    if (take(".")) return any_character();
    if (take("(")) {
      skip_space(true);
      ALTLAS_TRY(ExpressionPtr inside, alternatives(depth + 1));
      if (!take(")")) return wrong("')' is missing");
      return inside;
    }
    if (peek() == '<' || peek() == '!')
      return wrong("tokens (<…>) are not supported: write their text in quotes");
    const std::string called = name();
    if (called.empty()) return wrong(fmt::format("unexpected '{}'", text_.substr(at_, 1)));
    ALTLAS_TRY(const uint32_t index, rule_named(called));
    return rule(index);
  }

  Result<uint32_t> code_point() {
    if (!take("\\")) {
      const Utf8Char c = decode_utf8(text_.substr(at_));
      at_ += c.length;
      return uint32_t{c.code_point};
    }
    const char c = peek();
    ++at_;
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      switch (c) {
        case 'n':
          return uint32_t{'\n'};
        case 'r':
          return uint32_t{'\r'};
        case 't':
          return uint32_t{'\t'};
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '^':
          return static_cast<uint32_t>(c);
        default:
          return wrong("unknown escape; \\n \\r \\t \\\\ \\\" \\[ \\] \\xFF \\uFFFF are known");
      }
    }
    uint64_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char d = peek();
      const int digit = hex_digit(d);
      if (digit < 0) return wrong("a hexadecimal digit was expected");
      value = value * 16 + static_cast<uint64_t>(digit);
    }
    if (value > kCodePointMax || (value >= 0xD800 && value <= 0xDFFF))
      return wrong("not a code point");
    return static_cast<uint32_t>(value);
  }

  Result<ExpressionPtr> literal() {
    std::string out;
    while (!take("\"")) {
      if (at_ >= text_.size() || peek() == '\n') return wrong("'\"' is missing");
      ALTLAS_TRY(const uint32_t c, code_point());
      append_utf8(out, c);
    }
    return bytes(std::move(out));
  }

  Result<ExpressionPtr> char_class() {
    const bool negated = take("^");
    std::vector<CodeRange> ranges;
    while (!take("]")) {
      if (at_ >= text_.size()) return wrong("']' is missing");
      ALTLAS_TRY(const uint32_t lo, code_point());
      uint32_t hi = lo;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        ALTLAS_TRY(hi, code_point());
      }
      if (lo > hi) return wrong("a range in a class goes from one character up to another");
      ranges.push_back({lo, hi});
    }
    if (ranges.empty() && !negated) return wrong("an empty class");
    return character(negated ? complement(std::move(ranges)) : std::move(ranges));
  }

  const std::string_view text_;
  size_t at_ = 0;
  Rules rules_;
  std::map<std::string, uint32_t> names_;
};

}  // namespace

Result<std::shared_ptr<const Program>> compile_gbnf(std::string_view rules) {
  ALTLAS_TRY(Rules read, Reader(rules).read());
  CompileBudget budget;
  return compile_rules(std::move(read), budget);
}

}  // namespace altlas::text::grammar
