// Macros: the macros that a rendering has met, each with the variables around it.
#pragma once

#include <cstddef>
#include <deque>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/rendering.h"
#include "text/template/scopes.h"
#include "text/template/value.h"

namespace altlas::text {

struct Macro {
  const Stmt* stmt;
  Scope captured;  // Variables of the scopes around it, but for the globals.
};

class Macros {
 public:
  Macros(Rendering& rendering, const Scopes& scopes) : rendering_(rendering), scopes_(scopes) {}

  // A function value of the macro, which sees the variables that are seen now.
  Result<Value> make(const Stmt& stmt);
  const Macro& operator[](size_t index) const { return all_[index]; }

 private:
  Rendering& rendering_;
  const Scopes& scopes_;
  std::deque<Macro> all_;
};

}  // namespace altlas::text
