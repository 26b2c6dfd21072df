// Implements test_grammar.h. Goal: its expectations fail where they should. Method: a language with
// one text.
#include "text/grammar/test_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <bit>

#include "base/philox.h"
#include "text/grammar/configurations.h"

namespace altlas::text::grammar::testing_support {

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

void expect_refused(GrammarKind kind, const std::string& grammar, const std::string& reason) {
  const auto program = compile(altlas::Grammar{kind, grammar});
  ASSERT_FALSE(program.ok()) << grammar.substr(0, 200);
  EXPECT_EQ(program.error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(program.error().message(), HasSubstr(reason)) << grammar.substr(0, 200);
}

void expect_held_schema(const std::string& schema, const std::vector<std::string>& in,
                        const std::vector<std::string>& out) {
  expect_schema(schema, in, out);
  EXPECT_TRUE(compiled(GrammarKind::kJsonSchema, schema)->unheld.empty()) << schema;
}

std::unique_ptr<const Tokenizer> tokenizer_of(Vocabulary vocabulary) {
  auto made = Tokenizer::create(std::move(vocabulary));
  EXPECT_TRUE(made.ok());
  return *std::move(made);
}

std::string walk(const std::shared_ptr<TokenGrammar>& grammar, const Tokenizer& tokenizer,
                 uint64_t seed, int tokens, const AtToken& at) {
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

TEST(TestGrammar, ExpectationsFailWhereTheyShould) {
  EXPECT_NONFATAL_FAILURE(expect_language(GrammarKind::kRegex, "ab", {"a"}, {}), "a");
  EXPECT_NONFATAL_FAILURE(expect_language(GrammarKind::kRegex, "ab", {}, {"ab"}), "ab");
  EXPECT_NONFATAL_FAILURE(expect_held_schema(R"({"not":{"const":[3]}})", {}, {}), "not");
}

}  // namespace altlas::text::grammar::testing_support
