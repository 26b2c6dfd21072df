#include "text/grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <utility>

#include "text/grammar/program.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kChoicesMax = 4096;  // Of one anyOf, oneOf or enum.
constexpr size_t kSchemasMax = 20'000;
constexpr size_t kDifferentValuesMax = 8;  // Every set of them is a rule.

// Keywords that say something which can't be held to while a text is being written.
constexpr std::string_view kUnsupported[] = {
    "if",          "contains",      "dependentRequired", "dependentSchemas",     "dependencies",
    "$dynamicRef", "$recursiveRef", "unevaluatedItems",  "unevaluatedProperties"};

constexpr std::string_view kTypeNames[] = {"null",   "boolean", "integer", "number",
                                           "string", "array",   "object"};

std::string joined(const std::string& path, std::string_view step) {
  return path.empty() ? std::string(step) : path + "." + std::string(step);
}

}  // namespace

Error SchemaCompiler::wrong(std::string_view path, std::string_view what) const {
  return invalid(
      fmt::format("schema{}{}: {}", path.empty() ? "" : ", at ", path.substr(0, 256), what),
      std::string(path.substr(0, 256)));
}

std::string SchemaCompiler::path_of(uint32_t schema, std::string_view keyword) const {
  return joined(schemas_[schema].path, keyword);
}

const json::value* SchemaCompiler::find(uint32_t schema, std::string_view keyword) const {
  return schemas_[schema].value->get_object().if_contains(keyword);
}

Result<const json::object*> SchemaCompiler::object_at(uint32_t schema,
                                                      std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  if (value != nullptr && !value->is_object())
    return wrong(path_of(schema, keyword), "should be an object");
  return value == nullptr ? nullptr : &value->get_object();
}

Result<std::optional<uint32_t>> SchemaCompiler::count_at(uint32_t schema,
                                                         std::string_view keyword) const {
  const json::value* value = find(schema, keyword);
  if (value == nullptr) return std::optional<uint32_t>();
  const double number = value->is_number() ? value->to_number<double>() : -1;
  if (!(number >= 0) || number != std::floor(number))
    return wrong(path_of(schema, keyword), "should be a whole number from 0");
  const bool upper = keyword.starts_with("max");
  if (number > kRepetitionMax) {
    if (upper) return std::optional<uint32_t>();  // Longer than any answer.
    return wrong(path_of(schema, keyword), fmt::format("is more than {}", kRepetitionMax));
  }
  return std::optional<uint32_t>(static_cast<uint32_t>(number));
}

Result<std::optional<uint32_t>> SchemaCompiler::tightest(const Set& set, std::string_view keyword,
                                                         bool largest) const {
  std::optional<uint32_t> all;
  for (const uint32_t s : set) {
    ALTLAS_TRY(const std::optional<uint32_t> one, count_at(s, keyword));
    if (one) all = !all ? *one : largest ? std::max(*all, *one) : std::min(*all, *one);
  }
  return all;
}

// `{}` may stand after a "{" or ",": nothing, a blank, or a line's end and its indentation.
ExpressionPtr SchemaCompiler::space() const {
  return optional(choice({bytes(" "), sequence({bytes("\n"), rule(indent_)})}));
}

Result<uint32_t> SchemaCompiler::schema_at(const json::value& value, const std::string& path) {
  const auto [at, fresh] = ids_.try_emplace(&value, static_cast<uint32_t>(schemas_.size()));
  if (fresh) {
    if (schemas_.size() >= kSchemasMax)
      return wrong(path, fmt::format("more than {} schemas", kSchemasMax));
    schemas_.push_back({&value, path});
    ALTLAS_TRY_VOID(check_keywords(at->second));
  }
  return at->second;
}

