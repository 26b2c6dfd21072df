// Goal: each notation compiles to the language it means, masks are exactly the tokens that accept()
// takes, and what can't be compiled is named. Method: texts in and out of small languages; masks of
// random walks compared with trying every token, over a small and (where at hand) a real
// vocabulary.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <boost/json.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "base/philox.h"
#include "text/grammar/matcher.h"
#include "text/grammar/program.h"
#include "text/grammar/regex.h"
#include "text/tokenizer/test_vocabulary.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text::grammar {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Program> compiled(GrammarKind kind, std::string text) {
  auto program = compile(altlas::Grammar{kind, text});
  EXPECT_TRUE(program.ok()) << text << ": " << program.error().message();
  return program.ok() ? *program : nullptr;
}

bool matches(const std::shared_ptr<const Program>& program, std::string_view text) {
  Configurations all(program);
  int32_t at = all.start();
  for (const char c : text) at = all.next(at, static_cast<uint8_t>(c));
  return all.at(at).is_final;
}

void expect_language(GrammarKind kind, const std::string& grammar,
                     const std::vector<std::string>& in, const std::vector<std::string>& out) {
  SCOPED_TRACE(grammar);
  const auto program = compiled(kind, grammar);
  ASSERT_NE(program, nullptr);
  for (const std::string& text : in) EXPECT_TRUE(matches(program, text)) << text;
  for (const std::string& text : out) EXPECT_FALSE(matches(program, text)) << text;
}

void expect_refused(GrammarKind kind, const std::string& grammar, const std::string& reason,
                    const std::string& field = "") {
  const auto program = compile(altlas::Grammar{kind, grammar});
  ASSERT_FALSE(program.ok()) << grammar.substr(0, 200);
  EXPECT_EQ(program.error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(program.error().message(), HasSubstr(reason)) << grammar.substr(0, 200);
  if (!field.empty()) {
    EXPECT_EQ(program.error().field(), field);
  }
}

TEST(Grammar, RegularExpressions) {
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
       {"(a",     "a)",         "[a",           "a**",     "*a",         "(a)\\1", "a{2,1}",
        "\\b*",   "(?=a)+",     "(?<=^(?=a))b", "b(?=^a)a", "(?>a)",      "(?x)a",  "a(?i)b",
        "(?P=n)", "a{3000000}", "[b-a]",        "\xFF",    "\\p{Greek}", "^*",     "[]"})
    expect_refused(GrammarKind::kRegex, bad, "regular expression");
  EXPECT_TRUE(matches(compiled(GrammarKind::kRegex, escape_regex("a.b[c]\\{}^$|\n/-")),
                      "a.b[c]\\{}^$|\n/-"));
}

// Goal: word edges, look-around and flags are held exactly, where Python and ECMA-262 agree.
// Method: texts that re.search takes (checked by tests/test_structured.py, too) and texts that it
// does not.
TEST(Grammar, LookAroundWordEdgesAndFlags) {
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
      // Pydantic's of a Decimal, and one with places.
      {"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$", {"1", "-0.5", "+12.", ".5"}, {"", "-", "+.", "1.2.3", "x"}},
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
    Budget budget;
    const auto made = search_match(row.pattern, budget);
    ASSERT_TRUE(made.ok()) << made.error().message();
    for (const std::string& text : row.in) EXPECT_TRUE(made->matches(text)) << text;
    for (const std::string& text : row.out) EXPECT_FALSE(made->matches(text)) << text;
  }
  // As a whole, and in rules.
  expect_language(GrammarKind::kRegex, "(?=.*\\d)[a-z\\d]{1,3}", {"a1", "1"}, {"ab", "abc1", ""});
  expect_language(GrammarKind::kRegex, "(?i)yes|no", {"YES", "No"}, {"maybe"});
  expect_language(GrammarKind::kRegex, "(?!^ab$)[ab]+", {"a", "abb"}, {"ab", ""});
  // Where the text's begin may lie before the match it is not told apart.
  Budget budget;
  for (const char* pattern : {"(?=^a)a", "^x*(?=^a)", "^a?(?!^b)", "(?:^|x)(?=^a)a"})
    EXPECT_EQ(search_match(pattern, budget).error().code(), ErrorCode::kUnsupported) << pattern;
}

