// Objects of JSON Schema: declared members in their order, then others whose names are free.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/free_members.h"
#include "text/grammar/schema/properties.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Objects {
 public:
  Objects(Context& context, Schemas& schemas, RuleBook& rules, Properties& properties,
          FreeMembers& free_members)
      : context_(context),
        schemas_(schemas),
        rules_(rules),
        properties_(properties),
        free_members_(free_members) {}

  // The objects that the set allows.
  Result<ExpressionPtr> value(const Set& set);

 private:
  struct Members {
    struct Declared {
      ExpressionPtr expression;  // "name": value
      bool required = false;
    };
    std::vector<Declared> declared;
    FreeMember free;
    // Names of free members differ; else one may be written again.
    bool distinct = false;
    Counts counts;
  };
  Result<Members> members_of(const Set& set);
  // minProperties and maxProperties as far as they can be held.
  void hold_counts(const Set& set, Members& members);

  Context& context_;
  Schemas& schemas_;
  RuleBook& rules_;
  Properties& properties_;
  FreeMembers& free_members_;
};

}  // namespace altlas::text::grammar::schema
