#include "text/template/eval.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace altlas::text {

using EKind = Expr::Kind;
using SKind = Stmt::Kind;
using VKind = Value::Kind;

const Value* Arguments::get(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [key, value] : named)
    if (key == name) return &value;
  return nullptr;
}
const TaggedText* Arguments::text(size_t position, std::string_view name) const {
  const Value* value = get(position, name);
  return value != nullptr && value->is_string() ? &value->text() : nullptr;
}
int64_t Arguments::integer(size_t position, std::string_view name, int64_t fallback) const {
  const Value* value = get(position, name);
  return value != nullptr && value->is_integral() ? value->as_int() : fallback;
}
bool Arguments::truth(size_t position, std::string_view name, bool fallback) const {
  const Value* value = get(position, name);
  return value != nullptr ? value->truthy() : fallback;
}

void Evaluator::Scope::set(const std::string& name, Value value) {
  for (auto& [key, old] : variables)
    if (key == name) {
      old = std::move(value);
      return;
    }
  variables.emplace_back(name, std::move(value));
}
const Value* Evaluator::Scope::find(std::string_view name) const {
  for (const auto& [key, value] : variables)
    if (key == name) return &value;
  return nullptr;
}

struct Evaluator::Enter {
  explicit Enter(Evaluator& evaluator) : evaluator(evaluator) { ++evaluator.depth_; }
  ~Enter() { --evaluator.depth_; }
  Evaluator& evaluator;
};

Error Evaluator::fail(std::string_view what) const {
  return invalid(fmt::format("chat template, line {}: {}", line_, what), "messages");
}

Result<void> Evaluator::check_budget() const {
  if (budget_.is_full())
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: its texts and lists take more than {} bytes",
                             line_, limits_.bytes));
  if (budget_.exhausted())
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: stopped after {} steps; a template "
                             "must end sooner",
                             line_, limits_.steps));
  if (depth_ > limits_.depth)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: nested or recursing deeper than {}", line_,
                             limits_.depth));
  return {};
}

Result<void> Evaluator::check_size(size_t bytes) const {
  if (bytes > limits_.output_bytes)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: a text of more than {} bytes", line_,
                             limits_.output_bytes));
  return check_budget();
}

Result<void> Evaluator::reserve_text(size_t bytes) {
  ALTLAS_TRY_VOID(check_size(bytes));
  budget_.take(bytes);
  return check_budget();
}

Result<void> Evaluator::reserve_items(size_t count) {
  budget_.spend(count);
  budget_.take(std::min(count, limits_.bytes) * sizeof(Value));
  return check_budget();
}

Result<Value> Evaluator::text_value(TaggedText text) {
  ALTLAS_TRY_VOID(reserve_text(text.bytes.size()));
  return Value(std::move(text));
}

Result<TaggedText> Evaluator::to_text(const Value& value) {
  TaggedText text;
  append_str(text, value, budget_);
  ALTLAS_TRY_VOID(check_size(text.bytes.size()));
  return text;
}
Result<std::string> Evaluator::to_str(const Value& value) {
  ALTLAS_TRY(TaggedText text, to_text(value));
  return std::move(text.bytes);
}

Result<TaggedText> Evaluator::run(const Body& body, Variables globals) {
  scopes_.push_back({std::move(globals)});
  TaggedText out;
  out_ = &out;
  ALTLAS_TRY([[maybe_unused]] const Flow flow, exec_body(body));
  return out;
}

Result<void> Evaluator::print(const TaggedText& text) {
  budget_.take(text.bytes.size());
  ALTLAS_TRY_VOID(check_size(out_->bytes.size() + text.bytes.size()));
  out_->append(text);
  return {};
}

Result<TaggedText> Evaluator::capture(const Body& body) {
  TaggedText captured;
  TaggedText* const outer = std::exchange(out_, &captured);
  auto flow = exec_body(body);
  out_ = outer;
  if (!flow.ok()) return flow.error();
  return captured;
}

// ---- Statements ----

