// Goal: GBNF compiles to the language that it means, and what can't be compiled is named. Method:
// texts inside and outside of small languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar {
namespace {

using testing_support::expect_language;
using testing_support::expect_refused;

TEST(Gbnf, RulesAreLanguages) {
  const auto gbnf = [](const std::string& g, const std::vector<std::string>& in,
                       const std::vector<std::string>& out) {
    expect_language(GrammarKind::kGbnf, g, in, out);
  };
  gbnf("root ::= \"a\" b* # comment\nb ::= [x-z] | \"\\n\"", {"a", "axyz", "a\n"}, {"", "ab"});
  gbnf("root ::= (\"a\" |\n \"b\")+\n", {"ab", "a"}, {""});
  gbnf("root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\"",
       {"1+2", "(1+(2+3))+4"}, {"1+", "(1", "()"});
  gbnf("root ::= item{3,5}\nitem ::= \"<\" [^<>]{0,40} \">\"", {"<><a><b>", "<><><><><>"},
       {"<><>", "<><><><><><>", "<a<>><><>"});
  gbnf("root ::= \"x\"\n  | \"y\"", {"x", "y"}, {"z"});
  gbnf("root ::= . . \"\\u00fc\\x41\"", {"😀ÄüA"}, {"aüA"});
  gbnf("root ::= list\nlist ::= \"a\" list | \"\"", {"", "aaaa", std::string(5000, 'a')}, {"b"});
  gbnf("root ::= ws \"x\" ws\nws ::= \" \"? ws2\nws2 ::= \"\\t\"*", {"x", " x\t", "\tx "}, {"  x"});
  const auto refused = [](const std::string& g, const std::string& reason) {
    expect_refused(GrammarKind::kGbnf, g, reason);
  };
  refused("root ::= root \"a\" | \"b\"", "left recursion");
  refused("root ::= a \"x\"\na ::= \"b\"? root | \"c\"", "left recursion");
  refused("root ::= b", "not defined");
  refused("a ::= \"x\"", "'root' is missing");
  refused("root ::= \"x", "missing");
  refused("root ::= \"a\"\nroot ::= \"b\"", "twice");
  refused("root ::= \"a\" root", "never end");
  refused("root = x", "'::='");
  refused("root ::= <tool>", "tokens");
  refused("root ::= [z-a]", "range");
  refused(std::string(500, '(') + "a", "");
  refused("root ::= " + std::string(200, '('), "deeper");
}

}  // namespace
}  // namespace altlas::text::grammar