// Whether what `negated` excludes can be kept out: types, or values where the schema lists its own.
bool SchemaCompiler::is_held(const json::value& negated, uint32_t schema) const {
  if (!negated.is_object()) return false;
  const bool lists = find(schema, "enum") != nullptr || find(schema, "const") != nullptr;
  return std::ranges::all_of(negated.get_object(), [&](const auto& entry) {
    const std::string_view keyword = entry.key();
    return keyword == "type" || (lists && (keyword == "enum" || keyword == "const"));
  });
}

Result<void> SchemaCompiler::check_keywords(uint32_t schema) {
  for (const std::string_view keyword : kUnsupported) {
    const json::value* value = find(schema, keyword);
    const bool says_nothing =
        value == nullptr || (value->is_bool() && value->get_bool()) ||
        (keyword == "if" && find(schema, "then") == nullptr && find(schema, "else") == nullptr);
    if (!says_nothing)
      return wrong(path_of(schema, keyword), fmt::format("'{}' is not supported", keyword));
  }
  const json::value* negated = find(schema, "not");
  if (negated != nullptr && !negated->is_bool() && !is_held(*negated, schema))
    return wrong(path_of(schema, "not"),
                 "'not' is supported for types, and beside enum or const, only");
  return {};
}

// The value that "#", "#/$defs/a" or "#name" names.
Result<const json::value*> SchemaCompiler::resolve(std::string_view reference,
                                                   const std::string& path) const {
  const auto none = [&] {
    return wrong(path, fmt::format("'{}' names nothing in this schema; only references within it "
                                   "(#/$defs/…) are supported",
                                   reference.substr(0, 128)));
  };
  if (!reference.starts_with("#")) return none();
  std::string pointer;  // Percent-decoded.
  for (size_t i = 1; i < reference.size(); ++i) {
    int code = 0;
    if (reference[i] == '%' && i + 2 < reference.size() &&
        std::from_chars(&reference[i + 1], &reference[i + 1] + 2, code, 16).ec == std::errc()) {
      pointer += static_cast<char>(code);
      i += 2;
    } else {
      pointer += reference[i];
    }
  }
  if (!pointer.empty() && pointer[0] != '/') {  // "$anchor", looked for where definitions stand.
    for (const std::string_view place : {"$defs", "definitions"}) {
      const json::value* all = root_.get_object().if_contains(place);
      if (all == nullptr || !all->is_object()) continue;
      for (const auto& [name, one] : all->get_object()) {
        const json::value* anchor =
            one.is_object() ? one.get_object().if_contains("$anchor") : nullptr;
        if (anchor != nullptr && anchor->is_string() && anchor->get_string() == pointer)
          return &one;
      }
    }
    return none();
  }
  boost::system::error_code code;
  const json::value* found = root_.find_pointer(pointer, code);
  if (found == nullptr || code) return none();
  return found;
}