TEST(Grammar, SearchFindsMatchesAnywhere) {
  Budget budget;
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

TEST(Grammar, Gbnf) {
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

TEST(Grammar, JsonSchemas) {
  const auto schema = [](const std::string& s, const std::vector<std::string>& in,
                         const std::vector<std::string>& out) {
    expect_language(GrammarKind::kJsonSchema, s, in, out);
  };
  schema("{}",
         {"1", "-0.5e+3", "\"a\\u00e4\\n\"", "[1,{\"a\":[]}]", "{ \"a\": null,\n  \"b\":true}"},
         {"", "01", "[1,]", "{a:1}", "\"\n\"", "\"\\uD800\"", "tru", "1 "});
  schema(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
            "required":["a"],"additionalProperties":false})",
         {R"({"a":1})", R"({"a":-12,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"\"\n}"},
         {"{}", R"({"b":"x"})", R"({"a":1.5})", R"({"a":1,"c":2})", R"({"a":1,})",
          R"({"b":"","a":1})"});
  schema(R"({"type":"object","properties":{"a":true},"additionalProperties":{"type":"null"}})",
         {"{}", R"({"a":5,"b":null})", R"({"aa":null})", R"({"b":null,"c":null})"},
         {R"({"b":1})", R"({"b":null,"a":1})"});
  schema(R"({"type":"object","patternProperties":{"^n":{"type":"integer"},"s$":{"minimum":5}},
             "additionalProperties":false})",
         {R"({"n":1})", R"({"ns":5})", R"({"xs":"any"})"},
         {R"({"ns":4})", R"({"n":"a"})", R"({"y":1})"});
  schema(R"({"type":"integer","minimum":-5,"exclusiveMaximum":120})", {"-5", "0", "119", "7"},
         {"-6", "120", "1.0", "999", "007"});
  schema(R"({"type":"number","minimum":1.5,"maximum":10})", {"1.5", "2", "10", "10.00", "9.999"},
         {"1.49", "10.01", "-2", "1", "100"});
  schema(R"({"type":"number","exclusiveMinimum":-0.25,"exclusiveMaximum":0})", {"-0.1", "-0.2499"},
         {"-0.25", "0", "-1", "0.1", "-0.3"});
  schema(R"({"type":"integer","multipleOf":7,"minimum":10})", {"14", "700"},
         {"7", "15", "0", "-14"});
  schema(R"({"type":"string","minLength":2,"maxLength":30})",
         {"\"ab\"", "\"ü\\n\"", "\"\\ud83d\\ude00x\""},
         {"\"a\"", "\"" + std::string(31, 'x') + "\""});
  schema(R"({"type":"string","pattern":"^[a-z]+\"$","maxLength":5})", {R"("ab\"")"},
         {R"("ab")", R"("abcde\"")"});
  schema(R"({"type":"string","format":"date-time"})", {"\"2026-11-22T03:04:05Z\""},
         {"\"2026-13-22T03:04:05Z\"", "\"2026-02-30T03:04:05Z\""});
  schema(R"({"type":"string","format":"ipv6"})", {"\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"1::8\""},
         {"\"1:2\"", "\"1::2::3\""});
  schema(R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
         {"[1]", "[1,2,3]", "[1, 2]"}, {"[]", "[1,2,3,4]", "[\"a\"]"});
  schema(R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"type":"array"})",
         {"[]", "[1]", "[1,\"a\"]"}, {"[\"a\"]", "[1,\"a\",2]"});
  schema(R"({"enum":[1,"a\"b",null,{"k":[1.5]}]})", {"1", R"("a\"b")", "null", R"({"k":[1.5]})"},
         {"2", "\"a\"", "{}"});
  schema(R"({"type":"string","enum":["a",1,"bb"],"minLength":2})", {"\"bb\""}, {"1", "\"a\""});
  schema(R"({"anyOf":[{"type":"integer"},{"type":"string"}],"not":false,"minimum":3})",
         {"3", "\"a\""}, {"2", "null"});
  schema(R"({"allOf":[{"properties":{"a":{"type":"integer"}}},{"properties":{"a":{"minimum":3}},
             "required":["a"]}],"type":"object"})",
         {R"({"a":3})"}, {R"({"a":2})", "{}"});
  schema(R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],
             "additionalProperties":false}},"$ref":"#/$defs/node"})",
         {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
         {R"({"v":1})", R"({"v":1,"next":{}})"});
  schema(R"({"type":"object","minProperties":1,"maxProperties":2,"properties":{"a":true}})",
         {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"}, {"{}", R"({"a":1,"b":2,"c":3})"});
  schema(R"({"type":"object","propertyNames":{"pattern":"^[ab]+$"},"additionalProperties":true})",
         {R"({"ab":1})", "{}"}, {R"({"c":1})"});
}

TEST(Grammar, ItemsThatDifferAndWhatIsNot) {
  const auto schema = [](const std::string& s, const std::vector<std::string>& in,
                         const std::vector<std::string>& out) {
    expect_language(GrammarKind::kJsonSchema, s, in, out);
  };
  schema(R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b",1,1.0]},"minItems":1})",
         {R"(["a"])", R"(["b","a"])", R"([1,"b", "a"])"},
         {"[]", R"(["a","a"])", R"(["a","b","a"])", R"([1,"a",1])", "[2]"});
  schema(R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b","c"]},"maxItems":2})",
         {"[]", R"(["c"])", R"(["c","a"])"}, {R"(["c","c"])", R"(["a","b","c"])"});
  schema(R"({"type":"array","uniqueItems":true,"items":{"type":"integer"},"maxItems":1})",
         {"[]", "[5]"}, {"[5,6]"});
  schema(R"({"uniqueItems":true,"type":"string"})", {"\"a\""}, {"[]"});
  // Sets of sets: lists of the same values in another order are other lists.
  schema(R"({"type":"array","uniqueItems":true,
             "items":{"type":"array","uniqueItems":true,"items":{"enum":["a","b"]}}})",
         {"[]", R"([["a"],[]])", R"([["a","b"],["b","a"]])"},
         {R"([["a"],["a"]])", R"([["a","a"]])", R"([["a","b"],["a"],["a","b"]])"});
  schema(R"({"type":"array","uniqueItems":true,"minItems":1,"items":{"type":"array",
             "uniqueItems":true,"minItems":1,"maxItems":2,"items":{"type":"integer","minimum":1,
             "maximum":3}}})",
         {"[[1]]", "[[1,2], [2,1]]", "[[3],[1],[3,1]]"},
         {"[]", "[[]]", "[[1,1]]", "[[1,2,3]]", "[[1],[1]]", "[[4]]"});
  schema(R"({"type":"array","uniqueItems":true,"maxItems":2,"items":{"type":"object",
             "properties":{"s":{"type":"array","uniqueItems":true,"prefixItems":[{"const":"x"}],
             "items":{"type":"boolean"}}},"required":["s"],"additionalProperties":false}})",
         {R"([{"s":["x",true]},{"s":["x"]}])", R"([{"s":["x",true,false]}])"},
         {R"([{"s":["x",true,true]}])", R"([{"s":["x"]},{"s":["x"]}])", R"([{"s":[true]}])"});
  // No numbers at all: a fraction is not told from 1.0 while it is being written.
  schema(R"({"not":{"type":["string","integer"]}})", {"null", "[]", "{}", "true"}, {"1", "\"a\""});
  schema(R"({"type":["string","null"],"not":{"type":"null"}})", {"\"a\""}, {"null"});
  schema(R"({"enum":["a","b",3],"not":{"const":"b"}})", {"\"a\"", "3"}, {"\"b\""});
  schema(R"({"enum":["a","b",3],"not":{"enum":[3,"a"]}})", {"\"b\""}, {"\"a\"", "3"});
}

