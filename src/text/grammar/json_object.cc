// Objects of JSON Schema: declared members in their order, then others whose names are free.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kNameClassesMax = 64;   // Of patternProperties: what they tell apart.
constexpr size_t kListedNamesMax = 256;  // Of propertyNames: declared one by one.
constexpr uint32_t kCountedMembersMax = 64;

}  // namespace

struct SchemaCompiler::Members {
  struct Declared {
    ExpressionPtr expression;  // "name": value
    bool required = false;
  };
  std::vector<Declared> declared;
  ExpressionPtr free;  // Any other member; null: there may be none.
  // Names of other members differ, and there are so many; else they may be written again.
  bool distinct = false;
  uint32_t free_names = 0;
  Counts counts;
};

Result<ExpressionPtr> SchemaCompiler::member(ExpressionPtr key, Goal value) {
  ALTLAS_TRY(ExpressionPtr held, value_of(std::move(value)));
  return sequence({std::move(key), bytes(":"), optional(bytes(" ")), std::move(held)});
}

// Whether a value that fits the set fits this schema, because all that it says is in the set.
Result<bool> SchemaCompiler::is_held(const json::value& value, const std::string& path,
                                     const Set& set) {
  Goal goal;
  ALTLAS_TRY_VOID(add(goal, value, path));
  return !goal.impossible && std::ranges::includes(set, goal.schemas);
}

// The alternatives of a schema that are among those that hold.
Result<bool> SchemaCompiler::collect_chosen(uint32_t schema, std::string_view keyword,
                                            const Set& set, Set& out) {
  for (const std::string_view choice : {"anyOf", "oneOf"}) {
    const json::value* list = find(schema, choice);
    if (list == nullptr) continue;
    for (size_t i = 0; i < list->get_array().size(); ++i) {
      const json::value& one = list->get_array()[i];
      const std::string path = path_of(schema, choice, i);
      ALTLAS_TRY(const bool holds, is_held(one, path, set));
      if (!holds) continue;
      ALTLAS_TRY(const bool known, collect_evaluating(one, path, keyword, set, out));
      if (!known) return false;
    }
  }
  const json::value* condition = find(schema, "if");
  if (condition == nullptr) return true;
  ALTLAS_TRY(const bool holds, is_held(*condition, path_of(schema, "if"), set));
  const json::value* then = find(schema, holds ? "then" : "else");
  if (then == nullptr && find(schema, holds ? "else" : "then") == nullptr) return false;
  const auto go = [&](const json::value* one, std::string_view part) -> Result<bool> {
    if (one == nullptr) return true;
    return collect_evaluating(*one, path_of(schema, part), keyword, set, out);
  };
  ALTLAS_TRY(const bool known, go(holds ? condition : nullptr, "if"));
  return known ? go(then, holds ? "then" : "else") : Result<bool>(false);
}

// Adds the schemas that look at the same value as this one and hold, where all of `set` does.
// False: which ones do depends on more than the set.
Result<bool> SchemaCompiler::collect_evaluating(const json::value& value, const std::string& path,
                                                std::string_view keyword, const Set& set,
                                                Set& out) {
  ALTLAS_TRY_VOID(budget_.spend(4));
  if (!value.is_object()) return true;
  ALTLAS_TRY(const uint32_t schema, schema_at(value, path));
  const auto at = std::ranges::lower_bound(out, schema);
  if (at != out.end() && *at == schema) return true;
  out.insert(at, schema);
  const bool depends = find(schema, "dependentSchemas") != nullptr ||
                       find(schema, "dependencies") != nullptr ||
                       (keyword == "unevaluatedItems" && find(schema, "contains") != nullptr);
  if (depends || !schemas_[schema].pending.empty()) return false;
  for (const std::string_view reference : {"$ref", "$dynamicRef", "$recursiveRef"}) {
    const json::value* name = find(schema, reference);
    std::string pointer;
    const json::value* target =
        name == nullptr ? nullptr : resolve(reference, *name, path_of(schema, reference), pointer);
    if (target == nullptr) continue;
    ALTLAS_TRY(const bool known, collect_evaluating(*target, pointer, keyword, set, out));
    if (!known) return false;
  }
  if (const json::value* all = find(schema, "allOf")) {
    for (size_t i = 0; i < all->get_array().size(); ++i) {
      ALTLAS_TRY(const bool known, collect_evaluating(all->get_array()[i],
                                                      path_of(schema, "allOf", i), keyword, set,
                                                      out));
      if (!known) return false;
    }
  }
  return collect_chosen(schema, keyword, set, out);
}