// Adds a schema, what it refers to and its allOf to the goal.
Result<void> SchemaCompiler::add(Goal& goal, const json::value& value, const std::string& path) {
  ALTLAS_TRY_VOID(budget_.spend(1));
  if (value.is_bool()) {
    goal.impossible |= !value.get_bool();
    return {};
  }
  if (!value.is_object()) return wrong(path, "a schema should be an object, true or false");
  ALTLAS_TRY(const uint32_t id, schema_at(value, path));
  const auto at = std::ranges::lower_bound(goal.schemas, id);
  if (at != goal.schemas.end() && *at == id) return {};
  goal.schemas.insert(at, id);
  if (const json::value* negated = find(id, "not"))
    goal.impossible |= negated->is_bool() ? negated->get_bool() : negated->get_object().empty();
  if (const json::value* reference = find(id, "$ref")) {
    const std::string place = path_of(id, "$ref");
    if (!reference->is_string()) return wrong(place, "should be a string");
    ALTLAS_TRY(const json::value* target, resolve(reference->get_string(), place));
    ALTLAS_TRY_VOID(add_inner(goal, *target, std::string(reference->get_string())));
  }
  if (const json::value* all = find(id, "allOf")) {
    const std::string place = path_of(id, "allOf");
    if (!all->is_array()) return wrong(place, "should be a list of schemas");
    for (size_t i = 0; i < all->get_array().size(); ++i)
      ALTLAS_TRY_VOID(add_inner(goal, all->get_array()[i], fmt::format("{}[{}]", place, i)));
  }
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

Result<ExpressionPtr> SchemaCompiler::any_choice(const Goal& goal) {
  ALTLAS_TRY_VOID(budget_.spend(16));
  for (const uint32_t s : goal.schemas) {
    for (const uint32_t kind : {0u, 1u}) {
      const std::string_view keyword = kind == 0 ? "anyOf" : "oneOf";
      const json::value* list = find(s, keyword);
      if (list == nullptr || std::ranges::binary_search(goal.decided, 2 * s + kind)) continue;
      const std::string place = path_of(s, keyword);
      if (!list->is_array() || list->get_array().empty() || list->get_array().size() > kChoicesMax)
        return wrong(place, fmt::format("should be a list of 1 to {} schemas", kChoicesMax));
      std::vector<ExpressionPtr> parts;
      for (size_t i = 0; i < list->get_array().size(); ++i) {
        Goal alternative;
        ALTLAS_TRY_VOID(add(alternative, list->get_array()[i], fmt::format("{}[{}]", place, i)));
        // Leading back to this choice it would add nothing.
        if (alternative.impossible || std::ranges::binary_search(alternative.schemas, s)) continue;
        Goal more = goal;
        more.decided.insert(std::ranges::upper_bound(more.decided, 2 * s + kind), 2 * s + kind);
        Set all;
        std::ranges::set_union(more.schemas, alternative.schemas, std::back_inserter(all));
        more.schemas = std::move(all);
        ALTLAS_TRY(ExpressionPtr one, value_of(std::move(more)));
        parts.push_back(std::move(one));
      }
      return choice(std::move(parts));
    }
  }
  return decided(goal);
}

Result<std::vector<bool>> SchemaCompiler::named_types(const json::value& type,
                                                      const std::string& path) const {
  std::vector<bool> here(kTypes, false);
  const auto add_name = [&](const json::value& name) {
    const auto* at = name.is_string()
                         ? std::ranges::find(kTypeNames, std::string_view(name.get_string()))
                         : std::end(kTypeNames);
    if (at == std::end(kTypeNames)) return false;
    here[static_cast<size_t>(at - kTypeNames)] = true;
    if (*at == "number") here[kInteger] = true;
    return true;
  };
  const bool fine =
      type.is_array() ? std::ranges::all_of(type.get_array(), add_name) : add_name(type);
  if (!fine)
    return wrong(path,
                 "should be one or a list of null, boolean, integer, number, string, array, "
                 "object");
  return here;
}

Result<std::vector<bool>> SchemaCompiler::types_of(const Set& set) const {
  std::vector<bool> all(kTypes, true);
  for (const uint32_t s : set) {
    if (const json::value* type = find(s, "type")) {
      ALTLAS_TRY(const std::vector<bool> here, named_types(*type, path_of(s, "type")));
      for (size_t t = 0; t < kTypes; ++t) all[t] = all[t] && here[t];
    }
    const json::value* negated = find(s, "not");
    if (negated == nullptr || !negated->is_object() || negated->get_object().size() != 1) continue;
    if (const json::value* type = negated->get_object().if_contains("type")) {
      ALTLAS_TRY(const std::vector<bool> out, named_types(*type, path_of(s, "not.type")));
      for (size_t t = 0; t < kTypes; ++t) all[t] = all[t] && !out[t];
    }
  }
  return all;
}

// The values of enum and const that fit everything else, as JSON, each once; nothing where neither
// is given.
Result<std::optional<std::vector<std::string>>> SchemaCompiler::listed_values(const Set& set) {
  std::vector<const json::value*> values;
  bool listed = false;
  for (const uint32_t s : set) {
    if (listed) break;
    if (const json::value* one = find(s, "const")) {
      values.push_back(one);
      listed = true;
    } else if (const json::value* list = find(s, "enum")) {
      if (!list->is_array() || list->get_array().size() > kChoicesMax)
        return wrong(path_of(s, "enum"),
                     fmt::format("should be a list of at most {} values", kChoicesMax));
      for (const json::value& one : list->get_array()) values.push_back(&one);
      listed = true;
    }
  }
  if (!listed) return std::optional<std::vector<std::string>>();
  std::vector<const json::value*> kept;
  std::vector<std::string> texts;
  for (const json::value* value : values) {
    bool fits =
        texts.size() >= kDifferentValuesMax ||  // A text twice is no more than a choice.
        std::ranges::none_of(kept, [&](const auto* one) { return same_value(*one, *value); });
    for (const uint32_t s : set) {
      ALTLAS_TRY(const bool one, is_valid(*value, *schemas_[s].value, 0));
      fits = fits && one;
    }
    if (!fits) continue;
    kept.push_back(value);
    texts.push_back(canonical_json(*value));
  }
  return std::optional(std::move(texts));
}

Result<ExpressionPtr> SchemaCompiler::decided(const Goal& goal) {
  const Set& set = goal.schemas;
  ALTLAS_TRY(auto listed, listed_values(set));
  if (listed) {
    std::vector<ExpressionPtr> texts;
    for (const std::string& text : *listed) texts.push_back(bytes(text));
    return choice(std::move(texts));
  }
  ALTLAS_TRY(const std::vector<bool> types, types_of(set));
  std::vector<ExpressionPtr> parts;
  if (types[kNull]) parts.push_back(bytes("null"));
  if (types[kBoolean]) parts.push_back(choice({bytes("true"), bytes("false")}));
  if (types[kInteger]) {
    ALTLAS_TRY(ExpressionPtr one, number(set, types[kNumber]));
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

Result<SchemaCompiler::Goal> SchemaCompiler::item_goal(const Set& set, size_t index) {
  Goal goal;
  for (const uint32_t s : set) {
    const json::value* items = find(s, "items");
    const json::value* prefix = find(s, "prefixItems");
    std::string_view list_name = "prefixItems", rest_name = "items";
    const json::value* rest = items;
    if (prefix == nullptr && items != nullptr && items->is_array()) {  // As before 2020-12.
      prefix = items;
      list_name = "items";
      rest_name = "additionalItems";
      rest = find(s, rest_name);
    }
    if (prefix != nullptr && !prefix->is_array())
      return wrong(path_of(s, list_name), "should be a list of schemas");
    if (prefix != nullptr && index < prefix->get_array().size()) {
      ALTLAS_TRY_VOID(add(goal, prefix->get_array()[index],
                          fmt::format("{}[{}]", path_of(s, list_name), index)));
    } else if (rest != nullptr) {
      ALTLAS_TRY_VOID(add(goal, *rest, path_of(s, rest_name)));
    }
  }
  return goal;
}

Result<ExpressionPtr> SchemaCompiler::array(const Set& set) {
  size_t prefix = 0;
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"prefixItems", "items"})
      if (const json::value* list = find(s, keyword); list != nullptr && list->is_array())
        prefix = std::max(prefix, list->get_array().size());
  if (prefix > 4 * kGrammarNestingMax)
    return wrong(path_of(set.back(), "prefixItems"),
                 fmt::format("has more than {} items", 4 * kGrammarNestingMax));
  ALTLAS_TRY(const auto min_items, tightest(set, "minItems", true));
  ALTLAS_TRY(const auto max_items, tightest(set, "maxItems", false));
  const uint32_t min = min_items.value_or(0);
  const uint32_t max = max_items.value_or(kUnlimited);
  if (min > max) return nothing();
  const auto less = [](uint32_t count, uint32_t by) {
    return count == kUnlimited ? count : count - std::min(count, by);
  };
  for (const uint32_t s : set) {
    const json::value* unique = find(s, "uniqueItems");
    if (unique == nullptr || !unique->is_bool() || !unique->get_bool() || max <= 1) continue;
    if (prefix > 0)
      return wrong(path_of(s, "uniqueItems"), "'uniqueItems' is not supported with prefixItems");
    ALTLAS_TRY(const Goal item, item_goal(set, 0));
    return different_items(s, item, min, max);
  }
  ALTLAS_TRY(Goal rest_goal, item_goal(set, prefix));
  ALTLAS_TRY(const ExpressionPtr rest, value_of(std::move(rest_goal)));
  // What may follow `done` items; the last of the prefix first.
  const auto done = static_cast<uint32_t>(std::max<size_t>(prefix, 1));
  ExpressionPtr tail = repeat(sequence({comma(), rest}), less(min, done), less(max, done));
  ExpressionPtr head = rest;
  for (size_t i = prefix; i-- > 0;) {
    ALTLAS_TRY(Goal goal, item_goal(set, i));
    ALTLAS_TRY(ExpressionPtr one, value_of(std::move(goal)));
    if (i == 0) {
      head = std::move(one);
    } else if (i >= max) {
      tail = sequence({});
    } else {
      tail = sequence({comma(), std::move(one), std::move(tail)});
      if (i >= min) tail = optional(std::move(tail));
    }
  }
  std::vector<ExpressionPtr> forms;
  if (min == 0) forms.push_back(sequence({}));
  if (max > 0) forms.push_back(sequence({space(), std::move(head), std::move(tail), space()}));
  return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
}

Result<ExpressionPtr> SchemaCompiler::different_items(uint32_t schema, const Goal& item,
                                                      uint32_t min, uint32_t max) {
  std::optional<std::vector<std::string>> values;
  if (!item.impossible) {
    ALTLAS_TRY(values, listed_values(item.schemas));
  } else {
    values.emplace();
  }
  if (!values || values->size() > kDifferentValuesMax)
    return wrong(path_of(schema, "uniqueItems"),
                 fmt::format("'uniqueItems' is supported for items of at most {} values that enum "
                             "or const lists",
                             kDifferentValuesMax));
  // What may follow once a set of them (a bit each) stands there; supersets first.
  const auto count = static_cast<uint32_t>(values->size());
  std::vector<ExpressionPtr> behind(size_t{1} << count);
  for (size_t used = behind.size(); used-- > 0;) {
    ALTLAS_TRY_VOID(budget_.spend(1));
    const auto size = static_cast<uint32_t>(std::popcount(used));
    std::vector<ExpressionPtr> next;
    for (uint32_t i = 0; i < count && size < max; ++i) {
      if ((used >> i & 1) != 0) continue;
      std::vector<ExpressionPtr> one = {bytes((*values)[i]), behind[used | size_t{1} << i]};
      if (size > 0) one.insert(one.begin(), comma());
      next.push_back(sequence(std::move(one)));
    }
    ExpressionPtr more = next.empty() ? nothing() : choice(std::move(next));
    if (size == 0) {
      std::vector<ExpressionPtr> forms = {sequence({space(), std::move(more), space()})};
      if (min == 0) forms.push_back(sequence({}));
      return sequence({bytes("["), choice(std::move(forms)), bytes("]")});
    }
    if (rules_.rules.size() >= kGrammarRulesMax)
      return wrong("", fmt::format("needs more than {} rules", kGrammarRulesMax));
    const uint32_t index = rules_.add("different items");
    rules_.rules[index].expression = size >= min ? optional(std::move(more)) : std::move(more);
    behind[used] = rule(index);
  }
  return nothing();
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
  SchemaCompiler compiler(root);
  ALTLAS_TRY(Rules rules, compiler.compile());
  return compile_rules(std::move(rules), compiler.budget());
}

}  // namespace altlas::text::grammar
