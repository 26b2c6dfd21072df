#include "text/grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/grammar/program.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kSchemasMax = 20'000;
constexpr size_t kListedApartMax = 8;  // Of more, equal values may be listed twice.
constexpr size_t kOneOfPairsMax = 128;
constexpr size_t kTogetherMax = 4;  // Schemas of anyOf that are tried in every combination.

}  // namespace

Error SchemaCompiler::wrong(std::string_view path, std::string_view what) const {
  const std::string_view place = path.substr(0, 256);
  return invalid(fmt::format("schema{}{}: {}", place.empty() ? "" : ", at ", place, what),
                 dotted_pointer(place));
}

// `{}` may stand after a "{" or ",": nothing, a blank, or a line's end and its indentation.
ExpressionPtr SchemaCompiler::space() const {
  return optional(choice({bytes(" "), sequence({bytes("\n"), rule(indent_)})}));
}

Result<uint32_t> SchemaCompiler::schema_at(const json::value& value, const std::string& path) {
  const auto [at, fresh] = ids_.try_emplace(&value, static_cast<uint32_t>(schemas_.size()));
  if (!fresh) return at->second;
  if (schemas_.size() >= kSchemasMax)
    return wrong(path, fmt::format("more than {} schemas", kSchemasMax));
  ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(path.size() / 2) + 32));
  const uint32_t id = at->second;
  schemas_.push_back({&value, path, value.get_object().contains(kMade), {}, {}, {}});
  check_keywords(id);
  ALTLAS_TRY_VOID(derive(id));
  return id;
}

const json::value* SchemaCompiler::resolve(std::string_view keyword, const json::value& reference,
                                           const std::string& path, std::string& target) {
  const std::string_view text = reference.get_string();
  const size_t cut = path.rfind('/');  // The schema's own place is asked for.
  const std::string_view schema = std::string_view(path).substr(0, cut);
  auto found = keyword == "$ref" ? references_.resolve(text, schema)
                                 : references_.resolve_dynamic(text, schema);
  if (found.ok()) {
    target = std::move(found->pointer);
    return found->value;
  }
  const bool other = found.error().code() == ErrorCode::kNotFound;
  leave_out(other ? Unheld::Why::kUnsupported : Unheld::Why::kMalformed, path,
            fmt::format("'{}' names nothing in this schema{}", text.substr(0, 128),
                        other ? "; references to other documents are not supported" : ""));
  return nullptr;
}

Result<void> SchemaCompiler::add_reference(Goal& goal, uint32_t schema, std::string_view keyword) {
  const json::value* reference = find(schema, keyword);
  if (reference == nullptr) return {};
  std::string pointer;
  const json::value* target = resolve(keyword, *reference, path_of(schema, keyword), pointer);
  if (target == nullptr) return {};
  return add_inner(goal, *target, pointer);
}

// Adds a schema, what it refers to and its allOf to the goal.
Result<void> SchemaCompiler::add(Goal& goal, const json::value& value, const std::string& path) {
  ALTLAS_TRY_VOID(budget_.spend(1));
  if (value.is_bool()) {
    goal.impossible |= !value.get_bool();
    return {};
  }
  if (!value.is_object()) {
    leave_out(Unheld::Why::kMalformed, path, "a schema should be an object, true or false");
    return {};
  }
  if (const json::value* at = value.get_object().if_contains(kAt)) {
    const Literal literal = literals_[at->to_number<size_t>()];
    if (!literal.negated) return add_inner(goal, *literal.value, literal.path);
    ALTLAS_TRY(const json::value* made, negation(*literal.value, literal.path));
    return add_inner(goal, *made, literal.path);
  }
  ALTLAS_TRY(const uint32_t id, schema_at(value, path));
  const auto at = std::ranges::lower_bound(goal.schemas, id);
  if (at != goal.schemas.end() && *at == id) return {};
  goal.schemas.insert(at, id);
  if (const json::value* negated = find(id, "not"))
    goal.impossible |= negated->is_bool() ? negated->get_bool()
                                          : negated->is_object() && negated->get_object().empty();
  for (const std::string_view keyword : {"$ref", "$dynamicRef", "$recursiveRef"})
    ALTLAS_TRY_VOID(add_reference(goal, id, keyword));
  if (const json::value* all = find(id, "allOf")) {
    for (size_t i = 0; i < all->get_array().size(); ++i)
      ALTLAS_TRY_VOID(add_inner(goal, all->get_array()[i], path_of(id, "allOf", i)));
  }
  const auto derived = schemas_[id].derived;
  for (const auto& [made, place] : derived) ALTLAS_TRY_VOID(add_inner(goal, *made, place));
  return {};
}

