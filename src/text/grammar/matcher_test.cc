// Goal: a mask has exactly the tokens that accept() takes. Method: masks along random walks are
// compared with trying every token, over a small vocabulary and, if there is one, a real one.
#include "text/grammar/matcher.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <fstream>

#include "text/grammar/test_grammar.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text::grammar {
namespace {

using testing_support::compiled;
using testing_support::matches;
using testing_support::tokenizer_of;
using testing_support::walk;

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

// Goal: a mask has exactly the tokens that can be accepted. Method: every token is tried.
TEST(Matcher, MasksAreWhatAcceptTakes) {
  const auto tokenizer = tokenizer_of(text::testing_support::tiny_vocabulary());
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

// Goal: what was found out may be forgotten at any time. Method: every token has a grammar object
// of its own, as if the cache had been full.
TEST(Matcher, ReplayedTokensLeadToTheSameMasks) {
  const auto tokenizer = tokenizer_of(text::testing_support::tiny_vocabulary());
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

// Reads {"schema": …, "instances": [texts]} lines from $ALTLAS_SCHEMAS and writes the outcome of
// each to $ALTLAS_WALKS: an error, or which instances are accepted and texts of random walks over
// the vocabulary of $ALTLAS_TEST_MODEL (or the small one). tests/test_schemas.py judges them.
TEST(Grammar, WalksForTheJudge) {
  const char *in = std::getenv("ALTLAS_SCHEMAS"), *out = std::getenv("ALTLAS_WALKS");
  if (in == nullptr || out == nullptr) GTEST_SKIP() << "ALTLAS_SCHEMAS names no file";
  auto vocabulary = text::testing_support::model_vocabulary();
  const auto tokenizer =
      tokenizer_of(vocabulary ? *std::move(vocabulary) : text::testing_support::tiny_vocabulary());
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
