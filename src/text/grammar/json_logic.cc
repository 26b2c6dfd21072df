// What a schema says by logic (not, if, dependent…, the exactness of oneOf), said again by made
// schemas: the negation of a schema is a choice of schemas, each of which breaks one keyword.
#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kDisjointStepsMax = 2'000;  // Of one pair of schemas.

// Keywords that a negation can't be said of.
constexpr std::string_view kNotNegated[] = {"$dynamicRef",
                                            "$recursiveRef",
                                            "additionalItems",
                                            "additionalProperties",
                                            "dependencies",
                                            "dependentSchemas",
                                            "oneOf",
                                            "patternProperties",
                                            "prefixItems",
                                            "propertyNames",
                                            "unevaluatedItems",
                                            "unevaluatedProperties"};

bool is_in(std::string_view keyword, const auto& list) {
  return std::ranges::find(list, keyword) != std::end(list);
}

json::object typed(std::string_view type) { return {{"type", type}}; }

bool is_flag(const json::object& schema, std::string_view keyword) {
  const json::value* value = schema.if_contains(keyword);
  return value != nullptr && value->is_bool() && value->get_bool();
}

// {"type": "object", "required": [name], "properties": {name: value}}
json::object object_with(std::string_view name, json::value value, bool required) {
  json::object out = typed("object");
  if (required) out["required"] = json::array{name};
  out["properties"] = json::object{{name, std::move(value)}};
  return out;
}

}  // namespace

const json::value& SchemaCompiler::make(json::object schema) {
  schema[kMade] = true;
  expanded_ = true;
  return made_.emplace_back(std::move(schema));
}

json::object SchemaCompiler::literal(const json::value& value, const std::string& path,
                                     bool negated) {
  literals_.push_back({&value, path, negated});
  return {{kAt, literals_.size() - 1}};
}

Result<void> SchemaCompiler::derive(uint32_t schema) {
  if (schemas_[schema].made) return {};
  ALTLAS_TRY_VOID(derive_not(schema));
  ALTLAS_TRY_VOID(derive_if(schema));
  for (const std::string_view keyword : {"dependentRequired", "dependentSchemas", "dependencies"})
    ALTLAS_TRY_VOID(derive_dependents(schema, keyword));
  return {};
}

Result<void> SchemaCompiler::derive_not(uint32_t schema) {
  const json::value* negated = find(schema, "not");
  if (negated == nullptr || negated->is_bool()) return {};
  const std::string path = path_of(schema, "not");
  if (!negated->is_object()) {
    leave_out(Unheld::Why::kMalformed, path, "a schema should be an object, true or false");
    schemas_[schema].dropped.push_back("not");
    return {};
  }
  const json::object& object = negated->get_object();
  if (object.empty() || (object.size() == 1 && object.contains("type"))) {
    const json::value* type = object.if_contains("type");
    if (type == nullptr || type_fault(*type).empty()) return {};  // See add() and types_of().
    leave_out(Unheld::Why::kMalformed, path + "/type", std::string(type_fault(*type)));
    return {};
  }
  ALTLAS_TRY(const bool can, can_negate(*negated, path, 0));
  if (can && expands_) {
    ALTLAS_TRY(const json::value* made, negation(*negated, path));
    schemas_[schema].derived.emplace_back(made, path);
    return {};
  }
  schemas_[schema].pending.push_back(
      {can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, path,
       "'not' can't be held for what this schema says; it is held for types, values, lengths, "
       "bounds, patterns, properties and required"});
  return {};
}

// if/then/else: either `if` and `then`, or not `if`, and `else`.
Result<void> SchemaCompiler::derive_if(uint32_t schema) {
  const json::value* condition = find(schema, "if");
  const json::value* then = find(schema, "then");
  const json::value* otherwise = find(schema, "else");
  if (condition == nullptr || (then == nullptr && otherwise == nullptr)) return {};
  const std::string path = path_of(schema, "if");
  ALTLAS_TRY(const bool can, can_negate(*condition, path, 0));
  if (!can || !expands_) {
    schemas_[schema].pending.push_back(
        {can ? Unheld::Why::kTooComplex : Unheld::Why::kUnsupported, path,
         "'if' can't be held for what this schema says; it is held for types, values, lengths, "
         "bounds, patterns, properties and required"});
    return {};
  }
  json::array yes{literal(*condition, path, false)}, no{literal(*condition, path, true)};
  if (then != nullptr) yes.push_back(literal(*then, path_of(schema, "then"), false));
  if (otherwise != nullptr) no.push_back(literal(*otherwise, path_of(schema, "else"), false));
  json::array cases{json::object{{kMade, true}, {"allOf", std::move(yes)}},
                    json::object{{kMade, true}, {"allOf", std::move(no)}}};
  schemas_[schema].derived.emplace_back(&make({{"anyOf", std::move(cases)}}), path);
  return {};
}

