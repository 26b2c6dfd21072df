// Goal: word edges, look-around and flags are held exactly, where Python and ECMA-262 agree.
// Method: texts that re.search takes (tests/test_structured.py checks that) and texts that it does
// not take.
#include "text/grammar/look_around.h"

#include <gtest/gtest.h>

#include "text/grammar/regex.h"
#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar {
namespace {

using testing_support::expect_language;

TEST(LookAround, WordEdgesAndFlags) {
  struct Row {
    std::string pattern;
    std::vector<std::string> in, out;
  };
  const Row rows[] = {
      {"\\bcat\\b",
       {"cat", "a cat.", "“cat”", "cat\n"},
       {"cats", "concat", "_cat", "1cat", "écat", "ca t"}},
      {"^\\w+\\b \\b\\w+$", {"two words", "a b"}, {"two  words", "two", "two "}},
      {"o\\B", {"ox", "foo bar"}, {"o", "fo", "o o"}},
      {"^\\B", {" a", "-"}, {"a", ""}},
      {"\\b\\b\\bx(?:\\b|y)\\b", {"x", "xy", "a x b"}, {"xz", "ax"}},
      {"(?i)straße", {"STRAßE", "straße"}, {"STRASSE", "trase"}},
      {"(?i)^[a-c]K$", {"ak", "BK", "ck"}, {"dk", "a\u212A"}},
      {"(?i)^[^k]$", {"a", "Z", "é"}, {"k", "K", "\u212A"}},
      {"(?i:ab)c", {"ABc", "aBc"}, {"ABC"}},
      {"^(?i:x)(?-i:y)$", {"Xy", "xy"}, {"XY"}},
      {"(?s)^a.b$", {"a\nb", "axb"}, {"ab"}},
      {"(?m)^b$", {"b", "a\nb\nc", "a\nb"}, {"ab", "bc"}},
      {"^(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d]{4,6}$",
       {"aB1c", "1AAAAA"},
       {"abc1", "ABCD", "aB1", "aB1cdef", "aB1!"}},
      {"^(?!.*--)[a-z-]+$", {"a-b", "-a-"}, {"a--b", "--", ""}},
      {"^(?!(?:foo|bar)$)\\w+$", {"foot", "ba", "x"}, {"foo", "bar"}},
      {"^(?:(?!ab).)*$", {"", "ba", "aa"}, {"ab", "xaby"}},
      {"\\d+(?= EUR)", {"12 EUR", "x 3 EUR"}, {"12 USD", " EUR"}},
      {"(?<=\\$)\\d+", {"$5", "a $12"}, {"5", "€5"}},
      {"(?<!\\d)7(?!\\d)", {"7", "a7b", "17 7"}, {"17", "77", "071"}},
      {"^(?=(?!b).)(?=\\w\\b)", {"a", "c d"}, {"b", "ab", ""}},
      {"\\A[ab]+\\Z", {"ab"}, {"abc", ""}},
      // Pydantic's patterns of a Decimal, without and with a number of places.
      {"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$",
       {"1", "-0.5", "+12.", ".5"},
       {"", "-", "+.", "1.2.3", "x"}},
      {"^(?!^[-+.]*$)[+-]?0*(?:\\d{0,3}|(?=[\\d.]{1,6}0*$)\\d{0,3}\\.\\d{0,2}0*$)",
       {"123", "1.25", "-12.50"},
       {"", ".", "+"}},
      {"^(?=^a|^b).$", {"a", "b"}, {"c", "ab"}},
      {"^(?:(?=^x)|y)\\w$", {"x", "ya"}, {"a", "xa"}},
      {"(?:^(?!^ab)|=)\\w+$", {"ba", "x=ab"}, {"ab", "abc"}},
      {"^^a$", {"a"}, {"aa", "ba"}},
      {"^(?:^|x)a$", {"a", "xa"}, {"ya", "xxa"}},
      {"^(?<=^)a", {"ab"}, {"ba"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.pattern);
    CompileBudget budget;
    const auto made = search_match(row.pattern, budget);
    ASSERT_TRUE(made.ok()) << made.error().message();
    for (const std::string& text : row.in) EXPECT_TRUE(made->matches(text)) << text;
    for (const std::string& text : row.out) EXPECT_FALSE(made->matches(text)) << text;
  }
  // Patterns also hold as rules.
  expect_language(GrammarKind::kRegex, "(?=.*\\d)[a-z\\d]{1,3}", {"a1", "1"}, {"ab", "abc1", ""});
  expect_language(GrammarKind::kRegex, "(?i)yes|no", {"YES", "No"}, {"maybe"});
  expect_language(GrammarKind::kRegex, "(?!^ab$)[ab]+", {"a", "abb"}, {"ab", ""});
  // ^ in a look-ahead is refused if the text's begin may lie before the match.
  CompileBudget budget;
  for (const char* pattern : {"(?=^a)a", "^x*(?=^a)", "^a?(?!^b)", "(?:^|x)(?=^a)a"})
    EXPECT_EQ(search_match(pattern, budget).error().code(), ErrorCode::kUnsupported) << pattern;
}

}  // namespace
}  // namespace altlas::text::grammar
