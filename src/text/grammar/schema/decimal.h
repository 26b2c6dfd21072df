// Decimal: numbers of JSON exactly, and automata of the numbers in a range or of the multiples of
// one.
#pragma once

#include <boost/json.hpp>

#include <compare>
#include <optional>
#include <string>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/json_reference.h"

namespace altlas::text::grammar::schema {

// A decimal number of any length: (-1)^negative whole.fraction, without superfluous zeros.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
Decimal decimal_of(const json::value& number);
std::strong_ordering compare(const Decimal& a, const Decimal& b);
// Whether n > 0 divides it, exactly.
bool is_multiple(const Decimal& number, const Decimal& n);

// One end of a range of numbers.
struct NumberBound {
  Decimal at;
  bool exclusive = false;
};

// The JSON numbers without exponent in the range, only integers if `integer`. At least one bound is
// given.
Result<Automaton> number_range(const std::optional<NumberBound>& low,
                               const std::optional<NumberBound>& high, bool integer,
                               CompileBudget& budget);
// The JSON numbers without exponent that n > 0 divides, only whole ones if `integer`. Nothing where
// n has too many digits.
std::optional<Automaton> multiples(const Decimal& n, bool integer);

}  // namespace altlas::text::grammar::schema
