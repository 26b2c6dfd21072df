#include "text/grammar/regex.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/utf8.h"
#include "text/grammar/categories.h"
#include "text/grammar/program.h"

namespace altlas::text::grammar {

namespace {

using Ranges = std::vector<CodeRange>;

const Ranges kDigit{{'0', '9'}};
const Ranges kWord{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Ranges kSpace{{'\t', '\r'}, {' ', ' '}};
const Ranges kLineEnds{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

// The limit for one pattern's classes together: \p{L} has 650 ranges in five bytes.
constexpr size_t kRangesMax = 1'000'000;

void append(Ranges& to, const Ranges& from) { to.insert(to.end(), from.begin(), from.end()); }

// Returns \D, \W or \S: characters that are outside of the class both in ASCII and in Unicode.
Ranges opposite(char name) {
  static const Ranges kNotDigit = complement(category_ranges({"Nd"}));
  static const Ranges kNotWord = [] {
    Ranges all = category_ranges({"L", "N", "M"});
    append(all, kWord);
    return complement(all);
  }();
  static const Ranges kNotSpace = [] {
    Ranges all = category_ranges({"Z"});
    append(all, {{'\t', '\r'}, {0x1C, 0x20}, {0x85, 0x85}, {0xFEFF, 0xFEFF}});
    return complement(all);
  }();
  return name == 'D' ? kNotDigit : name == 'W' ? kNotWord : kNotSpace;
}

using CasePairs = std::vector<std::pair<uint32_t, uint32_t>>;

// Returns the pairs of code points that differ in case only, both ways, sorted: those of every
// dialect, or with `wide` those of any.
CasePairs case_pairs(bool wide) {
  std::map<uint32_t, std::set<uint32_t>> others;
  for (uint32_t c = 0; c <= kCodePointMax; ++c) {
    const auto code = static_cast<utf8proc_int32_t>(c);
    for (const utf8proc_int32_t other : {utf8proc_tolower(code), utf8proc_toupper(code)}) {
      if (other == code || other < 0) continue;
      const bool same = utf8proc_tolower(other) == utf8proc_tolower(code) &&
                        utf8proc_toupper(other) == utf8proc_toupper(code) &&
                        (code < 0x80) == (other < 0x80);
      if (!same && !wide) continue;
      others[c].insert(static_cast<uint32_t>(other));
      others[static_cast<uint32_t>(other)].insert(c);
    }
  }
  CasePairs out;
  for (const auto& [c, near] : others) {
    std::set<uint32_t> all = near;  // K, k and the Kelvin sign, for example, are three.
    for (const uint32_t other : near) all.insert(others[other].begin(), others[other].end());
    for (const uint32_t other : all) out.emplace_back(c, other);
  }
  return out;
}

// Returns the ranges together with what differs from them in case only.
Ranges with_other_case(const Ranges& ranges, bool wide) {
  static const CasePairs kNarrow = case_pairs(false);
  static const CasePairs kWide = case_pairs(true);
  const CasePairs& pairs = wide ? kWide : kNarrow;
  Ranges out = ranges;
  for (const CodeRange& range : ranges) {
    auto at = std::ranges::lower_bound(pairs, range.lo, {}, &CasePairs::value_type::first);
    for (; at != pairs.end() && at->first <= range.hi; ++at)
      out.push_back({at->second, at->second});
  }
  return out;
}

class Reader {
 public:
  // `at_start`: the pattern begins where the text does.
  Reader(std::string_view text, bool at_start) : text_(text), at_start_(at_start) {}

  Result<ExpressionPtr> read() {
    if (text_.size() > kGrammarBytesMax) return wrong("the pattern is too long");
    if (!is_valid_utf8(text_)) return wrong("the pattern is not valid UTF-8");
    // Python's flags for the whole pattern are at its start.
    while (peek() == '(' && peek(1) == '?' && is_flag(peek(2))) {
      const size_t start = at_;
      const Flags before = flags_;
      at_ += 2;
      ALTLAS_TRY_VOID(flags());
      if (take(")")) continue;
      at_ = start;  // It is a group, (?i:…).
      flags_ = before;
      break;
    }
    ALTLAS_TRY(ExpressionPtr all, alternatives(0));
    if (at_ < text_.size()) return wrong("')' has no '('");
    return all;
  }

 private:
  Error wrong(std::string_view what) const {
    return invalid(fmt::format("regular expression, at byte {}: {}", at_, what));
  }
  // The error for a pattern that is valid but can't be held here.
  Error unsupported(std::string_view what) const {
    return Error(ErrorCode::kUnsupported, wrong(what).message());
  }
  bool more() const { return at_ < text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  uint32_t take_code_point() {
    const Utf8Char c = decode_utf8(text_.substr(at_));
    at_ += c.length;
    return c.code_point;
  }

  struct Flags {
    bool any_case = false;    // i
    bool dot_is_all = false;  // s
    bool lines = false;       // m
  };
  static bool is_flag(char c) { return std::string_view("aimsux-").contains(c) && c != '\0'; }

  // Reads letters up to ")" or ":".
  Result<void> flags() {
    bool on = true;
    while (is_flag(peek())) {
      const char c = text_[at_++];
      if (c == '-') on = false;
      if (c == 'i') flags_.any_case = on;
      if (c == 's') flags_.dot_is_all = on;
      if (c == 'm') flags_.lines = on;
      if (c == 'x') return unsupported("the flag x is not supported");
    }
    return {};
  }

  // Reads what follows "(?": a group's kind, its inside, and ")".
  Result<ExpressionPtr> special_group(size_t depth) {
    const Flags before = flags_;
    std::optional<Assertion> look;
    if (take("#")) {
      while (more() && peek() != ')') ++at_;
      if (!take(")")) return wrong("')' is missing");
      return sequence({});
    }
    if (take("=")) {
      look = Assertion::kAhead;
    } else if (take("!")) {
      look = Assertion::kNotAhead;
    } else if (take("<=")) {
      look = Assertion::kBehind;
    } else if (take("<!")) {
      look = Assertion::kNotBehind;
    } else if (take("P<") || take("<")) {
      while (more() && peek() != '>') ++at_;
      if (!take(">")) return wrong("'>' of a group's name is missing");
    } else if (is_flag(peek())) {
      ALTLAS_TRY_VOID(flags());
      if (peek() == ')')
        return unsupported("flags without a group are not supported but at the start");
      if (!take(":")) return wrong("':' is missing after flags");
    } else if (!take(":")) {
      return unsupported("back-references by name, conditions and atomic groups are not supported");
    }
    if (look && in_look_ > 0 && in_look_behind_)
      return unsupported("look-around in look-behind is not supported");
    const bool behind = look == Assertion::kBehind || look == Assertion::kNotBehind;
    if (behind && in_look_ > 0) return unsupported("look-behind in look-ahead is not supported");
    if (behind) at_start_ = false;  // It looks at what was before.
    in_look_ += look.has_value();
    in_look_behind_ = in_look_behind_ || behind;
    ALTLAS_TRY(ExpressionPtr inside, alternatives(depth + 1));
    in_look_ -= look.has_value();
    if (behind) in_look_behind_ = false;
    flags_ = before;
    if (!take(")")) return wrong("')' is missing");
    return look ? assertion(*look, std::move(inside)) : inside;
  }

  // Reads ^ or $, which with the flag m also match at line ends.
  Result<ExpressionPtr> text_mark(bool begin) {
    if (begin && at_start_) return sequence({});  // It holds here anyway.
    if (begin && in_look_ > 0 && !in_look_behind_)
      return unsupported("^ in look-ahead is not supported");
    if (!begin && in_look_behind_) return unsupported("$ in look-behind is not supported");
    const ExpressionPtr mark = symbol(begin ? kTextBegin : kTextEnd);
    if (!flags_.lines) {
      at_start_ = begin && !in_look_behind_;
      return mark;
    }
    if (in_look_ > 0) return unsupported("the flag m in look-around is not supported");
    const auto line_end = character({{'\n', '\n'}});
    return choice({mark, assertion(begin ? Assertion::kBehind : Assertion::kAhead, line_end)});
  }

  Result<ExpressionPtr> alternatives(size_t depth) {
    if (depth > kGrammarNestingMax)
      return wrong(fmt::format("groups lie deeper than {}", kGrammarNestingMax));
    std::vector<ExpressionPtr> parts;
    const bool start = at_start_;
    bool ends_at_start = true;  // Whether every alternative ends at the start.
    do {
      at_start_ = start;
      std::vector<ExpressionPtr> run;
      while (more() && peek() != '|' && peek() != ')') {
        ALTLAS_TRY(ExpressionPtr one, repeated(depth));
        run.push_back(std::move(one));
      }
      parts.push_back(sequence(std::move(run)));
      ends_at_start = ends_at_start && at_start_;
    } while (take("|"));
    at_start_ = ends_at_start;
    return choice(std::move(parts));
  }

  Result<ExpressionPtr> repeated(size_t depth) {
    const bool at_start = at_start_;
    const bool mark = peek() == '^' || (peek() == '\\' && peek(1) == 'A');
    ALTLAS_TRY(ExpressionPtr one, atom(depth));
    if (one->kind == Expression::Kind::kAssertion) at_start_ = at_start;
    size_t levels = 0;
    while (more()) {
      uint32_t min = 0, max = kUnlimited;
      if (take("*")) {
      } else if (take("+")) {
        min = 1;
      } else if (take("?")) {
        max = 1;
      } else if (peek() == '{' && peek(1) >= '0' && peek(1) <= '9') {
        ALTLAS_TRY_VOID(counts(min, max));
      } else {
        break;
      }
      if (mark || one->kind == Expression::Kind::kSymbol ||
          one->kind == Expression::Kind::kAssertion)
        return wrong("^, $, \\b and look-around can't be repeated");
      if (++levels > 1) return wrong("a repetition of a repetition needs a group: (a*)*");
      if (peek() == '+') return unsupported("possessive repetitions are not supported");
      take("?");  // A lazy repetition has the same texts.
      if (min == 0) at_start_ = at_start_ && at_start;
      one = repeat(std::move(one), min, max);
    }
    return one;
  }

  Result<uint32_t> number() {
    uint64_t value = 0;
    if (peek() < '0' || peek() > '9') return wrong("a number was expected");
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + static_cast<uint64_t>(text_[at_++] - '0');
      if (value > kRepetitionMax)
        return wrong(fmt::format("repetitions are at most {}", kRepetitionMax));
    }
    return static_cast<uint32_t>(value);
  }

  Result<void> counts(uint32_t& min, uint32_t& max) {
    ++at_;
    ALTLAS_TRY(min, number());
    max = min;
    if (take(",")) {
      max = kUnlimited;
      if (peek() != '}') {
        ALTLAS_TRY(max, number());
      }
    }
    if (!take("}")) return wrong("'}' is missing");
    if (min > max) return wrong("a repetition's minimum is above its maximum");
    return {};
  }

  Result<ExpressionPtr> atom(size_t depth) {
    if (take("(?")) return special_group(depth);
    if (take("(")) {
      const Flags before = flags_;
      ALTLAS_TRY(ExpressionPtr inside, alternatives(depth + 1));
      flags_ = before;
      if (!take(")")) return wrong("')' is missing");
      return inside;
    }
    if (take("^") || take("\\A")) return text_mark(/*begin=*/true);
    if (take("\\Z") || take("\\z")) return text_end();
    if (take("$")) return text_mark(/*begin=*/false);
    for (const char kind : {'b', 'B'}) {
      if (peek() != '\\' || peek(1) != kind) continue;
      if (in_look_behind_) return unsupported("\\b in look-behind is not supported");
      at_ += 2;
      return assertion(kind == 'b' ? Assertion::kWordEdge : Assertion::kNoWordEdge);
    }
    at_start_ = false;  // Everything else is a character.
    if (take(".")) return flags_.dot_is_all ? any_character() : character(complement(kLineEnds));
    if (take("[")) {
      ALTLAS_TRY(const Ranges ranges, char_class());
      return character(ranges);
    }
    if (take("\\")) {
      ALTLAS_TRY(const Ranges ranges, escape(/*in_class=*/false, /*negated=*/false));
      return character(in_any_case(ranges, /*negated=*/false));
    }
    if (peek() == '*' || peek() == '+' || peek() == '?') return wrong("nothing to repeat");
    const uint32_t c = take_code_point();
    return character(in_any_case({{c, c}}, /*negated=*/false));
  }

  Result<ExpressionPtr> text_end() {
    if (in_look_behind_) return unsupported("\\Z in look-behind is not supported");
    return symbol(kTextEnd);
  }

  // Applies the flag i. A negated class leaves out more with it, not less.
  Ranges in_any_case(Ranges ranges, bool negated) const {
    return flags_.any_case ? with_other_case(ranges, negated) : ranges;
  }

  Result<uint32_t> hex(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = peek();
      const int digit = hex_digit(c);
      if (digit < 0) return wrong("a hexadecimal digit was expected");
      value = value * 16 + static_cast<uint32_t>(digit);
      ++at_;
    }
    return value;
  }

  Result<uint32_t> unicode_escape() {
    uint32_t value = 0;
    if (take("{")) {
      size_t digits = 0;
      while (digits < 6 && digits + at_ < text_.size() && peek(digits) != '}') ++digits;
      if (digits == 0) return wrong("a code point was expected");
      ALTLAS_TRY(value, hex(digits));
      if (!take("}")) return wrong("'}' is missing");
    } else {
      ALTLAS_TRY(value, hex(4));
      if (value >= 0xD800 && value < 0xDC00 && take("\\u")) {
        ALTLAS_TRY(const uint32_t low, hex(4));
        if (low < 0xDC00 || low > 0xDFFF) return wrong("half of a surrogate pair");
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (value > kCodePointMax) return wrong("code points end at 10FFFF");
    return value;
  }

  // Reads what follows a backslash. A negated class must leave out more, not less.
  Result<Ranges> escape(bool in_class, bool negated) {
    ALTLAS_TRY(Ranges made, escape_now(in_class, negated));
    ranges_ += made.size();
    if (ranges_ > kRangesMax)
      return wrong("its classes have more than a million ranges: name them fewer times");
    return made;
  }

  Result<Ranges> escape_now(bool in_class, bool negated) {
    if (!more()) return wrong("the pattern ends with a backslash");
    const auto one = [](uint32_t c) { return Ranges{{c, c}}; };
    const char c = peek();
    if (static_cast<uint8_t>(c) >= 0x80) return one(take_code_point());
    ++at_;
    switch (c) {
      case 'd':
        return negated ? complement(opposite('D')) : kDigit;
      case 'w':
        return negated ? complement(opposite('W')) : kWord;
      case 's':
        return negated ? complement(opposite('S')) : kSpace;
      case 'D':
        return negated ? complement(kDigit) : opposite(c);
      case 'W':
        return negated ? complement(kWord) : opposite(c);
      case 'S':
        return negated ? complement(kSpace) : opposite(c);
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'x': {
        ALTLAS_TRY(const uint32_t value, hex(2));
        return one(value);
      }
      case 'u': {
        ALTLAS_TRY(const uint32_t value, unicode_escape());
        return one(value);
      }
      case 'c': {
        const char letter = peek();
        if (!((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z')) return wrong("\\c needs a letter");
        ++at_;
        return one(static_cast<uint32_t>(letter) % 32);
      }
      case 'p':
      case 'P':
        return property(c == 'P');
      case 'b':
        if (in_class) return one('\b');
        break;
      default:
        break;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9');
    if (letter) return unsupported(fmt::format("\\{} is not supported", c));
    return one(static_cast<uint32_t>(c));
  }

  Result<Ranges> property(bool negated) {
    if (!take("{")) return wrong("\\p needs a category: \\p{L}");
    std::string name;
    while (more() && peek() != '}' && name.size() < 64) name += text_[at_++];
    if (!take("}")) return wrong("'}' is missing");
    static const std::map<std::string, std::string, std::less<>> kLong{{"Letter", "L"},
                                                                       {"Lowercase_Letter", "Ll"},
                                                                       {"Uppercase_Letter", "Lu"},
                                                                       {"Number", "N"},
                                                                       {"Decimal_Number", "Nd"},
                                                                       {"digit", "Nd"},
                                                                       {"Punctuation", "P"},
                                                                       {"Symbol", "S"},
                                                                       {"Separator", "Z"},
                                                                       {"Space_Separator", "Zs"},
                                                                       {"Mark", "M"}};
    for (const std::string_view prefix : {"General_Category=", "gc="})
      if (name.starts_with(prefix)) name.erase(0, prefix.size());
    if (const auto found = kLong.find(name); found != kLong.end()) name = found->second;
    constexpr std::string_view kMajor = "LMNPSZC";
    const bool known = !name.empty() && name.size() <= 2 && kMajor.contains(name[0]) &&
                       (name.size() == 1 || (name[1] >= 'a' && name[1] <= 'z'));
    if (!known) return unsupported("only general categories are supported after \\p: L, Lu, Nd, …");
    Ranges ranges = category_ranges({name});
    return negated ? complement(ranges) : ranges;
  }

  Result<Ranges> char_class() {
    const bool negated = take("^");
    Ranges all;
    bool first = true;
    while (true) {
      if (!more()) return wrong("']' is missing");
      // An empty class is ECMA's, but Python takes ] as a literal there. It is refused, since the
      // two disagree.
      if (take("]")) {
        if (first) return wrong("an empty class; write \\] for the bracket");
        break;
      }
      first = false;
      ALTLAS_TRY(const Ranges low, class_member(negated));
      const bool range = peek() == '-' && peek(1) != ']' && at_ + 1 < text_.size();
      if (!range) {
        append(all, low);
        continue;
      }
      ++at_;
      ALTLAS_TRY(const Ranges high, class_member(negated));
      if (low.size() != 1 || low[0].lo != low[0].hi || high.size() != 1 ||
          high[0].lo != high[0].hi || low[0].lo > high[0].lo)
        return wrong("a range in a class goes from one character up to another");
      all.push_back({low[0].lo, high[0].hi});
    }
    all = in_any_case(std::move(all), negated);
    return negated ? complement(all) : all;
  }

  Result<Ranges> class_member(bool negated) {
    if (take("\\")) return escape(/*in_class=*/true, negated);
    const uint32_t c = take_code_point();
    return Ranges{{c, c}};
  }

  const std::string_view text_;
  size_t at_ = 0;
  Flags flags_;
  size_t ranges_ = 0;  // The ranges of all classes that escapes stand for.
  size_t in_look_ = 0;
  bool in_look_behind_ = false;
  bool at_start_ = false;  // The position is surely the text's begin.
};

// Whether the expression asks for the text's ends or for what is around it: rules can't hold that.
bool has_marks(const Expression& e) {
  return e.kind == Expression::Kind::kSymbol || e.kind == Expression::Kind::kAssertion ||
         std::ranges::any_of(e.parts, [](const ExpressionPtr& part) { return has_marks(*part); });
}

}  // namespace

Result<ExpressionPtr> read_regex(std::string_view pattern, bool at_start) {
  return Reader(pattern, at_start).read();
}

Result<Automaton> whole_match(std::string_view pattern, CompileBudget& budget) {
  ALTLAS_TRY(ExpressionPtr inside, read_regex(pattern, /*at_start=*/true));
  // ^ and $ of the pattern itself match at the marks.
  const auto all = sequence({optional(symbol(kTextBegin)), inside, optional(symbol(kTextEnd))});
  ALTLAS_TRY(const Automaton found, automaton_of(*all, budget));
  const auto marks =
      sequence({symbol(kTextBegin), repeat(any_character(), 0, kUnlimited), symbol(kTextEnd)});
  ALTLAS_TRY(const Automaton framed, automaton_of(*marks, budget));
  ALTLAS_TRY(const Automaton both, intersect(found, framed, budget));
  return between_marks(both, budget);
}

Result<Automaton> search_match(std::string_view pattern, CompileBudget& budget) {
  ALTLAS_TRY(const ExpressionPtr inside, read_regex(pattern, /*at_start=*/false));
  return search_match(inside, budget);
}

Result<Automaton> search_match(const ExpressionPtr& inside, CompileBudget& budget) {
  const auto any = repeat(any_character(), 0, kUnlimited);
  // Before the match, and after it, the mark and the text up to it are there as a whole or not at
  // all.
  const auto before = optional(sequence({symbol(kTextBegin), any}));
  const auto after = optional(sequence({any, symbol(kTextEnd)}));
  ALTLAS_TRY(const Automaton found, automaton_of(*sequence({before, inside, after}), budget));
  const auto marks = sequence({symbol(kTextBegin), any, symbol(kTextEnd)});
  ALTLAS_TRY(const Automaton framed, automaton_of(*marks, budget));
  ALTLAS_TRY(const Automaton both, intersect(found, framed, budget));
  ALTLAS_TRY(const Automaton plain, between_marks(both, budget));
  return minimize(plain, budget);
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-/").contains(c)) out += '\\';
    out += c;
  }
  return out;
}

Result<std::shared_ptr<const Program>> compile_regex(std::string_view pattern) {
  CompileBudget budget;
  const auto read = read_regex(pattern, /*at_start=*/true);
  if (!read.ok()) return invalid(read.error().message());
  ExpressionPtr inside = *read;
  // ^ first and $ last hold anyway.
  if (inside->kind == Expression::Kind::kSequence) {
    std::vector<ExpressionPtr> parts = inside->parts;
    const auto is = [](const ExpressionPtr& part, uint32_t mark) {
      return part->kind == Expression::Kind::kSymbol && part->rule == mark;
    };
    if (!parts.empty() && is(parts.front(), kTextBegin)) parts.erase(parts.begin());
    if (!parts.empty() && is(parts.back(), kTextEnd)) parts.pop_back();
    inside = sequence(std::move(parts));
  }
  Rules rules;
  rules.add("pattern");
  // Rules can't hold marks elsewhere. Without any, large repetitions are counted at run time.
  if (!has_marks(*inside)) {
    rules.rules[0].expression = std::move(inside);
  } else {
    ALTLAS_TRY(Automaton automaton, whole_match(pattern, budget));
    rules.rules[0].expression = embed(std::move(automaton));
  }
  return compile_rules(std::move(rules), budget);
}

}  // namespace altlas::text::grammar