Result<void> SchemaCompiler::add_inner(Goal& goal, const json::value& value,
                                       const std::string& path) {
  if (depth_ >= 2 * kGrammarNestingMax)
    return wrong(path,
                 fmt::format("references and allOf lie deeper than {}", 2 * kGrammarNestingMax));
  ++depth_;
  Result<void> done = add(goal, value, path);
  --depth_;
  return done;
}

Result<uint32_t> SchemaCompiler::rule_of(Goal goal) {
  if (goal.impossible) goal = Goal{{}, {}, true};
  const auto [at, fresh] = goals_.try_emplace(goal, static_cast<uint32_t>(rules_.rules.size()));
  if (fresh) {
    if (rules_.rules.size() >= kGrammarRulesMax)
      return wrong("", fmt::format("needs more than {} rules", kGrammarRulesMax));
    rules_.add(goal.schemas.empty() ? "value" : schemas_[goal.schemas.back()].path.substr(0, 64));
    open_.emplace_back(std::move(goal), at->second);
  }
  return at->second;
}

Result<ExpressionPtr> SchemaCompiler::value_of(Goal goal) {
  if (goal.impossible) return nothing();
  ALTLAS_TRY(const uint32_t index, rule_of(std::move(goal)));
  return rule(index);
}

Result<Rules> SchemaCompiler::compile() {
  Goal root;
  ALTLAS_TRY_VOID(add(root, root_, ""));
  ALTLAS_TRY([[maybe_unused]] const uint32_t first, rule_of(std::move(root)));
  indent_ = rules_.add("indentation");
  rules_.rules[indent_] = {"indentation", character({{' ', ' '}, {'\t', '\t'}}), true, 0, 20};
  while (!open_.empty()) {
    const auto [goal, index] = open_.back();
    open_.pop_back();
    ALTLAS_TRY(ExpressionPtr made, goal.impossible ? nothing() : any_choice(goal));
    rules_.rules[index].expression = std::move(made);
  }
  return std::move(rules_);
}

std::string SchemaCompiler::path_of(uint32_t schema, std::string_view keyword, size_t index) const {
  const std::string place = path_of(schema, keyword);
  return schemas_[schema].made ? place : fmt::format("{}/{}", place, index);
}

