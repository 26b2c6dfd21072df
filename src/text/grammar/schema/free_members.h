// FreeMembers: members of objects whose names are not declared; every class of names is a case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/properties.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/strings.h"

namespace altlas::text::grammar::schema {

// Any other member.
struct FreeMember {
  ExpressionPtr expression;  // Null: there may be none.
  uint32_t names = 0;        // How many names there are; counted only of distinct ones.
};

class FreeMembers {
 public:
  FreeMembers(Context& context, Schemas& schemas, RuleBook& rules, Goals& goals, Strings& strings,
              Properties& properties, Evaluation& evaluation)
      : context_(context),
        schemas_(schemas),
        rules_(rules),
        goals_(goals),
        strings_(strings),
        properties_(properties),
        evaluation_(evaluation) {}

  // A member whose name is none of `declared`. distinct: its name differs from those of the other
  // free members of the object.
  Result<FreeMember> free_member(const Set& set, const std::vector<std::string>& declared,
                                 bool distinct);
  // Whether there may be no members but the declared.
  Result<bool> is_closed(const Set& set, const std::vector<std::string>& declared);
  // Patterns that can't be read leave the schema without them, and without what depends on them.
  void drop_patterns(uint32_t schema, Unheld::Why why, const std::string& reason);

 private:
  // Names of one kind for the schemas of a set: those that match just these patterns.
  struct NameClass {
    std::optional<Automaton> names;  // Nothing: any.
    // (schema, pattern, what it says).
    std::vector<std::tuple<uint32_t, std::string, const json::value*>> matched;
  };
  // Splits `names` pattern by pattern; what no name is in is dropped.
  Result<std::vector<NameClass>> name_classes(const Set& set, std::optional<Automaton> names);
  // The names that members beyond `declared` may have, patterns aside; nothing: any name.
  Result<std::optional<Automaton>> free_names(const Set& set,
                                              const std::vector<std::string>& declared);
  // What a member of a class of names must be.
  Result<Goal> free_value(const Set& set, const NameClass& names);

  Context& context_;
  Schemas& schemas_;
  RuleBook& rules_;
  Goals& goals_;
  Strings& strings_;
  Properties& properties_;
  Evaluation& evaluation_;
};

}  // namespace altlas::text::grammar::schema