// The schemas that tell which members or items `schema`'s unevaluated… leaves of a value that fits
// all of `set`, whose choices are decided; null, and it is named as left out, where that depends on
// more.
Result<const SchemaCompiler::Set*> SchemaCompiler::evaluated_by(uint32_t schema,
                                                                std::string_view keyword,
                                                                const Set& set) {
  const auto [at, fresh] = closures_.try_emplace({schema, std::string(keyword), set});
  if (fresh) {
    const Schema asking = schemas_[schema];
    Set all;
    ALTLAS_TRY(const bool known, collect_evaluating(*asking.value, asking.path, keyword, set, all));
    if (known)
      at->second = std::move(all);
    else
      leave_out(Unheld::Why::kUnsupported, path_of(schema, keyword),
                fmt::format("'{}' can't be held beside dependentSchemas, contains, or an 'if' "
                            "without then and else",
                            keyword));
  }
  return at->second.empty() ? nullptr : &at->second;
}

// Whether one of the schemas says something of a member; `matches`: of a pattern.
template <class Matches>
bool SchemaCompiler::evaluates_member(const Set& set, uint32_t asking, std::string_view name,
                                      Matches&& matches) const {
  return std::ranges::any_of(set, [&](uint32_t s) {
    const json::object* properties = object_at(s, "properties");
    return find(s, "additionalProperties") != nullptr ||
           (s != asking && find(s, "unevaluatedProperties") != nullptr) ||
           (properties != nullptr && !name.empty() && properties->contains(name)) || matches(s);
  });
}

// What a member of this name must be, by every schema of the set.
Result<void> SchemaCompiler::add_property(const Set& set, std::string_view name, Goal& value) {
  const auto matches = [&](uint32_t s) {
    const json::object* patterns = object_at(s, "patternProperties");
    return patterns != nullptr && std::ranges::any_of(*patterns, [&](const auto& entry) {
             const Automaton* automaton = pattern(entry.key(), path_of(s, "patternProperties"));
             return automaton != nullptr && automaton->matches(name);
           });
  };
  for (const uint32_t s : set) {
    bool known = false;
    if (const json::object* properties = object_at(s, "properties")) {
      if (const json::value* one = properties->if_contains(name)) {
        known = true;
        ALTLAS_TRY_VOID(add(value, *one, path_of(s, "properties") + pointer_step(name)));
      }
    }
    if (const json::object* patterns = object_at(s, "patternProperties")) {
      const std::string place = path_of(s, "patternProperties");
      for (const auto& [text, one] : *patterns) {
        const Automaton* automaton = pattern(text, place);
        if (automaton == nullptr || !automaton->matches(name)) continue;
        known = true;
        ALTLAS_TRY_VOID(add(value, one, place + pointer_step(text)));
      }
    }
    const json::value* others = find(s, "additionalProperties");
    if (!known && others != nullptr)
      ALTLAS_TRY_VOID(add(value, *others, path_of(s, "additionalProperties")));
    const json::value* left = find(s, "unevaluatedProperties");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluated_by(s, "unevaluatedProperties", set));
    if (by == nullptr || evaluates_member(*by, s, name, matches)) continue;
    ALTLAS_TRY_VOID(add(value, *left, path_of(s, "unevaluatedProperties")));
  }
  return {};
}

Result<bool> SchemaCompiler::name_fits(std::string_view name, const Set& set) {
  for (const uint32_t s : set) {
    const json::value* names = find(s, "propertyNames");
    if (names == nullptr) continue;
    ALTLAS_TRY(const bool fits,
               is_valid(json::value(name), *names, path_of(s, "propertyNames"), 0));
    if (!fits) return false;
  }
  return true;
}

// Names of one kind for the schemas of a set: those that match just these patterns.
struct SchemaCompiler::NameClass {
  std::optional<Automaton> names;  // Nothing: any.
  // (schema, pattern, what it says).
  std::vector<std::tuple<uint32_t, std::string, const json::value*>> matched;
};

