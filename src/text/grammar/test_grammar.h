// Languages of grammars, and walks along their masks, for the tests of this folder.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "task/task.h"
#include "text/grammar/matcher.h"
#include "text/grammar/program.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text::grammar::testing_support {

// The grammar's program; a failure of the test, and null, if it can't be compiled.
std::shared_ptr<const Program> compiled(GrammarKind kind, std::string text);
bool matches(const std::shared_ptr<const Program>& program, std::string_view text);

// The texts `in` are of the grammar's language, the texts `out` are not.
void expect_language(GrammarKind kind, const std::string& grammar,
                     const std::vector<std::string>& in, const std::vector<std::string>& out);
inline void expect_schema(const std::string& schema, const std::vector<std::string>& in,
                          const std::vector<std::string>& out) {
  expect_language(GrammarKind::kJsonSchema, schema, in, out);
}
// The same, and every keyword of the schema is held.
void expect_held_schema(const std::string& schema, const std::vector<std::string>& in,
                        const std::vector<std::string>& out);
void expect_refused(GrammarKind kind, const std::string& grammar, const std::string& reason);

std::unique_ptr<const Tokenizer> tokenizer_of(Vocabulary vocabulary);

// Called before each token of a walk with the mask and what was said so far.
using AtToken = std::function<void(const Matcher&, const TokenMaskPtr&, const std::string& said)>;
// Walks at random along allowed tokens; the text that they make.
std::string walk(const std::shared_ptr<TokenGrammar>& grammar, const Tokenizer& tokenizer,
                 uint64_t seed, int tokens, const AtToken& at);

}  // namespace altlas::text::grammar::testing_support
