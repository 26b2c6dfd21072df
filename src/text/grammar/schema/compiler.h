// SchemaCompiler: JSON Schema (2020-12 and what is alike in 2019-09, 7, 6 and 4) into rules.
//
// A value is held to a set of schemas at once, a Goal; each goal becomes a rule. The parts, from
// the ground up: what is shared (context, schemas, made_schemas), what schemas say of values that
// are known (validator, disjointness) and by logic (negations, derivation), goals and their
// choices, and the values of each kind (numbers, strings, arrays, objects). A part knows only parts
// before it in this list of members. Keywords that texts can't be held to are left out and named
// (Unheld).
#pragma once

#include <boost/json.hpp>

#include <vector>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/program.h"
#include "text/grammar/schema/arrays.h"
#include "text/grammar/schema/choices.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/derivation.h"
#include "text/grammar/schema/disjointness.h"
#include "text/grammar/schema/evaluation.h"
#include "text/grammar/schema/free_members.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/items.h"
#include "text/grammar/schema/made_schemas.h"
#include "text/grammar/schema/negations.h"
#include "text/grammar/schema/numbers.h"
#include "text/grammar/schema/objects.h"
#include "text/grammar/schema/properties.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/strings.h"
#include "text/grammar/schema/texts.h"
#include "text/grammar/schema/unique_items.h"
#include "text/grammar/schema/validator.h"

namespace altlas::text::grammar::schema {

class SchemaCompiler {
 public:
  // expands: see Context. `root` outlives the compiler.
  SchemaCompiler(const json::value& root, bool expands) : root_(root), context_(root, expands) {}

  // Once.
  Result<Rules> compile();
  CompileBudget& budget() { return context_.budget; }
  // Whether anything was expanded.
  bool expanded() const { return context_.expanded; }
  std::vector<Unheld> take_unheld() { return context_.take_unheld(); }

 private:
  // A value of the goal; anyOf and oneOf are decided one after another.
  Result<ExpressionPtr> any_choice(const Goal& goal);
  // The same where all of them are decided.
  Result<ExpressionPtr> decided(const Goal& goal);

  const json::value& root_;
  Context context_;
  Schemas schemas_{context_};
  MadeSchemas made_{context_};
  Validator validator_{context_, made_};
  Disjointness disjointness_{context_, validator_};
  Negations negations_{context_, made_};
  Derivation derivation_{context_, schemas_, made_, negations_};
  RuleBook rules_{context_};
  Goals goals_{context_, schemas_, made_, negations_, derivation_, rules_};
  Choices choices_{context_, schemas_, validator_, negations_, disjointness_, goals_};
  Evaluation evaluation_{context_, schemas_, goals_};
  Numbers numbers_{context_, schemas_};
  Strings strings_{context_, schemas_, choices_};
  Items items_{schemas_, goals_, evaluation_};
  Properties properties_{context_, schemas_, validator_, goals_, choices_, evaluation_};
  FreeMembers free_members_{context_, schemas_, rules_, goals_, strings_, properties_, evaluation_};
  Texts texts_{{context_, schemas_, rules_, choices_, numbers_, strings_, items_, properties_,
                free_members_}};
  UniqueItems unique_items_{context_, schemas_, rules_, items_, texts_};
  Arrays arrays_{context_, schemas_, negations_, rules_, goals_, items_, unique_items_};
  Objects objects_{context_, schemas_, rules_, properties_, free_members_};
};

}  // namespace altlas::text::grammar::schema
