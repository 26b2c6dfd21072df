// Properties: which members an object declares, and what a member of a name must be.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/choices.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/evaluation.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/validator.h"

namespace altlas::text::grammar::schema {

class Properties {
 public:
  Properties(Context& context, const Schemas& schemas, Validator& validator, Goals& goals,
             Choices& choices, Evaluation& evaluation)
      : context_(context),
        schemas_(schemas),
        validator_(validator),
        goals_(goals),
        choices_(choices),
        evaluation_(evaluation) {}

  // The names that are written in this order: of properties (made schemas' last), of required, and
  // those that propertyNames lists.
  Result<std::vector<std::string>> declared_names(const Set& set,
                                                  std::set<std::string, std::less<>>& required);
  // The goal of all that propertyNames says.
  Result<Goal> names_goal(const Set& set);
  // Whether propertyNames allows the name.
  Result<bool> name_fits(std::string_view name, const Set& set);
  // Adds what a member of this name must be, by every schema of the set.
  Result<void> add_property(const Set& set, std::string_view name, Goal& value);
  // Whether one of the schemas says something of a member; matches(s): whether one of the patterns
  // of schema s does.
  bool evaluates_member(const Set& set, uint32_t asking, std::string_view name,
                        const std::function<bool(uint32_t)>& matches) const;
  // A key, a colon and a value.
  Result<ExpressionPtr> member(ExpressionPtr key, Goal value);

 private:
  Context& context_;
  const Schemas& schemas_;
  Validator& validator_;
  Goals& goals_;
  Choices& choices_;
  Evaluation& evaluation_;
};

}  // namespace altlas::text::grammar::schema
