// Assertions of regular expressions (\b, look-ahead, look-behind) as automata.
#pragma once

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

// The automaton of an NFA with asserted moves, over texts from kTextBegin to kTextEnd. A state of
// it is a set of readings; each goes on with what the rest of the text must be (look-ahead), and
// all share what the text so far is (look-behind, the kind of the last character).
//
// \b and \B hold where Python and ECMA-262 agree: between an ASCII word character and what is no
// word character in either, and elsewhere not at all where one of them sees an edge.
Result<Automaton> determinize_asserting(const Nfa& nfa, CompileBudget& budget);

}  // namespace altlas::text::grammar
