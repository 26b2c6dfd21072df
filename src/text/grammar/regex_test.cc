// Goal: regular expressions compile to the language that they mean. Method: texts inside and
// outside of small languages.
#include "text/grammar/regex.h"

#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar {
namespace {

using testing_support::compiled;
using testing_support::expect_language;
using testing_support::expect_refused;
using testing_support::matches;

TEST(GrammarRegex, RegularExpressions) {
  const auto regex = [](const std::string& p, const std::vector<std::string>& in,
                        const std::vector<std::string>& out) {
    expect_language(GrammarKind::kRegex, p, in, out);
  };
  regex("a*b|c", {"b", "aab", "c"}, {"", "a", "ac", "bb"});
  regex("(ab){2,3}", {"abab", "ababab"}, {"ab", "abababab", "aba"});
  regex("[^a-c\\d]+", {"xyz", "ü", "😀"}, {"", "a", "x1"});
  regex("[a-z]{2,100}", {"ab", std::string(100, 'q')}, {"a", std::string(101, 'q'), "aB"});
  regex("(a|ab){10,20}b?",
        {std::string(10, 'a'), "abababababababababab", std::string(20, 'a') + "b"},
        {std::string(9, 'a'), std::string(22, 'a')});
  regex("x{12,}", {std::string(12, 'x'), std::string(50, 'x')}, {std::string(11, 'x')});
  regex("^ab$", {"ab"}, {"a", "abb", "^ab$"});
  regex("^a|b$", {"a", "b"}, {"ab", ""});
  regex("(?:^x|y)z", {"xz", "yz"}, {"z"});
  regex("a(?<name>b)?\\.\\u0041\\x42", {"ab.AB", "a.AB"}, {"abxAB"});
  regex(".", {"a", "ü", "😀"}, {"", "\n", "ab", "\xC3"});
  regex("\\p{Lu}\\p{Ll}+", {"Ärger", "Ab"}, {"ab", "A"});
  regex("", {""}, {"a"});
  regex("\\S\\W", {"a ", "a-"}, {" a", "ab", "aé"});
  regex("[^\\s][^\\W]", {"ab", "-1"}, {" a", "\u00A0a", "aé", "a-"});
  for (const std::string bad :
       {"(a",     "a)",         "[a",           "a**",      "*a",         "(a)\\1", "a{2,1}",
        "\\b*",   "(?=a)+",     "(?<=^(?=a))b", "b(?=^a)a", "(?>a)",      "(?x)a",  "a(?i)b",
        "(?P=n)", "a{3000000}", "[b-a]",        "\xFF",     "\\p{Greek}", "^*",     "[]"})
    expect_refused(GrammarKind::kRegex, bad, "regular expression");
  EXPECT_TRUE(matches(compiled(GrammarKind::kRegex, escape_regex("a.b[c]\\{}^$|\n/-")),
                      "a.b[c]\\{}^$|\n/-"));
}

TEST(GrammarRegex, SearchFindsMatchesAnywhere) {
  CompileBudget budget;
  const auto search = [&](std::string_view p) { return *search_match(p, budget); };
  EXPECT_TRUE(search("b+").matches("abc"));
  EXPECT_FALSE(search("^b+").matches("abc"));
  EXPECT_TRUE(search("^a|d$").matches("abc"));
  EXPECT_TRUE(search("^a|d$").matches("xd"));
  EXPECT_FALSE(search("^a|d$").matches("xdx"));
  EXPECT_FALSE(search("^$").matches("a"));
  EXPECT_TRUE(search("^$").matches(""));
  EXPECT_TRUE(search("^\\w+$").matches("word"));
  EXPECT_FALSE(search("^\\w+$").matches("two words"));
}

}  // namespace
}  // namespace altlas::text::grammar