// Goal: unevaluated… follows from the alternatives that hold. Method: small closed objects.
TEST(Grammar, WhatChoicesLeaveUnevaluated) {
  const auto schema = [](const std::string& s, const std::vector<std::string>& in,
                         const std::vector<std::string>& out) {
    expect_language(GrammarKind::kJsonSchema, s, in, out);
    EXPECT_TRUE(compiled(GrammarKind::kJsonSchema, s)->unheld.empty()) << s;
  };
  schema(R"({"type":"object","properties":{"a":{"const":0}},"required":["a"],
             "anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},
                      {"properties":{"c":{"const":2}},"required":["c"]}],
             "unevaluatedProperties":false})",
         {R"({"a":0,"b":1})", R"({"a":0,"c":2})", R"({"a":0,"b":1,"c":2})"},
         {R"({"a":0})", R"({"a":0,"b":1,"d":3})", R"({"a":0,"b":2,"c":2})"});
  schema(R"({"type":"object","oneOf":[{"properties":{"k":{"const":"x"},"b":{"const":1}},
             "required":["k"]},{"properties":{"k":{"const":"y"},"c":{"const":2}},
             "required":["k","c"]}],"unevaluatedProperties":false})",
         {R"({"k":"x"})", R"({"k":"x","b":1})", R"({"k":"y","c":2})"},
         {R"({"k":"x","c":2})", R"({"k":"y","b":1,"c":2})", R"({"k":"y"})"});
  schema(R"({"type":"object","properties":{"k":{"enum":["x","y"]}},"required":["k"],
             "if":{"properties":{"k":{"const":"x"}}},"then":{"properties":{"b":{"const":1}}},
             "else":{"properties":{"c":{"const":2}}},"unevaluatedProperties":false})",
         {R"({"k":"x","b":1})", R"({"k":"y","c":2})", R"({"k":"y"})"},
         {R"({"k":"x","c":2})", R"({"k":"y","b":1})"});
  schema(R"({"$defs":{"cat":{"properties":{"lives":{"const":9}},"required":["lives"]},
             "dog":{"properties":{"tail":{"const":1}},"required":["tail"]}},"type":"object",
             "properties":{"n":{"const":0}},"allOf":[{"anyOf":[{"$ref":"#/$defs/cat"},
             {"$ref":"#/$defs/dog"}]}],"unevaluatedProperties":{"type":"null"}})",
         {R"({"lives":9})", R"({"n":0,"tail":1,"more":null})", R"({"lives":9,"tail":null})"},
         {R"({"n":0})", R"({"tail":1,"more":2})"});
  schema(R"({"type":"array","anyOf":[{"prefixItems":[{"const":1}]},{"prefixItems":[{"const":2},
             {"const":3}]}],"minItems":1,"unevaluatedItems":false})",
         {"[1]", "[2]", "[2,3]"}, {"[]", "[1,3]", "[2,3,4]", "[2,1]"});
  // What a negation says evaluates nothing.
  schema(R"({"type":"object","if":{"required":["b"]},"then":{"properties":{"b":{"const":1}}},
             "else":{"properties":{"c":{"const":2}}},"unevaluatedProperties":false})",
         {"{}", R"({"b":1})", R"({"c":2})"}, {R"({"b":1,"c":2})", R"({"d":1})"});
}

