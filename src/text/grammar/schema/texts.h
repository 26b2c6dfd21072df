// Texts: values of a schema as texts, each in one spelling, without rules and white space, so that
// two values are the same if and only if their texts are. For items that all differ, and for names.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/choices.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/free_members.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/items.h"
#include "text/grammar/schema/numbers.h"
#include "text/grammar/schema/properties.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/strings.h"

namespace altlas::text::grammar::schema {

class Texts {
 public:
  // The parts that say what values there are.
  struct Parts {
    Context& context;
    Schemas& schemas;
    RuleBook& rules;
    Choices& choices;
    Numbers& numbers;
    Strings& strings;
    Items& items;
    Properties& properties;
    FreeMembers& free_members;
  };
  explicit Texts(Parts parts)
      : context_(parts.context),
        schemas_(parts.schemas),
        rules_(parts.rules),
        choices_(parts.choices),
        numbers_(parts.numbers),
        strings_(parts.strings),
        items_(parts.items),
        properties_(parts.properties),
        free_members_(parts.free_members) {}

  // The texts of a goal; nothing: they can't be said so.
  Result<std::optional<ExpressionPtr>> texts_of(const Goal& goal, size_t depth);
  // A rule of the texts that Program::Rule::distinct is set for, and in `count` how many there are;
  // nothing: they can't be said so.
  Result<std::optional<uint32_t>> distinct_rule(const Goal& goal, uint32_t& count);

 private:
  Result<std::optional<ExpressionPtr>> decided_texts(const Goal& goal, size_t depth);
  // Nothing: too long, or more than items and lengths is asked for.
  Result<std::optional<ExpressionPtr>> list_texts(const Set& set, size_t depth);
  // Lists whose items all differ, of so few values that what was used can be told by the state.
  // Nothing: of more.
  Result<std::optional<ExpressionPtr>> different_texts(const Set& set, size_t prefix, Counts counts,
                                                       size_t depth);
  // Members in their order. Nothing: other members may be there.
  Result<std::optional<ExpressionPtr>> object_texts(const Set& set, size_t depth);

  Context& context_;
  Schemas& schemas_;
  RuleBook& rules_;
  Choices& choices_;
  Numbers& numbers_;
  Strings& strings_;
  Items& items_;
  Properties& properties_;
  FreeMembers& free_members_;
  std::map<Goal, std::pair<uint32_t, uint32_t>> distinct_;  // Rules, and how many texts.
};

}  // namespace altlas::text::grammar::schema
