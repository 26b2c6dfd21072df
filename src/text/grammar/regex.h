// Regular expressions as ECMA-262 and Python write them, read into expressions.
#pragma once

#include <string_view>

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

// Literals, ., [classes], \d \w \s and their opposites, \p{L} and other general categories, groups,
// |, * + ? {m,n} (lazy ones too: the language is the same), ^ and $ as marks of the text's ends.
// Opposites leave out what either dialect leaves out.
// Errors: kInvalid names what is not supported (look-around, back-references, \b) or wrong.
Result<ExpressionPtr> read_regex(std::string_view pattern);

// The texts that the pattern matches as a whole.
Result<Automaton> whole_match(std::string_view pattern, Budget& budget);
// The texts that hold a match.
Result<Automaton> search_match(std::string_view pattern, Budget& budget);

// The pattern that matches just `text`.
std::string escape_regex(std::string_view text);

}  // namespace altlas::text::grammar
