#include "simulation/toy_text.h"

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "simulation/scenario.h"
#include "text/grammar/configurations.h"
#include "text/tokenizer/letters.h"

namespace altlas::simulation {
namespace {

std::unique_ptr<const text::Tokenizer> make_tokenizer() {
  text::Vocabulary vocabulary = text::letters_vocabulary({"ab", "12"});
  ALTLAS_CHECK(vocabulary.tokens.size() == kVocabulary, "a token per row of the head");
  auto made = text::Tokenizer::create(std::move(vocabulary));
  ALTLAS_CHECK(made.ok(), made.error().message());
  return *std::move(made);
}

const Grammar kGrammars[] = {
    {GrammarKind::kRegex, "(ab|bc){2,6}x[0-9]{3}"},
    {GrammarKind::kRegex, "[a-c12]*"},
    {GrammarKind::kGbnf, "root ::= \"(\" root \")\" | [0-9]+\n"},
    {GrammarKind::kJsonSchema, R"({"type":"object","properties":{"a":{"enum":["ab","12"]},
        "b":{"type":"array","items":{"type":"integer","minimum":0,"maximum":99},"maxItems":4}},
        "required":["a","b"],"additionalProperties":false})"},
    {GrammarKind::kJsonObject, ""},
};

}  // namespace

const text::Tokenizer& toy_tokenizer() {
  static const std::unique_ptr<const text::Tokenizer> kTokenizer = make_tokenizer();
  return *kTokenizer;
}

Grammar toy_grammar(PhiloxStream& random) { return kGrammars[random.below(std::size(kGrammars))]; }

bool fits(const Grammar& grammar, std::string_view text, bool may_go_on) {
  using text::grammar::Configurations;
  static std::map<std::pair<GrammarKind, std::string>, Configurations> compiled;
  const std::pair key(grammar.kind, grammar.text);
  auto known = compiled.find(key);
  if (known == compiled.end()) {
    auto program = text::grammar::compile(grammar);
    ALTLAS_CHECK(program.ok(), program.error().message());
    known = compiled.try_emplace(key, *std::move(program)).first;
  }
  Configurations& all = known->second;
  int32_t at = all.start();
  for (const char c : text) at = all.next(at, static_cast<uint8_t>(c));
  return may_go_on ? at != Configurations::kDead : all.at(at).is_final;
}

}  // namespace altlas::simulation
