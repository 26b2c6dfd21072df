#include "text/grammar/schema/free_members.h"

#include <algorithm>
#include <string_view>

#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

namespace {

constexpr size_t kNameClassesMax = 64;  // The classes of names that patternProperties tell apart.

}  // namespace

void FreeMembers::drop_patterns(uint32_t schema, Unheld::Why why, const std::string& reason) {
  for (const std::string_view keyword : {"additionalProperties", "unevaluatedProperties"}) {
    if (schemas_.find(schema, keyword) == nullptr) continue;
    context_.leave_out(why, schemas_.path_of(schema, keyword), reason);
    schemas_[schema].dropped.push_back(keyword);
  }
  context_.leave_out(why, schemas_.path_of(schema, "patternProperties"), reason);
  schemas_[schema].dropped.push_back("patternProperties");
}

Result<std::vector<FreeMembers::NameClass>> FreeMembers::name_classes(
    const Set& set, std::optional<Automaton> names) {
  std::vector<NameClass> classes{{std::move(names), {}}};
  for (const uint32_t s : set) {
    const json::object* patterns = schemas_.object_at(s, "patternProperties");
    if (patterns == nullptr) continue;
    const std::vector<NameClass> before = classes;
    for (const auto& [text, value] : *patterns) {
      const Automaton* one = context_.pattern(text, schemas_.path_of(s, "patternProperties"));
      if (one == nullptr) continue;
      ALTLAS_TRY(const Automaton others, complement(*one, context_.budget));
      std::vector<NameClass> split;
      for (NameClass& whole : classes) {
        if (!whole.names) {
          ALTLAS_TRY(whole.names,
                     automaton_of(*repeat(any_character(), 0, kUnlimited), context_.budget));
        }
        ALTLAS_TRY(Automaton in, intersect(*whole.names, *one, context_.budget));
        ALTLAS_TRY(Automaton out, intersect(*whole.names, others, context_.budget));
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

Result<std::optional<Automaton>> FreeMembers::free_names(const Set& set,
                                                         const std::vector<std::string>& declared) {
  ALTLAS_TRY(const Goal names, properties_.names_goal(set));
  ALTLAS_TRY(std::optional<Automaton> left, strings_.text_values(names, 0));
  if (declared.empty()) return left;
  if (!left) {
    ALTLAS_TRY(left, automaton_of(*repeat(any_character(), 0, kUnlimited), context_.budget));
  }
  std::vector<ExpressionPtr> texts;
  for (const std::string& name : declared) texts.push_back(bytes(name));
  ALTLAS_TRY(const Automaton taken, automaton_of(*choice(std::move(texts)), context_.budget));
  ALTLAS_TRY(const Automaton others, complement(taken, context_.budget));
  ALTLAS_TRY(left, intersect(*left, others, context_.budget));
  return left;
}

Result<Goal> FreeMembers::free_value(const Set& set, const NameClass& names) {
  const auto matches = [&](uint32_t s) {
    return std::ranges::any_of(names.matched, [&](const auto& m) { return std::get<0>(m) == s; });
  };
  Goal value;
  for (const auto& [s, text, schema] : names.matched)
    ALTLAS_TRY_VOID(
        goals_.add(value, *schema, schemas_.path_of(s, "patternProperties") + pointer_step(text)));
  for (const uint32_t s : set) {
    const json::value* others = schemas_.find(s, "additionalProperties");
    if (others != nullptr && !matches(s))
      ALTLAS_TRY_VOID(goals_.add(value, *others, schemas_.path_of(s, "additionalProperties")));
    const json::value* left = schemas_.find(s, "unevaluatedProperties");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluation_.evaluated_by(s, "unevaluatedProperties", set));
    if (by != nullptr && !properties_.evaluates_member(*by, s, "", matches))
      ALTLAS_TRY_VOID(goals_.add(value, *left, schemas_.path_of(s, "unevaluatedProperties")));
  }
  return value;
}

Result<bool> FreeMembers::is_closed(const Set& set, const std::vector<std::string>& declared) {
  ALTLAS_TRY(const FreeMember other, free_member(set, declared, /*distinct=*/false));
  return other.expression == nullptr;
}

Result<FreeMember> FreeMembers::free_member(const Set& set,
                                            const std::vector<std::string>& declared,
                                            bool distinct) {
  ALTLAS_TRY(std::optional<Automaton> names, free_names(set, declared));
  if (!names && distinct) {
    ALTLAS_TRY(names, automaton_of(*repeat(any_character(), 0, kUnlimited), context_.budget));
  }
  ALTLAS_TRY(const std::vector<NameClass> classes, name_classes(set, std::move(names)));
  std::vector<ExpressionPtr> cases;
  uint64_t count = 0;
  for (const NameClass& one : classes) {
    ALTLAS_TRY(Goal value, free_value(set, one));
    if (value.impossible || (one.names && one.names->empty())) continue;
    ExpressionPtr key;
    if (!one.names) {
      ALTLAS_TRY(key, strings_.value({}));
    } else {
      key = sequence({bytes("\""), embed(json_spelling(*one.names)), bytes("\"")});
    }
    if (distinct) {
      ALTLAS_TRY(Automaton spelled, automaton_of(*key, context_.budget));
      count += spelled.empty() ? 0 : text_counts(spelled)[0];
      ALTLAS_TRY(const uint32_t index, rules_.add_distinct(embed(std::move(spelled))));
      key = rule(index);
    }
    ALTLAS_TRY(ExpressionPtr held, properties_.member(std::move(key), std::move(value)));
    cases.push_back(std::move(held));
  }
  FreeMember made;
  if (!cases.empty()) made.expression = choice(std::move(cases));
  made.names = static_cast<uint32_t>(std::min<uint64_t>(count, kUnlimited));
  return made;
}

}  // namespace altlas::text::grammar::schema
