// Expressions: evaluates expressions of chat templates.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "text/template/arguments.h"
#include "text/template/ast.h"
#include "text/template/rendering.h"
#include "text/template/scopes.h"
#include "text/template/value.h"

namespace altlas::text {

// Calls what a template can call. Macros run statements, which expressions know nothing of.
class Caller {
 public:
  virtual Result<Value> call(const Value& callee, const Arguments& arguments) = 0;

 protected:
  ~Caller() = default;
};

class Expressions {
 public:
  Expressions(Rendering& rendering, Scopes& scopes, Caller& caller)
      : rendering_(rendering), scopes_(scopes), caller_(caller) {}

  Result<Value> eval(const Expr& expr);
  // `input` stands for the innermost operand that is null ({% filter %} and {% set x | f %}).
  Result<Value> eval_filter(const Expr& expr, const Value* input);
  // A call; `caller` is given to it by that name, unless it is null.
  Result<Value> eval_call(const Expr& expr, const Value* caller);

 private:
  Result<Value> eval_node(const Expr& expr);
  Result<Value> eval_sequence(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<Value> eval_slice(const Expr& expr);
  Result<Arguments> eval_arguments(const Expr& expr, size_t first);

  Rendering& rendering_;
  Scopes& scopes_;
  Caller& caller_;
};

}  // namespace altlas::text
