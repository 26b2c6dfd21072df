// Regular expressions as ECMA-262 and Python write them, read into expressions.
#pragma once

#include <string_view>

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

// Literals, ., [classes], \d \w \s and their opposites, \p{L} and other general categories, groups,
// |, * + ? {m,n} (lazy ones too: the language is the same), ^ $ \A \Z as marks of the text's ends,
// \b \B, look-ahead and look-behind, the flags i, s and m, of the whole ((?i)…) or a group (?i:…).
// Where the dialects differ, what either leaves out is left out.
// Errors: kUnsupported names what is not supported (back-references, possessive repetitions, atomic
// groups), kInvalid what is wrong.
// at_start: a match begins where the text does.
Result<ExpressionPtr> read_regex(std::string_view pattern, bool at_start);

// The texts that the pattern matches as a whole.
Result<Automaton> whole_match(std::string_view pattern, CompileBudget& budget);
// The texts that hold a match.
Result<Automaton> search_match(const ExpressionPtr& pattern, CompileBudget& budget);
Result<Automaton> search_match(std::string_view pattern, CompileBudget& budget);

// The pattern that matches just `text`.
std::string escape_regex(std::string_view text);

}  // namespace altlas::text::grammar
