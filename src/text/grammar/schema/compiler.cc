#include "text/grammar/schema/compiler.h"

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "text/grammar/limits.h"
#include "text/grammar/program.h"
#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

Result<Rules> SchemaCompiler::compile() {
  Goal root;
  ALTLAS_TRY_VOID(goals_.add(root, root_, ""));
  ALTLAS_TRY([[maybe_unused]] const uint32_t first, goals_.rule_of(std::move(root)));
  rules_.add_indentation();
  while (const auto open = goals_.take_open()) {
    const auto& [goal, index] = *open;
    ALTLAS_TRY(ExpressionPtr made, goal.impossible ? nothing() : any_choice(goal));
    rules_.set(index, std::move(made));
  }
  return rules_.take();
}

Result<ExpressionPtr> SchemaCompiler::any_choice(const Goal& goal) {
  ALTLAS_TRY_VOID(context_.budget.spend(16));
  if (schemas_.is_listed(goal.schemas))
    // The choices judge each value, too.
    return decided(goal);
  ALTLAS_TRY(auto goals, choices_.alternatives(goal));
  if (!goals) return decided(goal);
  std::vector<ExpressionPtr> parts;
  for (Goal& one : *goals) {
    ALTLAS_TRY(ExpressionPtr part, goals_.value_of(std::move(one)));
    parts.push_back(std::move(part));
  }
  return choice(std::move(parts));
}

Result<ExpressionPtr> SchemaCompiler::decided(const Goal& goal) {
  const Set& set = goal.schemas;
  ALTLAS_TRY(auto listed, choices_.listed_values(set));
  if (listed) {
    std::vector<ExpressionPtr> texts;
    for (const json::value* one : *listed) texts.push_back(bytes(canonical_json(*one)));
    return choice(std::move(texts));
  }
  schemas_.name_pending(set);
  const Types types = schemas_.types_of(set);
  std::vector<ExpressionPtr> parts = schemas_.literals_of(set, types);
  if (types[kInteger] || types[kNumber]) {
    ALTLAS_TRY(ExpressionPtr one, numbers_.value(set, types[kInteger], types[kNumber]));
    parts.push_back(std::move(one));
  }
  if (types[kString]) {
    ALTLAS_TRY(ExpressionPtr one, strings_.value(set));
    parts.push_back(std::move(one));
  }
  if (types[kArray]) {
    ALTLAS_TRY(ExpressionPtr one, arrays_.value(set));
    parts.push_back(std::move(one));
  }
  if (types[kObject]) {
    ALTLAS_TRY(ExpressionPtr one, objects_.value(set));
    parts.push_back(std::move(one));
  }
  return choice(std::move(parts));
}

}  // namespace altlas::text::grammar::schema

namespace altlas::text::grammar {

Result<std::shared_ptr<const Program>> compile_json_schema(std::string_view text) {
  json::parse_options options;
  options.max_depth = kGrammarNestingMax;
  boost::system::error_code code;
  json::value root;
  root = json::parse(text, code, {}, options);
  if (code) return invalid("schema: not valid JSON: " + code.message());
  if (!root.is_object() && !root.is_bool()) return invalid("schema: should be an object");
  if (root.is_bool()) {
    if (!root.get_bool()) return invalid("schema: false allows no value");
    root = json::object();
  }
  const auto attempt = [&](bool expands, bool& again) -> Result<std::shared_ptr<const Program>> {
    schema::SchemaCompiler compiler(root, expands);
    auto rules = compiler.compile();
    again = expands && compiler.expanded();
    if (!rules.ok()) return rules.error();
    auto program = compile_rules(*std::move(rules), compiler.budget(), compiler.take_unheld());
    again = again && !program.ok() && compiler.budget().is_spent();
    return program;
  };
  // What multiplies cases is given up if it takes the whole beyond a limit.
  bool again = false;
  auto program = attempt(true, again);
  if (!program.ok() && again) program = attempt(false, again);
  return program;
}

}  // namespace altlas::text::grammar
