// Evaluator: one rendering of a chat template, composed of its parts: expressions call through
// calls, which run statements, which evaluate expressions.
#pragma once

#include <cstdint>
#include <utility>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/calls.h"
#include "text/template/chat_template.h"
#include "text/template/expressions.h"
#include "text/template/macros.h"
#include "text/template/rendering.h"
#include "text/template/scopes.h"
#include "text/template/statements.h"
#include "text/template/value.h"

namespace altlas::text {

// Made, used once and dropped by ChatTemplate.
class Evaluator {
 public:
  Evaluator(const TemplateLimits& limits, int64_t now_us, Variables globals)
      : rendering_(limits, now_us), scopes_(std::move(globals)) {}

  Result<TaggedText> run(const Body& body) { return statements_.capture(body); }

 private:
  Rendering rendering_;
  Scopes scopes_;
  Macros macros_{rendering_, scopes_};
  Expressions expressions_{rendering_, scopes_, calls_};
  Statements statements_{rendering_, scopes_, macros_, expressions_};
  Calls calls_{rendering_, scopes_, macros_, expressions_, statements_};
};

}  // namespace altlas::text