// Goal: dynamic references lead where the document's root says. Method: trees of themselves.
TEST(Grammar, DynamicReferences) {
  const auto schema = [](const std::string& s, const std::vector<std::string>& in,
                         const std::vector<std::string>& out) {
    expect_language(GrammarKind::kJsonSchema, s, in, out);
    EXPECT_TRUE(compiled(GrammarKind::kJsonSchema, s)->unheld.empty()) << s;
  };
  // A tree that a stricter one refers to: its branches are strict, too.
  const std::string strict = R"({"$id":"http://a/strict","$dynamicAnchor":"node","$ref":"tree",
    "unevaluatedProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node",
    "type":"object","properties":{"d":{"type":"integer"},
    "c":{"type":"array","items":{"$dynamicRef":"#node"}}}}}})";
  schema(strict, {"{}", R"({"d":1,"c":[{"d":2},{"c":[]}]})"},
         {R"({"x":1})", R"({"c":[{"x":1}]})", R"({"c":[{"d":"2"}]})"});
  schema(R"({"$dynamicAnchor":"n","type":"object","properties":{"c":{"$dynamicRef":"#n"}},
             "additionalProperties":false})",
         {"{}", R"({"c":{"c":{}}})"}, {R"({"c":1})", R"({"c":{"d":1}})"});
  schema(R"({"$recursiveAnchor":true,"type":"object","properties":{"c":{"$recursiveRef":"#"}},
             "additionalProperties":false})",
         {"{}", R"({"c":{"c":{}}})"}, {R"({"c":1})", R"({"c":{"d":1}})"});
  schema(R"({"$id":"http://a/r","$recursiveAnchor":true,"$ref":"t","required":["v"],"$defs":{
             "t":{"$id":"t","$recursiveAnchor":true,"type":"object","additionalProperties":false,
             "properties":{"v":{"const":1},"c":{"$recursiveRef":"#"}}}}})",
         {R"({"v":1})", R"({"v":1,"c":{"v":1}})"}, {"{}", R"({"v":1,"c":{}})"});
  // Without an anchor of its own it is a reference like another.
  schema(R"({"$id":"http://a/r","$recursiveAnchor":true,"type":"object","properties":{"t":{
             "$id":"t","anyOf":[{"const":1},{"type":"array","items":{"$recursiveRef":"#"}}]}},
             "additionalProperties":false})",
         {"{}", R"({"t":[1,[1]]})"}, {R"({"t":[{}]})"});
}

