// Objects of JSON Schema: declared members in their order, then others whose names are free.
#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kPatternsMax = 5;  // Name patterns: every subset of them is a case.
constexpr uint32_t kCountedMembersMax = 64;

}  // namespace

struct SchemaCompiler::Members {
  struct Declared {
    ExpressionPtr expression;  // "name": value
    bool required = false;
  };
  std::vector<Declared> declared;
  ExpressionPtr free;  // Any other member; null: there may be none.
  uint32_t min = 0;
  uint32_t max = kUnlimited;
};

Result<ExpressionPtr> SchemaCompiler::member(ExpressionPtr key, Goal value) {
  ALTLAS_TRY(ExpressionPtr held, value_of(std::move(value)));
  return sequence({std::move(key), bytes(":"), optional(bytes(" ")), std::move(held)});
}

// What a member of this name must be, by every schema of the set.
Result<void> SchemaCompiler::add_property(const Set& set, std::string_view name, Goal& value) {
  for (const uint32_t s : set) {
    bool known = false;
    ALTLAS_TRY(const json::object* properties, object_at(s, "properties"));
    if (properties != nullptr) {
      if (const json::value* one = properties->if_contains(name)) {
        known = true;
        ALTLAS_TRY_VOID(add(value, *one, path_of(s, "properties") + "." + std::string(name)));
      }
    }
    ALTLAS_TRY(const json::object* patterns, object_at(s, "patternProperties"));
    if (patterns != nullptr) {
      const std::string place = path_of(s, "patternProperties");
      for (const auto& [text, one] : *patterns) {
        ALTLAS_TRY(const Automaton* automaton, pattern(text, place));
        if (!automaton->matches(name)) continue;
        known = true;
        ALTLAS_TRY_VOID(add(value, one, place + "." + std::string(text)));
      }
    }
    const json::value* others = find(s, "additionalProperties");
    if (!known && others != nullptr)
      ALTLAS_TRY_VOID(add(value, *others, path_of(s, "additionalProperties")));
  }
  return {};
}

Result<bool> SchemaCompiler::name_fits(std::string_view name, const Set& set) {
  for (const uint32_t s : set) {
    const json::value* names = find(s, "propertyNames");
    if (names == nullptr) continue;
    ALTLAS_TRY(const bool fits, is_valid(json::value(name), *names, 0));
    if (!fits) return false;
  }
  return true;
}

// A name pattern, of one of a set's schemas.
struct SchemaCompiler::NamePattern {
  uint32_t schema = 0;
  std::string text;
  const json::value* value = nullptr;
  const Automaton* automaton = nullptr;
};

Result<std::vector<SchemaCompiler::NamePattern>> SchemaCompiler::name_patterns(const Set& set) {
  std::vector<NamePattern> patterns;
  for (const uint32_t s : set) {
    ALTLAS_TRY(const json::object* texts, object_at(s, "patternProperties"));
    if (texts == nullptr) continue;
    for (const auto& [text, one] : *texts) {
      ALTLAS_TRY(const Automaton* automaton, pattern(text, path_of(s, "patternProperties")));
      patterns.push_back({s, std::string(text), &one, automaton});
    }
  }
  if (patterns.size() > kPatternsMax)
    return wrong(path_of(set.back(), "patternProperties"),
                 fmt::format("more than {} patterns are not supported", kPatternsMax));
  return patterns;
}

// The names that members beyond `declared` may have, patterns aside; nothing: any name.
Result<std::optional<Automaton>> SchemaCompiler::free_names(
    const Set& set, const std::vector<std::string>& declared) {
  Goal names;
  for (const uint32_t s : set)
    if (const json::value* one = find(s, "propertyNames"))
      ALTLAS_TRY_VOID(add(names, *one, path_of(s, "propertyNames")));
  if (names.impossible) return std::optional(Automaton());
  for (const uint32_t s : names.schemas)
    for (const std::string_view keyword : {"anyOf", "oneOf", "enum", "const"})
      if (find(s, keyword) != nullptr)
        return wrong(path_of(s, keyword),
                     fmt::format("'{}' is not supported in propertyNames", keyword));
  ALTLAS_TRY(std::optional<Automaton> allowed, string_values(names.schemas));
  ALTLAS_TRY(const auto least, tightest(names.schemas, "minLength", true));
  ALTLAS_TRY(const auto most, tightest(names.schemas, "maxLength", false));
  if (!allowed && !least && !most && declared.empty()) return std::optional<Automaton>();
  const auto any = repeat(any_character(), least.value_or(0), most.value_or(kUnlimited));
  ALTLAS_TRY(Automaton names_left, automaton_of(*any, budget_));
  if (allowed) {
    ALTLAS_TRY(names_left, intersect(names_left, *allowed, budget_));
  }
  if (!declared.empty()) {
    std::vector<ExpressionPtr> texts;
    for (const std::string& name : declared) texts.push_back(bytes(name));
    ALTLAS_TRY(const Automaton taken, automaton_of(*choice(std::move(texts)), budget_));
    ALTLAS_TRY(const Automaton others, grammar::complement(taken, budget_));
    ALTLAS_TRY(names_left, intersect(names_left, others, budget_));
  }
  return std::optional(std::move(names_left));
}