Result<std::vector<SchemaCompiler::Goal>> SchemaCompiler::alternatives_of(const Goal& goal,
                                                                          uint32_t schema,
                                                                          bool one) {
  const std::string_view keyword = one ? "oneOf" : "anyOf";
  const json::array& list = find(schema, keyword)->get_array();
  const uint32_t mark = 2 * schema + (one ? 1 : 0);
  const bool apart = !one || are_different_values(list);
  // What unevaluated… leaves follows from every schema that fits, so that several make a case.
  const bool together = !one && expands_ && !schemas_[schema].made && list.size() <= kTogetherMax &&
                        std::ranges::any_of(goal.schemas, [&](uint32_t s) {
                          return find(s, "unevaluatedProperties") != nullptr ||
                                 find(s, "unevaluatedItems") != nullptr;
                        });
  expanded_ |= together;
  std::vector<std::vector<size_t>> cases;
  for (size_t i = 0; i < list.size(); ++i) {
    const size_t before = cases.size();
    cases.push_back({i});
    for (size_t c = 0; together && c < before; ++c) {
      cases.push_back(cases[c]);
      cases.back().push_back(i);
    }
  }
  std::vector<Goal> out;
  for (const std::vector<size_t>& some : cases) {
    Goal alternative;
    for (const size_t i : some)
      ALTLAS_TRY_VOID(add(alternative, list[i], path_of(schema, keyword, i)));
    if (!apart) ALTLAS_TRY_VOID(exclude_others(alternative, list, some[0], schema));
    // Leading back to this choice it would add nothing.
    if (alternative.impossible || std::ranges::binary_search(alternative.schemas, schema)) continue;
    Goal more = goal;
    more.decided.insert(std::ranges::upper_bound(more.decided, mark), mark);
    Set all;
    std::ranges::set_union(more.schemas, alternative.schemas, std::back_inserter(all));
    more.schemas = std::move(all);
    out.push_back(std::move(more));
  }
  return out;
}

Result<void> SchemaCompiler::exclude_others(Goal& goal, const json::array& list, size_t kept,
                                            uint32_t schema) {
  const std::string place = path_of(schema, "oneOf");
  if (list.size() > kOneOfPairsMax) {
    leave_out(Unheld::Why::kTooComplex, place,
              fmt::format("is held as anyOf: it has more than {} schemas", kOneOfPairsMax));
    return {};
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = path_of(schema, "oneOf", i);
    if (i == kept || are_alternatives(list[kept], path_of(schema, "oneOf", kept), list[i], path))
      continue;
    ALTLAS_TRY_VOID(budget_.spend(16));
    ALTLAS_TRY(const bool can, can_negate(list[i], path, 0));
    if (can && expands_) {
      ALTLAS_TRY(const json::value* other, negation(list[i], path));
      ALTLAS_TRY_VOID(add(goal, *other, path));
      continue;
    }
    leave_out(can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, place,
              fmt::format("is held as anyOf: what fits both schema {} and schema {} can't be kept "
                          "out",
                          std::min(i, kept), std::max(i, kept)));
  }
  return {};
}

Result<std::optional<std::vector<SchemaCompiler::Goal>>> SchemaCompiler::alternatives(
    const Goal& goal) {
  for (const uint32_t s : goal.schemas) {
    for (const bool one : {false, true}) {
      if (find(s, one ? "oneOf" : "anyOf") == nullptr) continue;
      if (std::ranges::binary_search(goal.decided, 2 * s + (one ? 1 : 0))) continue;
      ALTLAS_TRY(auto all, alternatives_of(goal, s, one));
      return std::optional(std::move(all));
    }
  }
  return std::optional<std::vector<Goal>>();
}

Result<ExpressionPtr> SchemaCompiler::any_choice(const Goal& goal) {
  ALTLAS_TRY_VOID(budget_.spend(16));
  if (is_listed(goal.schemas)) return decided(goal);  // Each value is judged by the choices, too.
  ALTLAS_TRY(auto goals, alternatives(goal));
  if (!goals) return decided(goal);
  std::vector<ExpressionPtr> parts;
  for (Goal& one : *goals) {
    ALTLAS_TRY(ExpressionPtr part, value_of(std::move(one)));
    parts.push_back(std::move(part));
  }
  return choice(std::move(parts));
}

bool SchemaCompiler::is_listed(const Set& set) const {
  return std::ranges::any_of(
      set, [&](uint32_t s) { return find(s, "const") != nullptr || find(s, "enum") != nullptr; });
}

