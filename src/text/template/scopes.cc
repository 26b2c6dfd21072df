#include "text/template/scopes.h"

namespace altlas::text {

void Scope::set(const std::string& name, Value value) {
  for (auto& [key, old] : variables)
    if (key == name) {
      old = std::move(value);
      return;
    }
  variables.emplace_back(name, std::move(value));
}
const Value* Scope::find(std::string_view name) const {
  for (const auto& [key, value] : variables)
    if (key == name) return &value;
  return nullptr;
}

Value Scopes::lookup(const std::string& name, RenderBudget& budget) const {
  for (size_t i = all_.size(); i-- > frame_;) {
    budget.spend(all_[i].variables.size() / 8);
    if (const Value* found = all_[i].find(name)) return *found;
  }
  if (frame_ > 0) {
    budget.spend(all_[0].variables.size() / 8);
    if (const Value* found = all_[0].find(name)) return *found;
  }
  for (const std::string_view global :
       {"range", "namespace", "raise_exception", "strftime_now", "dict"})
    if (name == global) return Value::function({name, Value::undefined()});
  return Value::undefined(name);
}

}  // namespace altlas::text
