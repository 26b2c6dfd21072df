// Derivation: what a schema says by not, if and dependent…, said again by made schemas that hold
// with it.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/made_schemas.h"
#include "text/grammar/schema/negations.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Derivation {
 public:
  Derivation(Context& context, Schemas& schemas, MadeSchemas& made, Negations& negations)
      : context_(context), schemas_(schemas), made_(made), negations_(negations) {}

  // Fills the schema's derived and pending.
  Result<void> derive(uint32_t schema);

 private:
  Result<void> derive_if(uint32_t schema);
  Result<void> derive_not(uint32_t schema);
  Result<void> derive_dependents(uint32_t schema, std::string_view keyword);

  Context& context_;
  Schemas& schemas_;
  MadeSchemas& made_;
  Negations& negations_;
};

}  // namespace altlas::text::grammar::schema
