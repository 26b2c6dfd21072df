// Choices: the goals that the anyOf and oneOf of a goal leave, and the values that it lists.
#pragma once

#include <boost/json.hpp>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/disjointness.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/negations.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/validator.h"

namespace altlas::text::grammar::schema {

class Choices {
 public:
  Choices(Context& context, Schemas& schemas, Validator& validator, Negations& negations,
          Disjointness& disjointness, Goals& goals)
      : context_(context),
        schemas_(schemas),
        validator_(validator),
        negations_(negations),
        disjointness_(disjointness),
        goals_(goals) {}

  // The goals that the first undecided anyOf or oneOf leaves; nothing where all are decided.
  Result<std::optional<std::vector<Goal>>> alternatives(const Goal& goal);
  // The values of enum and const that fit everything else, each once; nothing where neither is
  // given.
  Result<std::optional<std::vector<const json::value*>>> listed_values(const Set& set);

 private:
  Result<std::vector<Goal>> alternatives_of(const Goal& goal, uint32_t schema, bool one);
  // Keeps out of an alternative of oneOf what fits the others.
  Result<void> exclude_others(Goal& goal, const json::array& list, size_t kept, uint32_t schema);

  Context& context_;
  Schemas& schemas_;
  Validator& validator_;
  Negations& negations_;
  Disjointness& disjointness_;
  Goals& goals_;
};

}  // namespace altlas::text::grammar::schema
