#include "text/grammar/schema/numbers.h"

#include <string_view>
#include <utility>

#include "text/grammar/schema/decimal.h"

namespace altlas::text::grammar::schema {

namespace {

void tighten(std::optional<NumberBound>& bound, NumberBound next, bool low) {
  if (!bound) {
    bound = std::move(next);
    return;
  }
  const auto order = compare(next.at, bound->at);
  if (low ? order > 0 : order < 0)
    bound = std::move(next);
  else if (order == 0)
    bound->exclusive |= next.exclusive;
}

}  // namespace

Result<std::optional<Automaton>> Numbers::conditions(const Set& set, bool integer) {
  std::optional<NumberBound> low, high;
  std::optional<Automaton> all;
  const auto narrow = [&](const Automaton& by) -> Result<void> {
    if (!all) {
      all = by;
      return {};
    }
    ALTLAS_TRY(all, intersect(*all, by, context_.budget));
    return {};
  };
  for (const uint32_t s : set) {
    for (const bool is_low : {true, false}) {
      const json::value* bound = schemas_.find(s, is_low ? "minimum" : "maximum");
      const json::value* strict =
          schemas_.find(s, is_low ? "exclusiveMinimum" : "exclusiveMaximum");
      const bool flag = strict != nullptr && strict->is_bool();  // Draft 4 has a flag here.
      for (const json::value* one : {bound, flag ? nullptr : strict}) {
        if (one == nullptr) continue;
        const bool open = one == strict || (flag && strict->get_bool());
        tighten(is_low ? low : high, {decimal_of(*one), open}, is_low);
      }
    }
  }
  if (low || high) {
    ALTLAS_TRY(all, number_range(low, high, integer, context_.budget));
  }
  for (const uint32_t s : set) {
    for (const std::string_view keyword : {std::string_view("multipleOf"), kNotMultipleOf}) {
      const json::value* divisor = schemas_.find(s, keyword);
      if (divisor == nullptr) continue;
      auto one = multiples(decimal_of(*divisor), integer);
      if (!one) {
        context_.leave_out(Unheld::Why::kUnsupported, schemas_.path_of(s, keyword),
                           "'multipleOf' is supported up to 60000 times the last decimal place");
        continue;
      }
      ALTLAS_TRY_VOID(context_.budget.spend(static_cast<int64_t>(one->states.size()) * 8));
      ALTLAS_TRY_VOID(context_.budget.add_states(one->states.size()));
      if (keyword == kNotMultipleOf) {
        ALTLAS_TRY(one, complement(*one, context_.budget));
      }
      ALTLAS_TRY_VOID(narrow(*one));
    }
    const json::value* out = schemas_.find(s, kNotEnum);
    if (out == nullptr) continue;
    for (const json::value& value : out->get_array()) {
      if (!value.is_number()) continue;
      const NumberBound at{decimal_of(value), false};
      ALTLAS_TRY(const Automaton same, number_range(at, at, /*integer=*/false, context_.budget));
      ALTLAS_TRY(const Automaton others, complement(same, context_.budget));
      ALTLAS_TRY_VOID(narrow(others));
    }
  }
  return all;
}

Result<ExpressionPtr> Numbers::value(const Set& set, bool integers, bool fractions) {
  ALTLAS_TRY(std::optional<Automaton> all, conditions(set, /*integer=*/!fractions));
  const auto digit = character({{'0', '9'}});
  const auto digits = repeat(digit, 0, kUnlimited);
  const auto whole = sequence(
      {optional(bytes("-")), choice({bytes("0"), sequence({character({{'1', '9'}}), digits})})});
  if (!all && integers) {
    if (!fractions) return whole;
    // A 64-bit float holds such exponents with any digits.
    const auto exponent =
        sequence({character({{'E', 'E'}, {'e', 'e'}}),
                  optional(character({{'+', '+'}, {'-', '-'}})), repeat(digit, 1, 2)});
    return sequence({whole, optional(sequence({bytes("."), digit, digits})), optional(exponent)});
  }
  // If whole numbers are left out, the fraction must not be zero.
  const auto more = sequence({bytes("."), digits, character({{'1', '9'}}), digits});
  std::vector<ExpressionPtr> forms;
  if (integers) forms.push_back(whole);
  if (integers && fractions) forms.push_back(sequence({whole, bytes("."), digit, digits}));
  if (!integers) forms.push_back(sequence({whole, more}));
  const ExpressionPtr form = choice(std::move(forms));
  if (!all) return form;
  ALTLAS_TRY(const Automaton spelled, automaton_of(*form, context_.budget));
  ALTLAS_TRY(Automaton both, intersect(*all, spelled, context_.budget));
  return embed(std::move(both));
}

}  // namespace altlas::text::grammar::schema