// Patterns that can't be read leave the schema without them, and without what depends on them.
void SchemaCompiler::drop_patterns(uint32_t schema, Unheld::Why why, const std::string& reason) {
  for (const std::string_view keyword : {"additionalProperties", "unevaluatedProperties"}) {
    if (find(schema, keyword) == nullptr) continue;
    leave_out(why, path_of(schema, keyword), reason);
    schemas_[schema].dropped.push_back(keyword);
  }
  leave_out(why, path_of(schema, "patternProperties"), reason);
  schemas_[schema].dropped.push_back("patternProperties");
}

// Splits `names` pattern by pattern; what no name is in is dropped.
Result<std::vector<SchemaCompiler::NameClass>> SchemaCompiler::name_classes(
    const Set& set, std::optional<Automaton> names) {
  std::vector<NameClass> classes{{std::move(names), {}}};
  for (const uint32_t s : set) {
    const json::object* patterns = object_at(s, "patternProperties");
    if (patterns == nullptr) continue;
    const std::vector<NameClass> before = classes;
    for (const auto& [text, value] : *patterns) {
      const Automaton* one = pattern(text, path_of(s, "patternProperties"));
      if (one == nullptr) continue;
      ALTLAS_TRY(const Automaton others, grammar::complement(*one, budget_));
      std::vector<NameClass> split;
      for (NameClass& whole : classes) {
        if (!whole.names) {
          ALTLAS_TRY(whole.names, automaton_of(*repeat(any_character(), 0, kUnlimited), budget_));
        }
        ALTLAS_TRY(Automaton in, intersect(*whole.names, *one, budget_));
        ALTLAS_TRY(Automaton out, intersect(*whole.names, others, budget_));
        NameClass matched{std::move(in), whole.matched};
        matched.matched.emplace_back(s, std::string(text), &value);
        if (!out.empty()) split.push_back({std::move(out), std::move(whole.matched)});
        if (!matched.names->empty()) split.push_back(std::move(matched));
      }
      classes = std::move(split);
    }
    if (classes.size() <= kNameClassesMax) continue;
    drop_patterns(s, Unheld::Why::kTooComplex, "the patterns overlap in too many ways");
    classes = before;
  }
  return classes;
}

// The goal of all that propertyNames says.
Result<SchemaCompiler::Goal> SchemaCompiler::names_goal(const Set& set) {
  Goal names;
  for (const uint32_t s : set)
    if (const json::value* one = find(s, "propertyNames"))
      ALTLAS_TRY_VOID(add(names, *one, path_of(s, "propertyNames")));
  return names;
}

// The names that members beyond `declared` may have, patterns aside; nothing: any name.
Result<std::optional<Automaton>> SchemaCompiler::free_names(
    const Set& set, const std::vector<std::string>& declared) {
  ALTLAS_TRY(const Goal names, names_goal(set));
  ALTLAS_TRY(std::optional<Automaton> left, text_values(names, 0));
  if (declared.empty()) return left;
  if (!left) {
    ALTLAS_TRY(left, automaton_of(*repeat(any_character(), 0, kUnlimited), budget_));
  }
  std::vector<ExpressionPtr> texts;
  for (const std::string& name : declared) texts.push_back(bytes(name));
  ALTLAS_TRY(const Automaton taken, automaton_of(*choice(std::move(texts)), budget_));
  ALTLAS_TRY(const Automaton others, grammar::complement(taken, budget_));
  ALTLAS_TRY(left, intersect(*left, others, budget_));
  return left;
}

// What a member of a class of names must be.
Result<SchemaCompiler::Goal> SchemaCompiler::free_value(const Set& set, const NameClass& names) {
  const auto matches = [&](uint32_t s) {
    return std::ranges::any_of(names.matched, [&](const auto& m) { return std::get<0>(m) == s; });
  };
  Goal value;
  for (const auto& [s, text, schema] : names.matched)
    ALTLAS_TRY_VOID(add(value, *schema, path_of(s, "patternProperties") + pointer_step(text)));
  for (const uint32_t s : set) {
    const json::value* others = find(s, "additionalProperties");
    if (others != nullptr && !matches(s))
      ALTLAS_TRY_VOID(add(value, *others, path_of(s, "additionalProperties")));
    const json::value* left = find(s, "unevaluatedProperties");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluated_by(s, "unevaluatedProperties", set));
    if (by != nullptr && !evaluates_member(*by, s, "", matches))
      ALTLAS_TRY_VOID(add(value, *left, path_of(s, "unevaluatedProperties")));
  }
  return value;
}

