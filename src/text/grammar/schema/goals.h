// Goals: sets of schemas that a value is held to at once, and the rule of each. allOf, $ref,
// patternProperties and the like only add to the set, so their conjunction needs no merging of
// texts.
#pragma once

#include <boost/json.hpp>

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/derivation.h"
#include "text/grammar/schema/made_schemas.h"
#include "text/grammar/schema/negations.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

// A set, and which of its anyOf and oneOf are decided: 2 * schema + (1 for oneOf).
struct Goal {
  Set schemas;
  std::vector<uint32_t> decided;
  bool impossible = false;
  friend auto operator<=>(const Goal&, const Goal&) = default;
};

class Goals {
 public:
  Goals(Context& context, Schemas& schemas, MadeSchemas& made, Negations& negations,
        Derivation& derivation, RuleBook& rules)
      : context_(context),
        schemas_(schemas),
        made_(made),
        negations_(negations),
        derivation_(derivation),
        rules_(rules) {}

  // The index of a schema (an object), which is read when it is met first.
  Result<uint32_t> schema_at(const json::value& value, const std::string& path);
  // Adds a schema, what it refers to and its allOf to the goal.
  Result<void> add(Goal& goal, const json::value& value, const std::string& path);
  // The rule of a goal; its expression is made when take_open() has given the goal.
  Result<uint32_t> rule_of(Goal goal);
  // The rule as an expression.
  Result<ExpressionPtr> value_of(Goal goal);
  // A goal whose rule has no expression yet, and the rule; nothing: none is left.
  std::optional<std::pair<Goal, uint32_t>> take_open();

 private:
  Result<void> add_inner(Goal& goal, const json::value& value, const std::string& path);
  Result<void> add_reference(Goal& goal, uint32_t schema, std::string_view keyword);

  Context& context_;
  Schemas& schemas_;
  MadeSchemas& made_;
  Negations& negations_;
  Derivation& derivation_;
  RuleBook& rules_;
  size_t depth_ = 0;                            // Of add().
  std::map<const json::value*, uint32_t> ids_;  // Looked up only.
  std::map<Goal, uint32_t> goals_;
  std::vector<std::pair<Goal, uint32_t>> open_;
};

}  // namespace altlas::text::grammar::schema
