// UniqueItems: arrays whose items all differ.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/items.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/texts.h"

namespace altlas::text::grammar::schema {

class UniqueItems {
 public:
  UniqueItems(Context& context, const Schemas& schemas, RuleBook& rules, Items& items, Texts& texts)
      : context_(context), schemas_(schemas), rules_(rules), items_(items), texts_(texts) {}

  // The arrays of the set, if it asks for uniqueItems and that can be held; else null.
  Result<ExpressionPtr> value(const Set& set, size_t prefix, Counts counts);

 private:
  // A list whose items all differ: a rule of its own, which remembers them. Null: the items can't
  // be told apart by their texts.
  Result<ExpressionPtr> different_items(const Set& set, size_t prefix, Counts counts);

  Context& context_;
  const Schemas& schemas_;
  RuleBook& rules_;
  Items& items_;
  Texts& texts_;
};

}  // namespace altlas::text::grammar::schema
