// Goal: caches, depth and ambiguity have limits, and forgetting changes nothing. Method: grammars
// that need more than each limit.
#include "text/grammar/configurations.h"

#include <gtest/gtest.h>

#include <chrono>

#include "text/grammar/matcher.h"
#include "text/grammar/test_grammar.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text::grammar {
namespace {

using testing_support::compiled;
using testing_support::matches;
using testing_support::tokenizer_of;

// Goal: a full cache is forgotten, and the text goes on. Method: every round of a counted
// repetition is a configuration of its own.
TEST(Configurations, ForgottenCachesChangeNothing) {
  const auto tokenizer = tokenizer_of(text::testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer);
  const auto program = compiled(GrammarKind::kRegex, "a{150000}b");
  const auto grammar = std::make_shared<TokenGrammar>(program, trie);
  Matcher matcher(grammar);
  Matcher copy = matcher;  // The copy keeps its place while the cache is made anew.
  for (int i = 0; i < 150; ++i) {
    ASSERT_TRUE(matcher.accept_bytes(std::string(1000, 'a')));
    ASSERT_LE(grammar->bytes(), kMatchCacheBytesMax + (4u << 20));
  }
  EXPECT_FALSE(matcher.accept_bytes("a"));
  EXPECT_TRUE(matcher.accept_bytes("b"));
  EXPECT_TRUE(matcher.is_final() && !matcher.can_go_on());
  EXPECT_FALSE(copy.accept_bytes("b"));
  EXPECT_TRUE(copy.accept_bytes("a"));
}

// Goal: nested rules end at the limit of depth, and what was opened can be closed.
TEST(Configurations, DepthHasALimit) {
  const auto program = compiled(GrammarKind::kGbnf, "root ::= \"(\" root \")\" | \"x\"");
  const std::string open(kStackDepthMax / 2, '('), close(kStackDepthMax / 2, ')');
  EXPECT_TRUE(matches(program, open + "x" + close));
  EXPECT_FALSE(matches(program, open + "x" + close + ")"));
  const std::string deep(2 * kStackDepthMax, '(');
  EXPECT_FALSE(matches(program, deep + "x" + std::string(2 * kStackDepthMax, ')')));
}

// Goal: an ambiguous grammar is given up, rather than computed for minutes.
TEST(Configurations, AmbiguityHasALimit) {
  const auto tokenizer = tokenizer_of(text::testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer);
  std::string rules = "root ::= a a a a a a a a\na ::= b* c* b*\nb ::= c? \"a\"{0,30} c?\nc ::= ";
  for (int i = 0; i < 300; ++i) rules += i == 0 ? "[a-z]" : " | [a-z] [a-z]?";
  const auto program = compile(altlas::Grammar{GrammarKind::kGbnf, rules});
  ASSERT_TRUE(program.ok()) << program.error().message();
  Matcher matcher(std::make_shared<TokenGrammar>(*program, trie));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20 && matcher.accept_bytes("a"); ++i) matcher.allowed(true);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

}  // namespace
}  // namespace altlas::text::grammar