// For each name: it is not there, or what depends on it holds.
Result<void> SchemaCompiler::derive_dependents(uint32_t schema, std::string_view keyword) {
  const json::object* all = object_at(schema, keyword);
  if (all == nullptr) return {};
  const std::string path = path_of(schema, keyword);
  for (const auto& [name, asked] : *all) {
    const std::string place = path + pointer_step(name);
    const bool names = asked.is_array() &&
                       std::ranges::all_of(asked.get_array(),
                                           [](const json::value& one) { return one.is_string(); });
    if (keyword == "dependentRequired" ? !names : asked.is_array() && !names) {
      leave_out(Unheld::Why::kMalformed, place, "should be a list of names");
      continue;
    }
    if (!expands_) {
      schemas_[schema].pending.push_back(
          {Unheld::Why::kTooComplex, place, fmt::format("'{}' has too many cases here", keyword)});
      continue;
    }
    json::object with{{kMade, true}, {"required", json::array{std::string_view(name)}}};
    if (asked.is_array())
      for (const json::value& other : asked.get_array())
        with["required"].as_array().push_back(other);
    else
      with["allOf"] = json::array{literal(asked, place, false)};
    json::object without{{kMade, true}, {"properties", json::object{{name, false}}}};
    json::array cases{std::move(without), std::move(with)};
    schemas_[schema].derived.emplace_back(&make({{"anyOf", std::move(cases)}}), place);
  }
  return {};
}

Result<bool> SchemaCompiler::can_negate_keyword(const json::object& schema,
                                                std::string_view keyword, const std::string& path,
                                                size_t depth) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  const auto all_of = [&](const json::array& list) -> Result<bool> {
    for (size_t i = 0; i < list.size(); ++i) {
      ALTLAS_TRY(const bool can, can_negate(list[i], fmt::format("{}/{}", place, i), depth + 1));
      if (!can) return false;
    }
    return true;
  };
  if (keyword == "properties") {
    if (!value.is_object()) return false;
    for (const auto& [name, one] : value.get_object()) {
      ALTLAS_TRY(const bool can, can_negate(one, place + pointer_step(name), depth + 1));
      if (!can) return false;
    }
    return true;
  }
  if (keyword == "allOf" || keyword == "anyOf")
    return value.is_array() ? all_of(value.get_array()) : Result<bool>(false);
  if (keyword == "contains" && (schema.contains("minContains") || schema.contains("maxContains")))
    return false;
  if (keyword == "items" && (value.is_array() || schema.contains("prefixItems"))) return false;
  if (keyword == "items" || keyword == "contains") return can_negate(value, place, depth + 1);
  if (keyword == "if") {
    for (const std::string_view part : {"if", "then", "else"}) {
      const json::value* one = schema.if_contains(part);
      if (one == nullptr) continue;
      ALTLAS_TRY(const bool can, can_negate(*one, path + pointer_step(part), depth + 1));
      if (!can) return false;
    }
    return true;
  }
  if (keyword == "$ref") {
    std::string pointer;
    const json::value* target =
        value.is_string() ? resolve("$ref", value, place, pointer) : nullptr;
    return target == nullptr ? Result<bool>(false) : can_negate(*target, pointer, depth + 1);
  }
  if (keyword == "pattern") return value.is_string() && pattern(value.get_string(), place);
  if (keyword == "const" || keyword == "enum") {
    // A list or an object is not told from another while it is written.
    const auto plain = [](const json::value& one) { return !one.is_array() && !one.is_object(); };
    if (keyword == "const") return plain(value);
    return value.is_array() && std::ranges::all_of(value.get_array(), plain);
  }
  if (keyword == "type") return type_fault(value).empty();
  if (keyword == "uniqueItems") return value.is_bool() && !value.get_bool();
  if (keyword == "multipleOf") return value.is_number() && multiples(decimal_of(value), false);
  return true;
}