TEST(Grammar, SchemasThatCantBeHeldAreNamed) {
  using enum Unheld::Why;
  struct Row {
    std::string schema, pointer, reason;
    Unheld::Why why = kUnsupported;
  };
  const Row rows[] = {
      {R"({"type":"int"})", "/type", "should be one", kMalformed},
      {R"({"properties":[]})", "/properties", "should be an object", kMalformed},
      {R"({"minLength":-1})", "/minLength", "whole number", kMalformed},
      {R"({"uniqueItems":"yes"})", "/uniqueItems", "true or false", kMalformed},
      {R"({"anyOf":[{"properties":{"a":7}}]})", "/anyOf/0/properties/a", "a schema should be",
       kMalformed},
      {R"({"not":{"type":"text"}})", "/not/type", "should be one", kMalformed},
      {R"({"$ref":"#/$defs/none"})", "/$ref", "names nothing", kMalformed},
      {R"({"properties":{"a/b":{"pattern":"(a"}}})", "/properties/a~1b/pattern", "missing",
       kMalformed},
      {R"({"properties":{"a":{"type":"array","uniqueItems":true}}})", "/properties/a/uniqueItems",
       "'uniqueItems'"},
      {R"({"not":{"patternProperties":{"a":{}}}})", "/not", "'not' can't be held"},
      {R"({"not":{"const":[3]}})", "/not", "'not' can't be held"},
      {R"({"if":{"propertyNames":{"maxLength":3}},"then":{}})", "/if", "'if' can't be held"},
      {R"({"type":"object","dependentSchemas":{"a":{"properties":{"b":{}}}},
           "unevaluatedProperties":false})",
       "/unevaluatedProperties", "beside dependentSchemas"},
      {R"({"type":"array","contains":{"const":1},"unevaluatedItems":false})", "/unevaluatedItems",
       "contains"},
      {R"({"$ref":"#/$defs/l","$defs":{"l":{"$id":"l","type":"object","properties":{
           "c":{"$dynamicRef":"#x"}},"$defs":{"o":{"$dynamicAnchor":"x"}}},
           "m":{"$id":"m","$dynamicAnchor":"x"}}})",
       "/$defs/l/properties/c/$dynamicRef", "names nothing"},
      {R"({"type":"array","uniqueItems":true,"items":{"type":"array","uniqueItems":true,
           "items":{"type":"string"}}})",
       "/uniqueItems", "'uniqueItems'"},
      {R"({"$ref":"http://example.com/x"})", "/$ref", "names nothing"},
      {R"x({"items":{"pattern":"(a)\\1"}})x", "/items/pattern", "not supported"},
      {R"({"minProperties":70,"type":"object"})", "/minProperties", "at most 64 members"},
      {R"({"multipleOf":0.0000001234567})", "/multipleOf", "'multipleOf' is supported"},
      {R"x({"type":"string","pattern":"(a{1,500}b{1,500}){1,500}"})x", "/pattern", "", kTooComplex},
      {R"({"type":"string","pattern":".*a.{20}b","maxLength":3000})", "/pattern", "", kTooComplex},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.schema);
    const auto program = compiled(GrammarKind::kJsonSchema, row.schema);
    ASSERT_NE(program, nullptr);
    ASSERT_EQ(program->unheld.size(), 1u);
    EXPECT_EQ(program->unheld[0].pointer, row.pointer);
    EXPECT_THAT(program->unheld[0].reason, HasSubstr(row.reason));
    EXPECT_EQ(program->unheld[0].why, row.why);
  }
  const auto refused = [](const std::string& s, const std::string& reason) {
    expect_refused(GrammarKind::kJsonSchema, s, reason);
  };
  refused("{", "not valid JSON");
  refused("[]", "should be an object");
  refused("false", "no value");
  refused(R"({"type":"array","uniqueItems":true,"items":{"enum":[1,2]},"minItems":3})",
          "no text matches");
  refused(R"({"type":"integer","minimum":5,"maximum":3})", "no text matches");
  refused(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "never end");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += R"({"items":)";
  refused(deep, "not valid JSON");
  refused(std::string(kGrammarBytesMax + 1, ' '), "at most");
}