// Members whose names are not declared: every class of names is a case of its own.
Result<void> SchemaCompiler::add_free_member(const Set& set,
                                             const std::vector<std::string>& declared,
                                             Members& members) {
  ALTLAS_TRY(std::optional<Automaton> names, free_names(set, declared));
  if (!names && members.distinct) {
    ALTLAS_TRY(names, automaton_of(*repeat(any_character(), 0, kUnlimited), budget_));
  }
  ALTLAS_TRY(const std::vector<NameClass> classes, name_classes(set, std::move(names)));
  std::vector<ExpressionPtr> cases;
  uint64_t count = 0;
  for (const NameClass& one : classes) {
    ALTLAS_TRY(Goal value, free_value(set, one));
    if (value.impossible || (one.names && one.names->empty())) continue;
    ExpressionPtr key;
    if (!one.names) {
      ALTLAS_TRY(key, string({}));
    } else {
      key = sequence({bytes("\""), embed(json_spelling(*one.names)), bytes("\"")});
    }
    if (members.distinct) {
      ALTLAS_TRY(Automaton spelled, automaton_of(*key, budget_));
      count += spelled.empty() ? 0 : text_counts(spelled)[0];
      ALTLAS_TRY(const uint32_t index, distinct_rule(embed(std::move(spelled))));
      key = rule(index);
    }
    ALTLAS_TRY(ExpressionPtr held, member(std::move(key), std::move(value)));
    cases.push_back(std::move(held));
  }
  if (!cases.empty()) members.free = choice(std::move(cases));
  members.free_names = static_cast<uint32_t>(std::min<uint64_t>(count, kUnlimited));
  return {};
}

// Whether there may be no members but the declared.
Result<bool> SchemaCompiler::is_closed(const Set& set, const std::vector<std::string>& declared) {
  Members members;
  ALTLAS_TRY_VOID(add_free_member(set, declared, members));
  return members.free == nullptr;
}

// The names that are written in this order: of properties (made schemas' last), of required, and
// those that propertyNames lists.
Result<std::vector<std::string>> SchemaCompiler::declared_names(
    const Set& set, std::set<std::string, std::less<>>& required) {
  std::vector<std::string> order;
  std::set<std::string, std::less<>> known;
  const auto declare = [&](std::string_view name) {
    if (known.emplace(name).second) order.emplace_back(name);
  };
  for (const bool made : {false, true})
    for (const uint32_t s : set)
      if (const json::object* properties = object_at(s, "properties"))
        if (schemas_[s].made == made)
          for (const auto& [name, one] : *properties) declare(name);
  for (const uint32_t s : set) {
    const json::value* names = find(s, "required");
    if (names == nullptr || !names->is_array()) continue;
    for (const json::value& name : names->get_array()) {
      required.emplace(name.get_string());
      declare(name.get_string());
    }
  }
  ALTLAS_TRY(const Goal names, names_goal(set));
  ALTLAS_TRY(const auto listed, listed_values(names.schemas));
  if (!names.impossible && listed && listed->size() <= kListedNamesMax)
    for (const json::value* name : *listed)
      if (name->is_string()) declare(name->get_string());
  return order;
}

Result<SchemaCompiler::Members> SchemaCompiler::members_of(const Set& set) {
  for (const uint32_t s : set) {
    const json::object* patterns = object_at(s, "patternProperties");
    if (patterns == nullptr) continue;
    const std::string place = path_of(s, "patternProperties");
    const auto unread = [&](const auto& entry) { return pattern(entry.key(), place) == nullptr; };
    if (std::ranges::any_of(*patterns, unread))
      drop_patterns(s, Unheld::Why::kUnsupported, "one of the patterns can't be held");
  }
  Members members;
  std::set<std::string, std::less<>> required;
  ALTLAS_TRY(const std::vector<std::string> order, declared_names(set, required));
  for (const std::string& name : order) {
    ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(order.size())));
    Goal value;
    ALTLAS_TRY_VOID(add_property(set, name, value));
    ALTLAS_TRY(const bool fits, name_fits(name, set));
    value.impossible |= !fits;
    Members::Declared& one = members.declared.emplace_back();
    ALTLAS_TRY(one.expression, member(bytes(json_string(name)), std::move(value)));
    one.required = required.contains(name);
  }
  members.counts = counts_of(set, "minProperties", "maxProperties");
  members.distinct = expands_ && members.counts.min > order.size() + 1;
  ALTLAS_TRY_VOID(add_free_member(set, order, members));
  hold_counts(set, members);
  return members;
}