Result<bool> SchemaCompiler::can_negate(const json::value& value, const std::string& path,
                                        size_t depth) {
  ALTLAS_TRY_VOID(budget_.spend(16 + static_cast<int64_t>(path.size() / 16)));
  if (value.is_bool()) return true;
  if (!value.is_object() || depth > kGrammarNestingMax) return false;
  // Of a schema that leads to itself, as far as it is known: a violation lies at a finite depth.
  const auto [at, fresh] = negatable_.try_emplace(&value, true);
  if (!fresh) return at->second;
  const size_t mark = negatable_trail_.size();
  negatable_trail_.push_back(&value);
  bool can = true;
  for (const auto& [keyword, one] : value.get_object()) {
    if (!can) break;
    const bool open = one.is_bool() && one.get_bool();  // additionalProperties: true says nothing.
    can = open || !is_in(keyword, kNotNegated);
    if (!can) break;
    ALTLAS_TRY(can, can_negate_keyword(value.get_object(), keyword, path, depth));
  }
  if (can) return true;
  // What was found in between relied on it.
  for (size_t i = mark; i < negatable_trail_.size(); ++i) negatable_.erase(negatable_trail_[i]);
  negatable_trail_.resize(mark);
  return negatable_[&value] = false;
}

void SchemaCompiler::negate_number(const json::object& schema, std::string_view keyword,
                                   json::array& out) {
  const bool low = keyword.ends_with("inimum");
  const bool exclusive = keyword.starts_with("exclusive") ||
                         is_flag(schema, low ? "exclusiveMinimum" : "exclusiveMaximum");
  json::object beyond = typed("number");
  if (low)
    beyond[exclusive ? "maximum" : "exclusiveMaximum"] = schema.at(keyword);
  else
    beyond[exclusive ? "minimum" : "exclusiveMinimum"] = schema.at(keyword);
  out.push_back(std::move(beyond));
}

// Of lengths and numbers of items or members. False: the keyword is none of them.
bool SchemaCompiler::negate_count(std::string_view keyword, const json::value& value,
                                  json::array& out) {
  struct Row {
    std::string_view name, opposite, type;
  };
  constexpr Row kRows[] = {{"minLength", "maxLength", "string"},
                           {"maxLength", "minLength", "string"},
                           {"minItems", "maxItems", "array"},
                           {"maxItems", "minItems", "array"},
                           {"minProperties", "maxProperties", "object"},
                           {"maxProperties", "minProperties", "object"}};
  const auto* row = std::ranges::find(kRows, keyword, &Row::name);
  if (row == std::end(kRows)) return false;
  const double count = value.is_number() ? value.to_number<double>() : 0;
  const bool least = keyword.starts_with("min");
  if (least && count < 1) return true;  // Nothing breaks it.
  json::object beyond = typed(row->type);
  beyond[row->opposite] = static_cast<int64_t>(std::clamp(count, 0.0, 1e9)) + (least ? -1 : 1);
  out.push_back(std::move(beyond));
  return true;
}

void SchemaCompiler::negate_object(std::string_view keyword, const json::value& value,
                                   const std::string& path, json::array& out) {
  if (keyword == "properties") {
    for (const auto& [name, one] : value.get_object())
      out.push_back(object_with(name, literal(one, path + pointer_step(name), true), true));
  } else if (keyword == "required") {
    if (!value.is_array()) return;
    for (const json::value& name : value.get_array())
      if (name.is_string()) out.push_back(object_with(name.get_string(), false, false));
  } else if (value.is_object()) {  // dependentRequired
    for (const auto& [name, asked] : value.get_object()) {
      if (!asked.is_array()) continue;
      for (const json::value& other : asked.get_array()) {
        if (!other.is_string() || other.get_string() == name) continue;
        json::object broken = object_with(other.get_string(), false, false);
        broken["required"] = json::array{std::string_view(name)};
        out.push_back(std::move(broken));
      }
    }
  }
}

