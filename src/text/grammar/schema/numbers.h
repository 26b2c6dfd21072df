// Numbers of JSON Schema: bounds and multiples.
#pragma once

#include <optional>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Numbers {
 public:
  Numbers(Context& context, const Schemas& schemas) : context_(context), schemas_(schemas) {}

  // The numbers that the set allows: whole ones, others, or both.
  Result<ExpressionPtr> value(const Set& set, bool integers, bool fractions);
  // What bounds, multipleOf and made schemas leave of the numbers without exponent; nothing: all.
  Result<std::optional<Automaton>> conditions(const Set& set, bool integer);

 private:
  Context& context_;
  const Schemas& schemas_;
};

}  // namespace altlas::text::grammar::schema