// Members whose names are not declared: every combination of name patterns is a case of its own.
Result<ExpressionPtr> SchemaCompiler::free_member(const Set& set,
                                                  const std::vector<std::string>& declared) {
  ALTLAS_TRY(const std::vector<NamePattern> patterns, name_patterns(set));
  ALTLAS_TRY(std::optional<Automaton> names, free_names(set, declared));
  if (!names && !patterns.empty()) {
    ALTLAS_TRY(names, automaton_of(*repeat(any_character(), 0, kUnlimited), budget_));
  }
  std::vector<ExpressionPtr> cases;
  for (uint32_t chosen = 0; chosen < 1u << patterns.size(); ++chosen) {
    Goal value;
    for (const uint32_t s : set) {
      bool known = false;
      for (size_t p = 0; p < patterns.size(); ++p) {
        if (patterns[p].schema != s || (chosen >> p & 1) == 0) continue;
        known = true;
        ALTLAS_TRY_VOID(add(value, *patterns[p].value,
                            path_of(s, "patternProperties") + "." + patterns[p].text));
      }
      const json::value* others = find(s, "additionalProperties");
      if (!known && others != nullptr)
        ALTLAS_TRY_VOID(add(value, *others, path_of(s, "additionalProperties")));
    }
    if (value.impossible) continue;
    ExpressionPtr key;
    if (!names) {
      ALTLAS_TRY(key, string({}));
    } else {
      Automaton fitting = *names;
      for (size_t p = 0; p < patterns.size(); ++p) {
        Automaton one = *patterns[p].automaton;
        if ((chosen >> p & 1) == 0) {
          ALTLAS_TRY(one, grammar::complement(one, budget_));
        }
        ALTLAS_TRY(fitting, intersect(fitting, one, budget_));
      }
      if (fitting.empty()) continue;
      key = sequence({bytes("\""), embed(json_spelling(fitting)), bytes("\"")});
    }
    ALTLAS_TRY(ExpressionPtr one, member(std::move(key), std::move(value)));
    cases.push_back(std::move(one));
  }
  return cases.empty() ? ExpressionPtr() : choice(std::move(cases));
}

Result<SchemaCompiler::Members> SchemaCompiler::members_of(const Set& set) {
  Members members;
  std::vector<std::string> order, required;
  for (const uint32_t s : set) {
    ALTLAS_TRY(const json::object* properties, object_at(s, "properties"));
    if (properties != nullptr)
      for (const auto& [name, one] : *properties)
        if (std::ranges::find(order, std::string_view(name)) == order.end())
          order.emplace_back(name);
  }
  for (const uint32_t s : set) {
    const json::value* names = find(s, "required");
    if (names == nullptr || names->is_bool()) continue;  // Draft 3 had a flag.
    if (!names->is_array()) return wrong(path_of(s, "required"), "should be a list of names");
    for (const json::value& name : names->get_array()) {
      if (!name.is_string()) return wrong(path_of(s, "required"), "should be a list of names");
      required.emplace_back(name.get_string());
      if (std::ranges::find(order, required.back()) == order.end())
        order.push_back(required.back());
    }
  }
  for (const std::string& name : order) {
    ALTLAS_TRY_VOID(budget_.spend(static_cast<int64_t>(order.size())));
    Goal value;
    ALTLAS_TRY_VOID(add_property(set, name, value));
    ALTLAS_TRY(const bool fits, name_fits(name, set));
    value.impossible |= !fits;
    Members::Declared& one = members.declared.emplace_back();
    ALTLAS_TRY(one.expression, member(bytes(json_string(name)), std::move(value)));
    one.required = std::ranges::find(required, name) != required.end();
  }
  ALTLAS_TRY(members.free, free_member(set, order));
  ALTLAS_TRY(const auto min, tightest(set, "minProperties", true));
  ALTLAS_TRY(const auto max, tightest(set, "maxProperties", false));
  members.min = min.value_or(0);
  members.max = max.value_or(kUnlimited);
  return members;
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
  if (members.min > members.max) return nothing();
  const bool counts = members.min > 1 || members.max != kUnlimited;
  const uint32_t counted = members.max == kUnlimited ? members.min : members.max;
  if (counts && counted > kCountedMembersMax)
    return wrong(path_of(set.back(), "maxProperties"),
                 fmt::format("more than {} counted members are not supported", kCountedMembersMax));
  // Free names may repeat each other, and then they are one member: only the first counts
  // towards the minimum.
  if (members.min > declared + (members.free != nullptr ? 1 : 0) && members.free != nullptr)
    return wrong(path_of(set.back(), "minProperties"),
                 "more than one member beyond the declared properties can't be asked for");
  const uint32_t written_max = counts ? counted : 1;  // Beyond it nothing changes.
  Nodes nodes;
  std::vector<Expression::GraphEdge> edges;
  std::vector<uint32_t> ends;
  nodes.at(0, 0, 0);
  for (uint32_t i = 0; i < nodes.order().size(); ++i) {
    ALTLAS_TRY_VOID(budget_.spend(4));
    const auto [looked, written, free] = nodes.order()[i];
    const auto write = [&](const ExpressionPtr& one, uint32_t next, bool is_free) {
      if (members.max != kUnlimited && written >= members.max) return;
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
    if (written - free + std::min(free, 1u) >= members.min) ends.push_back(i);
    if (members.free != nullptr) write(members.free, looked, true);
  }
  const auto count = static_cast<uint32_t>(nodes.order().size());
  const ExpressionPtr inside = graph(count, std::move(edges), std::move(ends));
  return sequence({bytes("{"), space(), inside, space(), bytes("}")});
}

}  // namespace altlas::text::grammar