void SchemaCompiler::negate_choice(const json::object& schema, std::string_view keyword,
                                   const std::string& path, json::array& out) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  if (keyword == "if") {
    for (const std::string_view part : {"then", "else"}) {
      const json::value* then = schema.if_contains(part);
      if (then == nullptr) continue;
      json::array both{literal(value, place, part == "else"),
                       literal(*then, path + pointer_step(part), true)};
      out.push_back(json::object{{"allOf", std::move(both)}});
    }
    return;
  }
  json::array each;
  for (size_t i = 0; i < value.get_array().size(); ++i)
    each.push_back(literal(value.get_array()[i], fmt::format("{}/{}", place, i), true));
  if (keyword == "anyOf") {
    out.push_back(json::object{{"allOf", std::move(each)}});
  } else {
    for (json::value& one : each) out.push_back(std::move(one));
  }
}

Result<void> SchemaCompiler::negate_keyword(const json::object& schema, std::string_view keyword,
                                            const std::string& path, json::array& out) {
  const json::value& value = schema.at(keyword);
  const std::string place = path + pointer_step(keyword);
  if (keyword == "type") {
    out.push_back(json::object{{"not", typed("")}});
    out.back().as_object()["not"].as_object()["type"] = value;
  } else if (keyword == "const" || keyword == "enum") {
    out.push_back(json::object{{kNotEnum, value.is_array() ? value : json::array{value}}});
  } else if (keyword == "minimum" || keyword == "maximum") {
    negate_number(schema, keyword, out);
  } else if (keyword == "exclusiveMinimum" || keyword == "exclusiveMaximum") {
    if (value.is_number()) negate_number(schema, keyword, out);
  } else if (keyword == "multipleOf" || keyword == "pattern") {
    json::object broken = typed(keyword == "pattern" ? "string" : "number");
    broken[keyword == "pattern" ? kNotPattern : kNotMultipleOf] = value;
    out.push_back(std::move(broken));
  } else if (keyword == "properties" || keyword == "required" || keyword == "dependentRequired") {
    negate_object(keyword, value, place, out);
  } else if (keyword == "items" || keyword == "contains") {
    json::object broken = typed("array");
    broken[keyword == "items" ? "contains" : "items"] = literal(value, place, true);
    out.push_back(std::move(broken));
  } else if (keyword == "allOf" || keyword == "anyOf" || keyword == "if") {
    negate_choice(schema, keyword, path, out);
  } else if (keyword == "not") {
    out.push_back(literal(value, place, false));
  } else if (keyword == "$ref") {
    std::string pointer;
    const json::value* target = resolve("$ref", value, place, pointer);
    if (target != nullptr) out.push_back(literal(*target, pointer, true));
  } else {
    negate_count(keyword, value, out);
  }
  return {};
}

Result<const json::value*> SchemaCompiler::negation(const json::value& value,
                                                    const std::string& path) {
  ALTLAS_TRY_VOID(budget_.spend(16));
  const auto [at, fresh] = negations_.try_emplace(&value, nullptr);
  if (!fresh) return at->second;
  json::array cases;
  if (value.is_object()) {
    for (const auto& [keyword, one] : value.get_object())
      ALTLAS_TRY_VOID(negate_keyword(value.get_object(), keyword, path, cases));
  }
  for (json::value& one : cases)
    if (one.is_object() && !one.get_object().contains(kAt)) one.get_object()[kMade] = true;
  json::object made;
  if (value.is_bool() ? value.get_bool() : cases.empty())
    made["not"] = json::object();  // No value.
  else if (!cases.empty())
    made["anyOf"] = std::move(cases);
  return at->second = &make(std::move(made));
}

bool SchemaCompiler::differ_in_member(const json::object& a, const std::string& path_a,
                                      const json::object& b, const std::string& path_b) {
  const auto is_object = [](const json::object& schema) {
    const json::value* type = schema.if_contains("type");
    return type != nullptr && type->is_string() && type->get_string() == "object";
  };
  const auto members = [](const json::object& schema, std::string_view keyword) {
    const json::value* value = schema.if_contains(keyword);
    return value == nullptr ? nullptr : value->if_object();
  };
  const json::value* required = a.if_contains("required");
  if (!is_object(a) || !is_object(b) || required == nullptr || !required->is_array()) return false;
  const json::object *in_a = members(a, "properties"), *in_b = members(b, "properties");
  const json::value* others = b.if_contains("additionalProperties");
  const bool closed = others != nullptr && others->is_bool() && !others->get_bool() &&
                      !b.contains("patternProperties");
  for (const json::value& name : required->get_array()) {
    if (!name.is_string()) continue;
    const std::string_view key = name.get_string();
    const json::value* one = in_a == nullptr ? nullptr : in_a->if_contains(key);
    const json::value* other = in_b == nullptr ? nullptr : in_b->if_contains(key);
    if (other == nullptr && closed) return true;
    if (one == nullptr || other == nullptr) continue;
    const std::string step = "/properties" + pointer_step(key);
    if (are_disjoint(*one, path_a + step, *other, path_b + step)) return true;
  }
  return false;
}

