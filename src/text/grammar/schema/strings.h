// Strings of JSON Schema: lengths, patterns and formats.
#pragma once

#include <optional>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/choices.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Strings {
 public:
  Strings(Context& context, const Schemas& schemas, Choices& choices)
      : context_(context), schemas_(schemas), choices_(choices) {}

  // The strings that the set allows, in quotes.
  Result<ExpressionPtr> value(const Set& set);
  // Values of strings that the set allows; nothing where it allows all. Where lengths and the rest
  // together are too much, the lengths stay.
  Result<std::optional<Automaton>> language(const Set& set);
  // The same of a goal with choices and lists. `depth`: how many choices were made.
  Result<std::optional<Automaton>> text_values(const Goal& goal, size_t depth);

 private:
  // Lengths aside.
  Result<std::optional<Automaton>> values(const Set& set);

  Context& context_;
  const Schemas& schemas_;
  Choices& choices_;
};

}  // namespace altlas::text::grammar::schema