// The values of enum and const that fit everything else, each once; nothing where neither is given.
Result<std::optional<std::vector<const json::value*>>> SchemaCompiler::listed_values(
    const Set& set) {
  if (!is_listed(set)) return std::optional<std::vector<const json::value*>>();
  std::vector<const json::value*> values;
  for (const uint32_t s : set) {
    const json::value* one = find(s, "const");
    const json::value* list = find(s, "enum");
    if (one != nullptr)
      values.push_back(one);
    else if (list != nullptr)
      for (const json::value& value : list->get_array()) values.push_back(&value);
    if (one != nullptr || list != nullptr) break;
  }
  std::vector<const json::value*> kept;
  for (const json::value* value : values) {
    bool fits =
        kept.size() >= kListedApartMax ||  // A text twice is no more than a choice.
        std::ranges::none_of(kept, [&](const auto* one) { return same_value(*one, *value); });
    for (const uint32_t s : set) {
      if (!fits) break;
      ALTLAS_TRY(fits, is_valid(*value, *schemas_[s].value, schemas_[s].path, 0));
    }
    if (fits) kept.push_back(value);
  }
  return std::optional(std::move(kept));
}

bool SchemaCompiler::is_left(const Set& set, const json::value& value) const {
  return std::ranges::none_of(set, [&](uint32_t s) {
    const json::value* out = find(s, kNotEnum);
    return out != nullptr && std::ranges::find(out->get_array(), value) != out->get_array().end();
  });
}

void SchemaCompiler::name_pending(const Set& set) {
  for (const uint32_t s : set)
    for (const Unheld& one : schemas_[s].pending) leave_out(one.why, one.pointer, one.reason);
}

Result<ExpressionPtr> SchemaCompiler::decided(const Goal& goal) {
  const Set& set = goal.schemas;
  ALTLAS_TRY(auto listed, listed_values(set));
  if (listed) {
    std::vector<ExpressionPtr> texts;
    for (const json::value* one : *listed) texts.push_back(bytes(canonical_json(*one)));
    return choice(std::move(texts));
  }
  name_pending(set);
  const Types types = types_of(set);
  std::vector<ExpressionPtr> parts;
  if (types[kNull] && is_left(set, nullptr)) parts.push_back(bytes("null"));
  for (const bool value : {true, false})
    if (types[kBoolean] && is_left(set, value)) parts.push_back(bytes(value ? "true" : "false"));
  if (types[kInteger] || types[kNumber]) {
    ALTLAS_TRY(ExpressionPtr one, number(set, types[kInteger], types[kNumber]));
    parts.push_back(std::move(one));
  }
  if (types[kString]) {
    ALTLAS_TRY(ExpressionPtr one, string(set));
    parts.push_back(std::move(one));
  }
  if (types[kArray]) {
    ALTLAS_TRY(ExpressionPtr one, array(set));
    parts.push_back(std::move(one));
  }
  if (types[kObject]) {
    ALTLAS_TRY(ExpressionPtr one, object(set));
    parts.push_back(std::move(one));
  }
  return choice(std::move(parts));
}

Result<std::shared_ptr<const Program>> compile_json_schema(std::string_view schema) {
  json::parse_options options;
  options.max_depth = kGrammarNestingMax;
  boost::system::error_code code;
  json::value root;
  root = json::parse(schema, code, {}, options);
  if (code) return invalid("schema: not valid JSON: " + code.message());
  if (!root.is_object() && !root.is_bool()) return invalid("schema: should be an object");
  if (root.is_bool()) {
    if (!root.get_bool()) return invalid("schema: false allows no value");
    root = json::object();
  }
  const auto attempt = [&](bool expands, bool& again) -> Result<std::shared_ptr<const Program>> {
    SchemaCompiler compiler(root, expands);
    auto rules = compiler.compile();
    again = expands && compiler.expanded();
    if (!rules.ok()) return rules.error();
    auto program = compile_rules(*std::move(rules), compiler.budget(), compiler.take_unheld());
    again = again && !program.ok() && compiler.budget().is_spent();
    return program;
  };
  // What multiplies cases is given up where it takes the whole over a limit.
  bool again = false;
  auto program = attempt(true, again);
  if (!program.ok() && again) program = attempt(false, again);
  return program;
}

}  // namespace altlas::text::grammar