bool SchemaCompiler::lists_no_value_of(const json::object& a, const json::value& b,
                                       const std::string& path_b) {
  const json::value *one = a.if_contains("const"), *list = a.if_contains("enum");
  const auto outside = [&](const json::value& value) {
    const auto fits = is_valid(value, b, path_b, 0);
    return fits.ok() && !*fits;
  };
  if (one != nullptr) return outside(*one);
  return list != nullptr && list->is_array() && std::ranges::all_of(list->get_array(), outside);
}

// By what `a` refers to and is composed of.
bool SchemaCompiler::parts_are_disjoint(const json::object& a, const std::string& path_a,
                                        const json::value& b, const std::string& path_b) {
  if (const json::value* reference = a.if_contains("$ref");
      reference != nullptr && reference->is_string()) {
    std::string pointer;
    const json::value* target = resolve("$ref", *reference, path_a + "/$ref", pointer);
    if (target != nullptr && are_disjoint(*target, pointer, b, path_b)) return true;
  }
  for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
    const json::value* list = a.if_contains(keyword);
    if (list == nullptr || !list->is_array()) continue;
    size_t apart = 0;
    for (size_t i = 0; i < list->get_array().size(); ++i)
      apart += are_disjoint(list->get_array()[i], fmt::format("{}/{}/{}", path_a, keyword, i), b,
                            path_b);
    if (keyword == "allOf" ? apart > 0 : apart == list->get_array().size()) return true;
  }
  return false;
}

bool SchemaCompiler::are_disjoint(const json::value& a, const std::string& path_a,
                                  const json::value& b, const std::string& path_b) {
  if (++disjoint_steps_ > kDisjointStepsMax || disjoint_depth_ > kGrammarNestingMax) return false;
  if (a.is_bool() || b.is_bool())
    return (a.is_bool() && !a.get_bool()) || (b.is_bool() && !b.get_bool());
  if (!a.is_object() || !b.is_object()) return false;
  const json::object &x = a.get_object(), &y = b.get_object();
  const json::value *type_x = x.if_contains("type"), *type_y = y.if_contains("type");
  if (type_x != nullptr && type_y != nullptr && type_fault(*type_x).empty() &&
      type_fault(*type_y).empty()) {
    const Types one = named_types(*type_x), other = named_types(*type_y);
    bool shared = false;
    for (size_t t = 0; t < kTypes; ++t) shared = shared || (one[t] && other[t]);
    if (!shared) return true;
  }
  ++disjoint_depth_;
  const bool apart =
      lists_no_value_of(x, b, path_b) || lists_no_value_of(y, a, path_a) ||
      differ_in_member(x, path_a, y, path_b) || differ_in_member(y, path_b, x, path_a) ||
      parts_are_disjoint(x, path_a, b, path_b) || parts_are_disjoint(y, path_b, a, path_a);
  --disjoint_depth_;
  return apart;
}

bool SchemaCompiler::are_different_values(const json::array& list) {
  std::set<std::string> texts;
  return std::ranges::all_of(list, [&](const json::value& one) {
    const json::value* value = one.is_object() ? one.get_object().if_contains("const") : nullptr;
    return value != nullptr && !value->is_array() && !value->is_object() &&
           texts.insert(canonical_json(*value)).second;
  });
}

bool SchemaCompiler::are_alternatives(const json::value& a, const std::string& path_a,
                                      const json::value& b, const std::string& path_b) {
  const auto [at, fresh] = disjoint_.try_emplace(std::pair(&a, &b), false);
  if (fresh) {
    disjoint_steps_ = 0;
    at->second = are_disjoint(a, path_a, b, path_b);
    disjoint_.insert_or_assign(std::pair(&b, &a), at->second);
  }
  return at->second;
}

}  // namespace altlas::text::grammar
