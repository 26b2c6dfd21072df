// Toy text: a vocabulary of single characters, and small grammars that texts of the simulator are
// held to by the real grammar code.
#pragma once

#include <string_view>

#include "base/philox.h"
#include "task/task.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::simulation {

// Of kVocabulary tokens; token 0 ends a text. The same object for the whole process.
const text::Tokenizer& toy_tokenizer();

// One of a few, of every kind. Texts of some have any length, those of others end by themselves.
Grammar toy_grammar(PhiloxStream& random);

// Whether `text` is a word of `grammar`, or, with `may_go_on`, the beginning of one.
bool fits(const Grammar& grammar, std::string_view text, bool may_go_on);

}  // namespace altlas::simulation
