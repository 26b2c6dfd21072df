// SchemaCompiler: JSON Schema (2020-12 and what is alike in 2019-09, 7, 6 and 4) into rules.
//
// A value is held to a set of schemas at once: allOf, $ref, patternProperties and the like only add
// to the set, so their conjunction needs no merging of texts. What a schema says with if, not,
// oneOf and dependent… is said again by made schemas (json_logic.cc). Keywords that texts can't be
// held to are left out and named (Unheld).
#pragma once

#include <boost/json.hpp>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "text/grammar/expression.h"
#include "text/grammar/json_reference.h"
#include "text/grammar/program.h"

namespace altlas::text::grammar {

// A decimal number of any length: (-1)^negative whole.fraction, without superfluous zeros.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
Decimal decimal_of(const json::value& number);
std::strong_ordering compare(const Decimal& a, const Decimal& b);
// Whether n > 0 divides it, exactly.
bool is_multiple(const Decimal& number, const Decimal& n);

// One end of a range of numbers.
struct NumberBound {
  Decimal at;
  bool exclusive = false;
};

// JSON numbers without exponent in the range, integers only if so asked. One bound at least.
Result<Automaton> number_range(const std::optional<NumberBound>& low,
                               const std::optional<NumberBound>& high, bool integer,
                               Budget& budget);
// JSON numbers without exponent that n > 0 divides; whole ones only, if so asked. Nothing where n
// has too many digits.
std::optional<Automaton> multiples(const Decimal& n, bool integer);

// JSON string contents (between the quotes) whose value `values` matches, each in one spelling.
Automaton json_spelling(const Automaton& values);
// `value` as compact JSON.
std::string canonical_json(const json::value& value);
// Numbers by value, objects without order.
bool same_value(const json::value& a, const json::value& b);
// A string in quotes.
std::string json_string(std::string_view text);

// Pattern of a format that is held ("date", "uuid", …), or nothing: then it is an annotation.
std::optional<std::string> format_pattern(std::string_view format);

// Keywords of made schemas. No document has them: their names are not UTF-8.
inline constexpr std::string_view kMade = "\xFF made";               // The schema is made.
inline constexpr std::string_view kAt = "\xFF at";                   // Is literals_[n].
inline constexpr std::string_view kNotEnum = "\xFF not enum";        // None of these values.
inline constexpr std::string_view kNotPattern = "\xFF not pattern";  // Strings without a match.
inline constexpr std::string_view kNotMultipleOf = "\xFF not multipleOf";

class SchemaCompiler {
 public:
  // expands: if, not, oneOf and dependent… are held to, which multiplies cases; else they are named
  // as left out.
  SchemaCompiler(const json::value& root, bool expands)
      : root_(root), references_(root), expands_(expands) {}
  Result<Rules> compile();
  Budget& budget() { return budget_; }
  // Whether anything was expanded.
  bool expanded() const { return expanded_; }
  std::vector<Unheld> take_unheld() { return std::move(unheld_); }

 private:
  enum Type : uint8_t { kNull, kBoolean, kInteger, kNumber, kString, kArray, kObject, kTypes };
  // kNumber: numbers that are not whole.
  using Types = std::vector<bool>;
  struct Schema {
    const json::value* value = nullptr;  // An object.
    std::string path;                    // JSON pointer.
    bool made = false;
    std::vector<std::string_view> dropped;  // Keywords that are not read.
    // Made schemas that hold with it, and the keyword that each is of.
    std::vector<std::pair<const json::value*, std::string>> derived;
    std::vector<Unheld> pending;  // Named unless the values are listed.
  };
  // What a made schema refers to.
  struct Literal {
    const json::value* value = nullptr;
    std::string path;
    bool negated = false;
  };
  // Schemas that hold together, as indices of schemas_; sorted.
  using Set = std::vector<uint32_t>;
  // A set, and which of its anyOf and oneOf are decided: 2 * schema + (1 for oneOf).
  struct Goal {
    Set schemas;
    std::vector<uint32_t> decided;
    bool impossible = false;
    friend auto operator<=>(const Goal&, const Goal&) = default;
  };
  // The limits of list lengths, numbers of members and the like.
  struct Counts {
    uint32_t min = 0;
    uint32_t max = kUnlimited;
  };

  Error wrong(std::string_view path, std::string_view what) const;
  // Names a keyword that is left out.
  void leave_out(Unheld::Why why, const std::string& path, std::string reason);
  Result<uint32_t> schema_at(const json::value& value, const std::string& path);
  Result<void> add(Goal& goal, const json::value& value, const std::string& path);
  Result<void> add_inner(Goal& goal, const json::value& value, const std::string& path);
  Result<void> add_reference(Goal& goal, uint32_t schema, std::string_view keyword);
  // Drops keywords whose value is of the wrong kind.
  void check_keywords(uint32_t schema);
  // The schema that a reference names; null, and the keyword is named as left out, if there is
  // none.
  const json::value* resolve(std::string_view keyword, const json::value& reference,
                             const std::string& path, std::string& target);
  Result<uint32_t> rule_of(Goal goal);
  // The rule as an expression.
  Result<ExpressionPtr> value_of(Goal goal);