std::unique_ptr<const Tokenizer> tokenizer_of(Vocabulary vocabulary) {
  auto made = Tokenizer::create(std::move(vocabulary));
  EXPECT_TRUE(made.ok());
  return *std::move(made);
}

const std::vector<altlas::Grammar>& samples() {
  static const std::vector<altlas::Grammar> all{
      {GrammarKind::kJsonObject, ""},
      {GrammarKind::kJsonSchema, R"({"type":"array","items":{"type":"string","maxLength":3},
                                     "minItems":2,"maxItems":20})"},
      {GrammarKind::kJsonSchema, R"({"type":"object","properties":{"name":{"type":"string",
         "minLength":3,"maxLength":200},"id":{"type":"integer","minimum":1,"maximum":99},
         "tags":{"type":"array","items":{"enum":["x","yy","zzz"]},"maxItems":3}},
         "required":["name","tags"]})"},
      {GrammarKind::kRegex, "(ab|[0-9]{3,30})*c{9,12}(a|b|c)"},
      {GrammarKind::kRegex, "([a-c]{1,10}){9,11}[ab]x"},
      {GrammarKind::kGbnf, "root ::= (\"a\" root \"b\")? [ab]{0,12}"},
  };
  return all;
}

// Walks at random along allowed tokens; calls `at` before each with what was said so far.
template <class At>
std::string walk(const std::shared_ptr<TokenGrammar>& grammar, const Tokenizer& tokenizer,
                 uint64_t seed, int tokens, At&& at) {
  PhiloxStream random{.seed = seed};
  Matcher matcher(grammar);
  std::string text;
  for (int i = 0; i < tokens; ++i) {
    const TokenMaskPtr mask = matcher.allowed(false);
    at(matcher, mask, text);
    std::vector<int32_t> ids;
    for (size_t w = 0; w < mask->size(); ++w)
      for (uint64_t bits = (*mask)[w]; bits != 0; bits &= bits - 1)
        ids.push_back(static_cast<int32_t>(w * 64) + std::countr_zero(bits));
    if (ids.empty() || (matcher.is_final() && random.below(8) == 0)) break;
    const int32_t id = ids[random.below(ids.size())];
    EXPECT_TRUE(matcher.accept(id));
    text += tokenizer.token_bytes(id);
  }
  return text;
}

// Goal: a mask has exactly the tokens that can be accepted. Method: every token is tried.
TEST(Grammar, MasksAreWhatAcceptTakes) {
  const auto tokenizer = tokenizer_of(testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer, 1000);
  for (const altlas::Grammar& sample : samples()) {
    const auto grammar = std::make_shared<TokenGrammar>(compiled(sample.kind, sample.text), trie);
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      SCOPED_TRACE(::testing::Message() << sample.text << " seed " << seed);
      walk(grammar, *tokenizer, seed, 60,
           [&](const Matcher& matcher, const TokenMaskPtr& mask, auto&) {
             ASSERT_NE(mask, nullptr);
             for (int32_t id = 0; id < 1000; ++id) {
               Matcher copy = matcher;
               ASSERT_EQ(allows(*mask, id), id < tokenizer->vocab_size() && copy.accept(id))
                   << id << " " << tokenizer->token_bytes(id);
             }
             Matcher copy = matcher;
             const TokenMaskPtr ends = copy.allowed(true);
             for (const int32_t id : tokenizer->end_of_generation())
               ASSERT_EQ(allows(*ends, id), matcher.is_final());
           });
    }
  }
}

