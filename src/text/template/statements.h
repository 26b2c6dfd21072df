// Statements: carries out statements of chat templates and collects what they print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/expressions.h"
#include "text/template/macros.h"
#include "text/template/rendering.h"
#include "text/template/scopes.h"
#include "text/template/value.h"

namespace altlas::text {

class Statements {
 public:
  Statements(Rendering& rendering, Scopes& scopes, Macros& macros, Expressions& expressions)
      : rendering_(rendering), scopes_(scopes), macros_(macros), expressions_(expressions) {}

  // What `body` prints.
  Result<TaggedText> capture(const Body& body);
  // What a loop over `over` prints; depth: 1, and one more in each recursion.
  Result<TaggedText> capture_loop(const Stmt& stmt, const Value& over, int depth);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  Result<Flow> exec_body(const Body& body);
  Result<Flow> exec(const Stmt& stmt);
  Result<Flow> exec_if(const Stmt& stmt);
  Result<Flow> exec_for(const Stmt& stmt, const Value& over, int depth);
  Result<bool> passes_filter(const Stmt& stmt, const Value& item);
  Result<void> exec_set(const Stmt& stmt);
  Result<void> exec_with(const Stmt& stmt);
  Result<void> exec_call(const Stmt& stmt);
  Result<void> bind(const std::vector<std::string>& targets, const Value& value);
  Result<void> print(const TaggedText& text);

  Rendering& rendering_;
  Scopes& scopes_;
  Macros& macros_;
  Expressions& expressions_;
  TaggedText* out_ = nullptr;  // Where print() adds to.
};

}  // namespace altlas::text