  // A value of the goal; anyOf and oneOf are decided one after another.
  Result<ExpressionPtr> any_choice(const Goal& goal);
  // The goals that the first undecided anyOf or oneOf leaves; nothing where all are decided.
  Result<std::optional<std::vector<Goal>>> alternatives(const Goal& goal);
  Result<std::vector<Goal>> alternatives_of(const Goal& goal, uint32_t schema, bool one);
  Result<ExpressionPtr> decided(const Goal& goal);
  static Types named_types(const json::value& type);
  // What is wrong with a value of `type`; empty: nothing.
  static std::string_view type_fault(const json::value& type);
  Types types_of(const Set& set) const;
  Result<std::optional<std::vector<const json::value*>>> listed_values(const Set& set);
  bool is_listed(const Set& set) const;
  void name_pending(const Set& set);
  // Whether one of the literals null, true and false is not excluded.
  bool is_left(const Set& set, const json::value& value) const;

  // json_logic.cc: made schemas.
  Result<void> derive(uint32_t schema);
  Result<void> derive_if(uint32_t schema);
  Result<void> derive_not(uint32_t schema);
  Result<void> derive_dependents(uint32_t schema, std::string_view keyword);
  const json::value& make(json::object schema);
  json::object literal(const json::value& value, const std::string& path, bool negated);
  // Whether negation() can say it.
  Result<bool> can_negate(const json::value& value, const std::string& path, size_t depth);
  Result<bool> can_negate_keyword(const json::object& schema, std::string_view keyword,
                                  const std::string& path, size_t depth);
  // The made schema of the values that a schema does not allow.
  Result<const json::value*> negation(const json::value& value, const std::string& path);
  Result<void> negate_keyword(const json::object& schema, std::string_view keyword,
                              const std::string& path, json::array& out);
  void negate_number(const json::object& schema, std::string_view keyword, json::array& out);
  bool negate_count(std::string_view keyword, const json::value& value, json::array& out);
  void negate_object(std::string_view keyword, const json::value& value, const std::string& path,
                     json::array& out);
  void negate_choice(const json::object& schema, std::string_view keyword, const std::string& path,
                     json::array& out);
  // Whether no value fits both; false: perhaps.
  bool are_alternatives(const json::value& a, const std::string& path_a, const json::value& b,
                        const std::string& path_b);
  bool are_disjoint(const json::value& a, const std::string& path_a, const json::value& b,
                    const std::string& path_b);
  bool parts_are_disjoint(const json::object& a, const std::string& path_a, const json::value& b,
                          const std::string& path_b);
  bool differ_in_member(const json::object& a, const std::string& path_a, const json::object& b,
                        const std::string& path_b);
  bool lists_no_value_of(const json::object& a, const json::value& b, const std::string& path_b);
  // Whether scalars that differ are all that the alternatives are.
  static bool are_different_values(const json::array& list);
  // Keeps out of an alternative of oneOf what fits the others.
  Result<void> exclude_others(Goal& goal, const json::array& list, size_t kept, uint32_t schema);

  Result<ExpressionPtr> number(const Set& set, bool integers, bool fractions);
  Result<std::optional<Automaton>> number_conditions(const Set& set, bool integer);
  Result<ExpressionPtr> string(const Set& set);
  // Values of strings that the set allows, lengths aside; nothing where it allows all.
  Result<std::optional<Automaton>> string_values(const Set& set);
  // The same with lengths.
  Result<std::optional<Automaton>> string_language(const Set& set);
  // The same of a goal with choices and lists.
  Result<std::optional<Automaton>> text_values(const Goal& goal, size_t depth);
  Result<ExpressionPtr> array(const Set& set);
  Result<ExpressionPtr> plain_array(const Set& set, size_t prefix, Counts counts);
  struct Contained;
  Result<std::vector<Contained>> contained(const Set& set);
  // Null: too many cases.
  Result<ExpressionPtr> list_graph(const Set& set, size_t prefix, Counts counts,
                                   const std::vector<Contained>& contained);
  size_t prefix_of(const Set& set) const;
  Result<ExpressionPtr> unique_array(const Set& set, size_t prefix, Counts counts);
  Result<ExpressionPtr> different_items(const Set& set, size_t prefix, Counts counts);
  Result<Goal> item_goal(const Set& set, size_t index);
  bool evaluates_item(const Set& set, uint32_t asking, size_t index) const;

  // json_text.cc: values as texts in one spelling, without rules; nothing: it can't be said so.
  Result<std::optional<ExpressionPtr>> texts(const Goal& goal, size_t depth);
  Result<std::optional<ExpressionPtr>> decided_texts(const Goal& goal, size_t depth);
  Result<std::optional<ExpressionPtr>> list_texts(const Set& set, size_t depth);
  Result<std::optional<ExpressionPtr>> different_texts(const Set& set, size_t prefix,
                                                       Counts counts, size_t depth);
  Result<std::optional<ExpressionPtr>> object_texts(const Set& set, size_t depth);
  // A rule of them that Program::Rule::distinct is set for, and how many there are.
  Result<std::optional<uint32_t>> distinct_rule(const Goal& goal, uint32_t& count);
  Result<uint32_t> distinct_rule(ExpressionPtr text);

