#include "text/template/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/template/functions.h"

namespace altlas::text {

using VKind = Value::Kind;

Result<Value> Calls::call_macro(size_t index, const Arguments& arguments) {
  const Rendering::Nested nested(rendering_);
  ALTLAS_TRY_VOID(rendering_.check_budget());
  const Stmt& stmt = *macros_[index].stmt;
  if (arguments.positional.size() > stmt.parameters.size())
    return rendering_.fail(fmt::format("macro '{}' takes {} arguments, {} were given", stmt.text,
                                       stmt.parameters.size(), arguments.positional.size()));
  rendering_.budget().spend(macros_[index].captured.variables.size());
  const size_t frame = scopes_.begin_frame();
  scopes_.push(macros_[index].captured);
  scopes_.push();
  auto text = [&]() -> Result<TaggedText> {
    for (const auto& [name, value] : arguments.named) {
      const auto same = [&](const Parameter& p) { return p.name == name; };
      if (name != "caller" && std::ranges::none_of(stmt.parameters, same))
        return rendering_.fail(fmt::format("macro '{}' has no parameter '{}'", stmt.text, name));
      scopes_.innermost().set(name, value);
    }
    for (size_t i = 0; i < stmt.parameters.size(); ++i) {
      const Parameter& parameter = stmt.parameters[i];
      const Value* given = arguments.get(i, parameter.name);
      Value value = given != nullptr ? *given : Value::undefined(parameter.name);
      if (given == nullptr && parameter.fallback != nullptr) {
        ALTLAS_TRY(value, expressions_.eval(*parameter.fallback));
      }
      scopes_.innermost().set(parameter.name, std::move(value));
    }
    return statements_.capture(stmt.bodies[0]);
  }();
  scopes_.pop();
  scopes_.pop();
  scopes_.end_frame(frame);
  if (!text.ok()) return text.error();
  return Value(*std::move(text));
}

Result<Value> Calls::call_loop(size_t index, const Arguments& arguments) {
  const Stmt& stmt = *rendering_.loops[index].stmt;
  if (!stmt.recursive)
    return rendering_.fail("this loop is not recursive: write {% for ... recursive %}");
  if (arguments.positional.size() != 1) return rendering_.fail("loop() takes what to loop over");
  ALTLAS_TRY(TaggedText text, statements_.capture_loop(stmt, arguments.positional[0],
                                                       rendering_.loops[index].depth + 1));
  return Value(std::move(text));
}

Result<Value> Calls::call_loop_method(Loop& loop, const FunctionData& function,
                                      const Arguments& arguments) {
  if (function.name == "cycle") {
    if (arguments.positional.empty())
      return rendering_.fail("loop.cycle() takes values to cycle through");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  const Value now = Value::list(arguments.positional);
  const bool changed = !loop.changed || !equal(*loop.changed, now, rendering_.budget());
  loop.changed = now;
  return Value(changed);
}

Result<Value> Calls::make_namespace(const Arguments& arguments) {
  Scope space;
  for (const Value& value : arguments.positional) {
    if (!value.is_object()) return rendering_.fail("namespace() takes named values");
    rendering_.budget().spend(value.entries().size() * value.entries().size() / 8);
    ALTLAS_TRY_VOID(rendering_.check_budget());
    for (const auto& [key, item] : value.entries()) {
      if (!key.is_string()) return rendering_.fail("namespace() takes named values");
      space.set(std::string(key.view()), item);
    }
  }
  for (const auto& [name, value] : arguments.named) space.set(name, value);
  rendering_.budget().take(sizeof(Scope) + space.variables.size() * sizeof(Variables::value_type));
  ALTLAS_TRY_VOID(rendering_.check_budget());
  rendering_.namespaces.push_back(std::move(space));
  return Value::name_space(rendering_.namespaces.size() - 1);
}

Result<Value> Calls::call(const Value& callee, const Arguments& arguments) {
  rendering_.budget().spend(1 + arguments.positional.size());
  ALTLAS_TRY_VOID(rendering_.check_budget());
  if (callee.is(VKind::kLoop)) return call_loop(callee.index(), arguments);
  if (!callee.is(VKind::kFunction))
    return rendering_.fail(
        callee.is_undefined()
            ? fmt::format("'{}' is undefined, it can't be called", callee.undefined_name())
            : fmt::format("a {} can't be called", callee.kind_name()));
  const FunctionData& function = callee.function_data();
  if (function.macro != ~size_t{0}) return call_macro(function.macro, arguments);
  if (function.receiver.is(VKind::kLoop))
    return call_loop_method(rendering_.loops[function.receiver.index()], function, arguments);
  if (function.receiver.is_undefined()) {
    if (function.name != "namespace") return call_global(rendering_, function.name, arguments);
    return make_namespace(arguments);
  }
  return call_method(rendering_, function.receiver, function.name, arguments);
}

}  // namespace altlas::text
