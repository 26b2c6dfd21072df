// Calls: calls macros, loops, methods and global functions.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "text/template/arguments.h"
#include "text/template/expressions.h"
#include "text/template/macros.h"
#include "text/template/rendering.h"
#include "text/template/scopes.h"
#include "text/template/statements.h"
#include "text/template/value.h"

namespace altlas::text {

class Calls final : public Caller {
 public:
  Calls(Rendering& rendering, Scopes& scopes, Macros& macros, Expressions& expressions,
        Statements& statements)
      : rendering_(rendering),
        scopes_(scopes),
        macros_(macros),
        expressions_(expressions),
        statements_(statements) {}

  Result<Value> call(const Value& callee, const Arguments& arguments) override;

 private:
  Result<Value> call_macro(size_t index, const Arguments& arguments);
  // loop(items) in a recursive loop: renders the loop's body over them, one level deeper.
  Result<Value> call_loop(size_t index, const Arguments& arguments);
  // loop.cycle and loop.changed.
  Result<Value> call_loop_method(Loop& loop, const FunctionData& function,
                                 const Arguments& arguments);
  Result<Value> make_namespace(const Arguments& arguments);

  Rendering& rendering_;
  Scopes& scopes_;
  Macros& macros_;
  Expressions& expressions_;
  Statements& statements_;
};

}  // namespace altlas::text