  Result<ExpressionPtr> object(const Set& set);
  struct Members;
  struct NameClass;
  Result<Members> members_of(const Set& set);
  void hold_counts(const Set& set, Members& members);
  Result<std::vector<std::string>> declared_names(const Set& set,
                                                  std::set<std::string, std::less<>>& required);
  Result<Goal> names_goal(const Set& set);
  Result<std::vector<NameClass>> name_classes(const Set& set, std::optional<Automaton> names);
  void drop_patterns(uint32_t schema, Unheld::Why why, const std::string& reason);
  Result<std::optional<Automaton>> free_names(const Set& set,
                                              const std::vector<std::string>& declared);
  Result<bool> is_closed(const Set& set, const std::vector<std::string>& declared);
  Result<Goal> free_value(const Set& set, const NameClass& names);
  Result<void> add_free_member(const Set& set, const std::vector<std::string>& declared,
                               Members& members);
  Result<ExpressionPtr> member(ExpressionPtr key, Goal value);
  Result<void> add_property(const Set& set, std::string_view name, Goal& value);
  Result<bool> name_fits(std::string_view name, const Set& set);
  Result<const Set*> evaluated_by(uint32_t schema, std::string_view keyword, const Set& set);
  Result<bool> collect_evaluating(const json::value& value, const std::string& path,
                                  std::string_view keyword, const Set& set, Set& out);
  Result<bool> collect_chosen(uint32_t schema, std::string_view keyword, const Set& set, Set& out);
  Result<bool> is_held(const json::value& value, const std::string& path, const Set& set);
  template <class Matches>
  bool evaluates_member(const Set& set, uint32_t asking, std::string_view name,
                        Matches&& matches) const;

  // Whether `value` is valid; what is not supported counts as valid.
  Result<bool> is_valid(const json::value& value, const json::value& schema,
                        const std::string& path, size_t depth);
  Result<bool> string_is_valid(std::string_view value, const json::object& schema,
                               const std::string& path);
  Result<bool> list_is_valid(const json::array& list, const json::object& schema,
                             const std::string& path, size_t depth);
  Result<bool> object_is_valid(const json::object& value, const json::object& schema,
                               const std::string& path, size_t depth);
  Result<bool> dependents_are_valid(const json::object& value, const json::object& schema,
                                    const std::string& path, size_t depth);
  Result<bool> parts_are_valid(const json::value& value, const json::object& schema,
                               const std::string& path, size_t depth);
  // Null: it can't be held; the keyword is named.
  const Automaton* pattern(std::string_view text, const std::string& path);

  // Keyword readers. Null where the keyword is not there or dropped.
  const json::value* find(uint32_t schema, std::string_view keyword) const;
  const json::object* object_at(uint32_t schema, std::string_view keyword) const;
  std::optional<uint32_t> count_at(uint32_t schema, std::string_view keyword) const;
  // The largest of the minima and the smallest of the maxima.
  Counts counts_of(const Set& set, std::string_view minimum, std::string_view maximum) const;
  // The keyword's pointer; of made schemas, that of the keyword which they say again.
  std::string path_of(uint32_t schema, std::string_view keyword) const;
  std::string path_of(uint32_t schema, std::string_view keyword, size_t index) const;

  ExpressionPtr space() const;
  ExpressionPtr comma() const { return sequence({bytes(","), space()}); }

  const json::value& root_;
  const References references_;
  const bool expands_;
  bool expanded_ = false;
  Budget budget_;
  Rules rules_;
  uint32_t indent_ = 0;
  size_t depth_ = 0;  // Of add().
  std::vector<Schema> schemas_;
  std::vector<Unheld> unheld_;
  std::deque<json::value> made_;
  std::vector<Literal> literals_;
  std::map<const json::value*, uint32_t> ids_;                  // Looked up only.
  std::map<const json::value*, const json::value*> negations_;  // Looked up only.
  std::map<const json::value*, bool> negatable_;                // Looked up only.
  std::vector<const json::value*> negatable_trail_;             // Found since.
  std::map<std::pair<const json::value*, const json::value*>, bool> disjoint_;
  size_t disjoint_steps_ = 0;
  size_t disjoint_depth_ = 0;
  std::map<std::tuple<uint32_t, std::string, Set>, Set> closures_;  // Of evaluated_by.
  std::map<Goal, uint32_t> goals_;
  std::map<Goal, std::pair<uint32_t, uint32_t>> distinct_;  // Rules, and how many texts.
  std::vector<std::pair<Goal, uint32_t>> open_;
  std::map<std::string, std::optional<Automaton>, std::less<>> patterns_;
};

}  // namespace altlas::text::grammar
