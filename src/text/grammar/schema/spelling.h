// How JSON values are spelled: one spelling of each value, and the spellings of a set of strings.
#pragma once

#include <boost/json.hpp>

#include <string>
#include <string_view>

#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/json_reference.h"

namespace altlas::text::grammar::schema {

// JSON string contents (between the quotes) whose value `values` matches, each in one spelling.
Automaton json_spelling(const Automaton& values);
// One character of a JSON string, in every spelling that it has.
ExpressionPtr any_json_character();
// `value` as compact JSON.
std::string canonical_json(const json::value& value);
// `text` as a JSON string in quotes.
std::string json_string(std::string_view text);
// Compares numbers by value and objects without order.
bool same_value(const json::value& a, const json::value& b);

}  // namespace altlas::text::grammar::schema
