#include "text/template/macros.h"

#include <utility>

namespace altlas::text {

Result<Value> Macros::make(const Stmt& stmt) {
  Macro macro{&stmt, {}};
  for (size_t i = scopes_.first_visible(); i < scopes_.size(); ++i) {
    rendering_.budget().spend(scopes_[i].variables.size() *
                              (1 + macro.captured.variables.size() / 8));
    rendering_.budget().take(scopes_[i].variables.size() * sizeof(Variables::value_type));
    ALTLAS_TRY_VOID(rendering_.check_budget());
    for (const auto& [name, value] : scopes_[i].variables) macro.captured.set(name, value);
  }
  all_.push_back(std::move(macro));
  return Value::function(
      {stmt.kind == Stmt::Kind::kCall ? "caller" : stmt.text, Value::undefined(), all_.size() - 1});
}

}  // namespace altlas::text