Result<Evaluator::Flow> Evaluator::exec_body(const Body& body) {
  const Enter enter(*this);
  ALTLAS_TRY_VOID(check_budget());
  for (const auto& stmt : body) {
    line_ = stmt->line;
    budget_.spend(1);
    ALTLAS_TRY_VOID(check_budget());
    ALTLAS_TRY(const Flow flow, exec(*stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::exec(const Stmt& stmt) {
  switch (stmt.kind) {
    case SKind::kText:
      ALTLAS_TRY_VOID(print(TaggedText::of(stmt.text, false)));
      break;
    case SKind::kPrint: {
      ALTLAS_TRY(const Value value, eval(*stmt.expr));
      ALTLAS_TRY(const TaggedText text, to_text(value));
      ALTLAS_TRY_VOID(print(text));
      break;
    }
    case SKind::kIf:
      return exec_if(stmt);
    case SKind::kFor: {
      ALTLAS_TRY(const Value over, eval(*stmt.expr));
      return exec_for(stmt, over, 1);
    }
    case SKind::kSet:
    case SKind::kSetBlock:
      ALTLAS_TRY_VOID(exec_set(stmt));
      break;
    case SKind::kMacro: {
      ALTLAS_TRY(Value macro, make_macro(stmt));
      scopes_.back().set(stmt.text, std::move(macro));
      break;
    }
    case SKind::kCall:
      ALTLAS_TRY_VOID(exec_call(stmt));
      break;
    case SKind::kFilterBlock: {
      ALTLAS_TRY(TaggedText text, capture(stmt.bodies[0]));
      const Value input(std::move(text));
      ALTLAS_TRY(const Value value, eval_filter(*stmt.expr, &input));
      ALTLAS_TRY(const TaggedText result, to_text(value));
      ALTLAS_TRY_VOID(print(result));
      break;
    }
    case SKind::kWith:
      ALTLAS_TRY_VOID(exec_with(stmt));
      break;
    case SKind::kGeneration: {
      scopes_.emplace_back();
      const auto flow = exec_body(stmt.bodies[0]);
      scopes_.pop_back();
      return flow;
    }
    case SKind::kBreak:
      return Flow::kBreak;
    case SKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::exec_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.conditions.size(); ++i) {
    ALTLAS_TRY(const Value condition, eval(*stmt.conditions[i]));
    if (condition.truthy()) return exec_body(stmt.bodies[i]);
  }
  if (stmt.bodies.size() > stmt.conditions.size()) return exec_body(stmt.bodies.back());
  return Flow::kNext;
}

Result<bool> Evaluator::passes_filter(const Stmt& stmt, const Value& item) {
  scopes_.emplace_back();
  auto bound = bind(stmt.targets, item);
  auto condition = bound.ok() ? eval(*stmt.filter) : Result<Value>(bound.error());
  scopes_.pop_back();
  if (!condition.ok()) return condition.error();
  return condition->truthy();
}

Result<Evaluator::Flow> Evaluator::exec_for(const Stmt& stmt, const Value& over, int depth) {
  const Enter enter(*this);
  ALTLAS_TRY(std::vector<Value> items, iterate(over));
  if (stmt.filter != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      ALTLAS_TRY(const bool passes, passes_filter(stmt, item));
      if (passes) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty())
    return stmt.bodies.size() > 1 ? exec_body(stmt.bodies[1]) : Result<Flow>(Flow::kNext);
  const size_t id = loops_.size();
  loops_.push_back({std::move(items), 0, depth, &stmt, {}});
  Loop& loop = loops_[id];  // A deque's elements stay where they are.
  for (; loop.index < loop.items.size(); ++loop.index) {
    budget_.spend(1);
    ALTLAS_TRY_VOID(check_budget());
    scopes_.emplace_back();
    scopes_.back().set("loop", Value::loop(id));
    auto flow = [&]() -> Result<Flow> {
      ALTLAS_TRY_VOID(bind(stmt.targets, loop.items[loop.index]));
      return exec_body(stmt.bodies[0]);
    }();
    scopes_.pop_back();
    if (!flow.ok()) return flow.error();
    if (*flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Result<void> Evaluator::bind(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    scopes_.back().set(targets[0], value);
    return {};
  }
  ALTLAS_TRY(const std::vector<Value> items, iterate(value));
  if (items.size() != targets.size())
    return fail(fmt::format("{} values for {} variables", items.size(), targets.size()));
  for (size_t i = 0; i < targets.size(); ++i) scopes_.back().set(targets[i], items[i]);
  return {};
}

Result<void> Evaluator::exec_set(const Stmt& stmt) {
  Value value;
  if (stmt.kind == SKind::kSet) {
    ALTLAS_TRY(value, eval(*stmt.expr));
  } else {
    scopes_.emplace_back();
    auto text = capture(stmt.bodies[0]);
    scopes_.pop_back();
    if (!text.ok()) return text.error();
    value = Value(*std::move(text));
    if (stmt.expr != nullptr) {
      ALTLAS_TRY(value, eval_filter(*stmt.expr, &value));
    }
  }
  budget_.spend(scopes_.back().variables.size() / 8);
  if (stmt.attribute.empty()) return bind(stmt.targets, value);
  ALTLAS_TRY(const Value target, lookup(stmt.targets[0]));
  if (!target.is(VKind::kNamespace))
    return fail(fmt::format("only a namespace's attributes can be set, '{}' is {}", stmt.targets[0],
                            target.kind_name()));
  Scope& space = namespaces_[target.index()];
  budget_.spend(space.variables.size() / 8);
  space.set(stmt.attribute, std::move(value));
  return {};
}

Result<void> Evaluator::exec_with(const Stmt& stmt) {
  std::vector<Value> values;
  for (const auto& expr : stmt.conditions) {
    ALTLAS_TRY(Value value, eval(*expr));
    values.push_back(std::move(value));
  }
  scopes_.emplace_back();
  for (size_t i = 0; i < values.size(); ++i)
    scopes_.back().set(stmt.targets[i], std::move(values[i]));
  const auto flow = exec_body(stmt.bodies[0]);
  scopes_.pop_back();
  if (!flow.ok()) return flow.error();
  return {};
}

Result<void> Evaluator::exec_call(const Stmt& stmt) {
  ALTLAS_TRY(const Value caller, make_macro(stmt));
  ALTLAS_TRY(const Value value, eval_call(*stmt.expr, &caller));
  ALTLAS_TRY(const TaggedText text, to_text(value));
  return print(text);
}

// ---- Macros and loops as functions ----

Result<Value> Evaluator::make_macro(const Stmt& stmt) {
  Macro macro{&stmt, {}};
  for (size_t i = std::max<size_t>(frame_, 1); i < scopes_.size(); ++i) {
    budget_.spend(scopes_[i].variables.size() * (1 + macro.captured.variables.size() / 8));
    budget_.take(scopes_[i].variables.size() * sizeof(Variables::value_type));
    ALTLAS_TRY_VOID(check_budget());
    for (const auto& [name, value] : scopes_[i].variables) macro.captured.set(name, value);
  }
  macros_.push_back(std::move(macro));
  return Value::function(
      {stmt.kind == SKind::kCall ? "caller" : stmt.text, Value::undefined(), macros_.size() - 1});
}

Result<Value> Evaluator::call_macro(size_t index, const Arguments& arguments) {
  const Enter enter(*this);
  ALTLAS_TRY_VOID(check_budget());
  const Stmt& stmt = *macros_[index].stmt;
  if (arguments.positional.size() > stmt.parameters.size())
    return fail(fmt::format("macro '{}' takes {} arguments, {} were given", stmt.text,
                            stmt.parameters.size(), arguments.positional.size()));
  budget_.spend(macros_[index].captured.variables.size());
  const size_t frame = std::exchange(frame_, scopes_.size());
  scopes_.push_back(macros_[index].captured);
  scopes_.emplace_back();
  auto text = [&]() -> Result<TaggedText> {
    for (const auto& [name, value] : arguments.named) {
      const auto same = [&](const Parameter& p) { return p.name == name; };
      if (name != "caller" && std::ranges::none_of(stmt.parameters, same))
        return fail(fmt::format("macro '{}' has no parameter '{}'", stmt.text, name));
      scopes_.back().set(name, value);
    }
    for (size_t i = 0; i < stmt.parameters.size(); ++i) {
      const Parameter& parameter = stmt.parameters[i];
      const Value* given = arguments.get(i, parameter.name);
      Value value = given != nullptr ? *given : Value::undefined(parameter.name);
      if (given == nullptr && parameter.fallback != nullptr) {
        ALTLAS_TRY(value, eval(*parameter.fallback));
      }
      scopes_.back().set(parameter.name, std::move(value));
    }
    return capture(stmt.bodies[0]);
  }();
  scopes_.pop_back();
  scopes_.pop_back();
  frame_ = frame;
  if (!text.ok()) return text.error();
  return Value(*std::move(text));
}

// loop(items) in a recursive loop: renders the loop's body over them, one level deeper.
Result<Value> Evaluator::call_loop(size_t index, const Arguments& arguments) {
  const Stmt& stmt = *loops_[index].stmt;
  if (!stmt.recursive) return fail("this loop is not recursive: write {% for ... recursive %}");
  if (arguments.positional.size() != 1) return fail("loop() takes what to loop over");
  TaggedText captured;
  TaggedText* const outer = std::exchange(out_, &captured);
  const auto flow = exec_for(stmt, arguments.positional[0], loops_[index].depth + 1);
  out_ = outer;
  if (!flow.ok()) return flow.error();
  return Value(std::move(captured));
}

Result<Value> Evaluator::loop_attribute(const Loop& loop, const std::string& name,
                                        const Value& self) const {
  const auto index = static_cast<int64_t>(loop.index),
             size = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(loop.depth);
  if (name == "depth0") return Value(loop.depth - 1);
  if (name == "previtem")
    return index > 0 ? loop.items[loop.index - 1] : Value::undefined("loop.previtem");
  if (name == "nextitem")
    return index + 1 < size ? loop.items[loop.index + 1] : Value::undefined("loop.nextitem");
  if (name == "cycle" || name == "changed") return Value::function({name, self});
  return Value::undefined(name);
}

Result<Value> Evaluator::call(const Value& callee, const Arguments& arguments) {
  budget_.spend(1 + arguments.positional.size());
  ALTLAS_TRY_VOID(check_budget());
  if (callee.is(VKind::kLoop)) return call_loop(callee.index(), arguments);
  if (!callee.is(VKind::kFunction))
    return fail(callee.is_undefined()
                    ? fmt::format("'{}' is undefined, it can't be called", callee.undefined_name())
                    : fmt::format("a {} can't be called", callee.kind_name()));
  const FunctionData& function = callee.function_data();
  if (function.macro != ~size_t{0}) return call_macro(function.macro, arguments);
  if (function.receiver.is(VKind::kLoop)) {
    Loop& loop = loops_[function.receiver.index()];
    if (function.name == "cycle") {
      if (arguments.positional.empty()) return fail("loop.cycle() takes values to cycle through");
      return arguments.positional[loop.index % arguments.positional.size()];
    }
    const Value now = Value::list(arguments.positional);
    const bool changed = !loop.changed || !equal(*loop.changed, now, budget_);
    loop.changed = now;
    return Value(changed);
  }
  if (function.receiver.is_undefined()) {
    if (function.name != "namespace") return call_global(function.name, arguments);
    Scope space;
    for (const Value& value : arguments.positional) {
      if (!value.is_object()) return fail("namespace() takes named values");
      budget_.spend(value.entries().size() * value.entries().size() / 8);
      ALTLAS_TRY_VOID(check_budget());
      for (const auto& [key, item] : value.entries()) {
        if (!key.is_string()) return fail("namespace() takes named values");
        space.set(std::string(key.view()), item);
      }
    }
    for (const auto& [name, value] : arguments.named) space.set(name, value);
    budget_.take(sizeof(Scope) + space.variables.size() * sizeof(Variables::value_type));
    ALTLAS_TRY_VOID(check_budget());
    namespaces_.push_back(std::move(space));
    return Value::name_space(namespaces_.size() - 1);
  }
  return call_method(function.receiver, function.name, arguments);
}

Result<Value> Evaluator::attribute(const Value& value, const std::string& name) {
  constexpr std::string_view kObjectMethods[] = {"items", "keys", "values", "get", "copy"};
  constexpr std::string_view kStringMethods[] = {
      "strip",        "lstrip",  "rstrip",  "split",     "rsplit",     "splitlines",
      "replace",      "upper",   "lower",   "title",     "capitalize", "startswith",
      "endswith",     "join",    "format",  "partition", "rpartition", "ljust",
      "rjust",        "center",  "zfill",   "isdigit",   "isdecimal",  "isnumeric",
      "isalpha",      "isalnum", "isspace", "isupper",   "islower",    "removeprefix",
      "removesuffix", "find",    "rfind",   "index",     "count"};
  constexpr std::string_view kMutators[] = {"append",  "extend",  "insert",    "remove",
                                            "pop",     "clear",   "update",    "sort",
                                            "reverse", "popitem", "setdefault"};
  switch (value.kind()) {
    case VKind::kUndefined:
      return fail(
          fmt::format("'{}' is undefined, it has no attribute '{}'", value.undefined_name(), name));
    case VKind::kNamespace: {
      const Scope& space = namespaces_[value.index()];
      budget_.spend(space.variables.size() / 8);
      const Value* found = space.find(name);
      return found != nullptr ? *found : Value::undefined(name);
    }
    case VKind::kLoop:
      return loop_attribute(loops_[value.index()], name, value);
    case VKind::kObject: {
      for (const std::string_view method : kObjectMethods)
        if (name == method) return Value::function({name, value});
      const Value* found = value.find(name);
      if (found != nullptr) return *found;
      break;
    }
    case VKind::kList:
      if (name == "index" || name == "count") return Value::function({name, value});
      break;
    case VKind::kString:
      for (const std::string_view method : kStringMethods)
        if (name == method) return Value::function({name, value});
      break;
    default:
      break;
  }
  if (value.is_list() || value.is_object())
    for (const std::string_view mutator : kMutators)
      if (name == mutator)
        return fail(fmt::format("{}() would change a value, which a template must not", name));
  return Value::undefined(name);
}

}  // namespace altlas::text