// minProperties and maxProperties as far as they can be held.
void SchemaCompiler::hold_counts(const Set& set, Members& members) {
  auto& [min, max] = members.counts;
  const auto declared = static_cast<uint32_t>(members.declared.size());
  const auto give_up = [&](std::string_view keyword, std::string reason) {
    for (const uint32_t s : set)
      if (find(s, keyword) != nullptr)
        leave_out(Unheld::Why::kUnsupported, path_of(s, keyword), reason);
  };
  if (members.free == nullptr) {
    if (max >= declared) max = kUnlimited;
    return;
  }
  if (max != kUnlimited && max > kCountedMembersMax) {
    max = kUnlimited;
    give_up("maxProperties",
            fmt::format("more than {} counted members are not supported", kCountedMembersMax));
  }
  if (members.distinct && members.free_names < kCountedMembersMax)
    max = std::min({max, declared + members.free_names, kCountedMembersMax});
  // Free names may repeat each other, and then they are one member: only the first counts
  // towards the minimum.
  const uint32_t sure =
      members.distinct ? kCountedMembersMax : std::min(declared + 1, kCountedMembersMax);
  if (min <= sure) return;
  min = sure;
  give_up("minProperties", fmt::format("at most {} members can be asked for here", sure));
}

namespace {

// Nodes of the graph of an object's members, made when first asked for: (members looked at of the
// declared ones, members written, free ones among them).
class Nodes {
 public:
  uint32_t at(uint32_t looked, uint32_t written, uint32_t free) {
    const std::array<uint32_t, 3> key{looked, written, free};
    const auto [place, fresh] = ids_.try_emplace(key, static_cast<uint32_t>(order_.size()));
    if (fresh) order_.push_back(key);
    return place->second;
  }
  const std::vector<std::array<uint32_t, 3>>& order() const { return order_; }

 private:
  std::map<std::array<uint32_t, 3>, uint32_t> ids_;
  std::vector<std::array<uint32_t, 3>> order_;
};

}  // namespace

Result<ExpressionPtr> SchemaCompiler::object(const Set& set) {
  ALTLAS_TRY(const Members members, members_of(set));
  const auto declared = static_cast<uint32_t>(members.declared.size());
  const auto [min, max] = members.counts;
  if (min > max || (members.free == nullptr && min > declared)) return nothing();
  const bool counts = min > 1 || max != kUnlimited;
  const uint32_t counted = max == kUnlimited ? min : max;
  const uint32_t written_max = counts ? counted : 1;  // Beyond it nothing changes.
  Nodes nodes;
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  nodes.at(0, 0, 0);
  for (uint32_t i = 0; i < nodes.order().size(); ++i) {
    ALTLAS_TRY_VOID(budget_.spend(4));
    const auto [looked, written, free] = nodes.order()[i];
    const auto write = [&](const ExpressionPtr& one, uint32_t next, bool is_free) {
      if (max != kUnlimited && written >= max) return;
      const uint32_t to = nodes.at(next, std::min(written + 1, written_max),
                                   is_free ? std::min(free + 1, written_max) : free);
      edges.push_back({i, to, written == 0 ? one : sequence({comma(), one})});
    };
    if (looked < declared) {
      const Members::Declared& one = members.declared[looked];
      if (!one.required) edges.push_back({i, nodes.at(looked + 1, written, free), sequence({})});
      write(one.expression, looked + 1, false);
      continue;
    }
    const uint32_t sure = members.distinct ? written : written - free + std::min(free, 1u);
    if (sure >= min) ends.push_back(i);
    if (members.free != nullptr && (!members.distinct || free < members.free_names))
      write(members.free, looked, true);
  }
  const auto count = static_cast<uint32_t>(nodes.order().size());
  const ExpressionPtr inside = graph(count, std::move(edges), std::move(ends));
  ExpressionPtr all = sequence({bytes("{"), space(), inside, space(), bytes("}")});
  if (!members.distinct) return all;
  const uint32_t index = rules_.add("different members");  // It remembers the names.
  rules_.rules[index].expression = std::move(all);
  return rule(index);
}

}  // namespace altlas::text::grammar