// Goal: what was found out may be forgotten at any time. Method: a full cache is imitated by a
// grammar object of its own for every token.
TEST(Grammar, ReplayedTokensLeadToTheSameMasks) {
  const auto tokenizer = tokenizer_of(testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer);
  const auto& sample = samples()[2];
  const auto program = compiled(sample.kind, sample.text);
  const auto grammar = std::make_shared<TokenGrammar>(program, trie);
  walk(grammar, *tokenizer, 5, 60, [&](const Matcher&, auto& mask, const std::string& said) {
    Matcher fresh(std::make_shared<TokenGrammar>(program, trie));
    ASSERT_TRUE(fresh.accept_bytes(said));
    ASSERT_EQ(*fresh.allowed(false), *mask);
  });
}

// Goal: a cache that is full is forgotten and the text goes on. Method: every round of a counted
// repetition is a configuration of its own.
TEST(Grammar, ForgottenCachesChangeNothing) {
  const auto tokenizer = tokenizer_of(testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer);
  const auto program = compiled(GrammarKind::kRegex, "a{150000}b");
  const auto grammar = std::make_shared<TokenGrammar>(program, trie);
  Matcher matcher(grammar);
  Matcher copy = matcher;  // Stays where it is while the cache is made anew.
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

// Goal: rules in rules end at the limit of depth, and what was opened can be closed.
TEST(Grammar, DepthHasALimit) {
  const auto program = compiled(GrammarKind::kGbnf, "root ::= \"(\" root \")\" | \"x\"");
  const std::string open(kStackDepthMax / 2, '('), close(kStackDepthMax / 2, ')');
  EXPECT_TRUE(matches(program, open + "x" + close));
  EXPECT_FALSE(matches(program, open + "x" + close + ")"));
  const std::string deep(2 * kStackDepthMax, '(');
  EXPECT_FALSE(matches(program, deep + "x" + std::string(2 * kStackDepthMax, ')')));
}

// Goal: an ambiguous grammar is given up, not computed for minutes.
TEST(Grammar, AmbiguityHasALimit) {
  const auto tokenizer = tokenizer_of(testing_support::tiny_vocabulary());
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

// Reads {"schema": …, "instances": [texts]} lines from $ALTLAS_SCHEMAS, writes to $ALTLAS_WALKS
// what became of each: an error, or which instances are accepted and texts of random walks over the
// vocabulary of $ALTLAS_TEST_MODEL (or the small one). tests/test_schemas.py judges them.
TEST(Grammar, WalksForTheJudge) {
  const char *in = std::getenv("ALTLAS_SCHEMAS"), *out = std::getenv("ALTLAS_WALKS");
  if (in == nullptr || out == nullptr) GTEST_SKIP() << "ALTLAS_SCHEMAS names no file";
  auto vocabulary = testing_support::model_vocabulary();
  const auto tokenizer =
      tokenizer_of(vocabulary ? *std::move(vocabulary) : testing_support::tiny_vocabulary());
  const auto trie = std::make_shared<const TokenTrie>(*tokenizer);
  std::ifstream lines(in);
  std::ofstream answers(out);
  for (std::string line; std::getline(lines, line);) {
    const auto request = boost::json::parse(line).as_object();
    boost::json::object answer;
    const auto program = compile(
        altlas::Grammar{GrammarKind::kJsonSchema, boost::json::serialize(request.at("schema"))});
    if (!program.ok()) {
      answer["error"] = program.error().message();
    } else {
      boost::json::array accepted, walks;
      for (const auto& instance : request.at("instances").as_array())
        accepted.emplace_back(matches(*program, instance.as_string()));
      const auto grammar = std::make_shared<TokenGrammar>(*program, trie);
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        const std::string text =
            walk(grammar, *tokenizer, seed, 400, [](const Matcher&, auto&, auto&) {});
        if (matches(*program, text)) walks.emplace_back(text);
      }
      answer["accepted"] = accepted;
      answer["walks"] = walks;
      boost::json::array unheld;
      for (const Unheld& one : (*program)->unheld) unheld.emplace_back(one.pointer);
      answer["unheld"] = unheld;
    }
    answers << boost::json::serialize(answer) << "\n";
  }
}

}  // namespace
}  // namespace altlas::text::grammar
