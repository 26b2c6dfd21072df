// SchemaCompiler: JSON Schema (2020-12 and what is alike in 2019-09, 7, 6 and 4) into rules.
//
// A value is held to a set of schemas at once: allOf, $ref, patternProperties and the like only add
// to the set, so their conjunction needs no merging of texts.
#pragma once

#include <boost/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

namespace json = boost::json;

// A decimal number of any length: (-1)^negative whole.fraction, without superfluous zeros.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
Decimal decimal_of(const json::value& number);
std::strong_ordering compare(const Decimal& a, const Decimal& b);

// One end of a range of numbers.
struct NumberBound {
  Decimal at;
  bool exclusive = false;
};

// JSON numbers without exponent in the range, integers only if so asked.
Result<Automaton> number_range(const std::optional<NumberBound>& low,
                               const std::optional<NumberBound>& high, bool integer,
                               Budget& budget);
// JSON integers that n > 0 divides.
Automaton integer_multiples(uint32_t n);

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

class SchemaCompiler {
 public:
  explicit SchemaCompiler(const json::value& root) : root_(root) {}
  Result<Rules> compile();
  Budget& budget() { return budget_; }

 private:
  enum Type : uint8_t { kNull, kBoolean, kInteger, kNumber, kString, kArray, kObject, kTypes };
  struct Schema {
    const json::value* value = nullptr;  // An object.
    std::string path;
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

  Error wrong(std::string_view path, std::string_view what) const;
  Result<uint32_t> schema_at(const json::value& value, const std::string& path);
  Result<void> add(Goal& goal, const json::value& value, const std::string& path);
  Result<void> add_inner(Goal& goal, const json::value& value, const std::string& path);
  bool is_held(const json::value& negated, uint32_t schema) const;
  Result<void> check_keywords(uint32_t schema);
  Result<const json::value*> resolve(std::string_view reference, const std::string& path) const;
  Result<uint32_t> rule_of(Goal goal);
  // The rule as an expression.
  Result<ExpressionPtr> value_of(Goal goal);

  // A value of the goal; anyOf and oneOf are decided one after another.
  Result<ExpressionPtr> any_choice(const Goal& goal);
  Result<ExpressionPtr> decided(const Goal& goal);
  Result<std::vector<bool>> named_types(const json::value& type, const std::string& path) const;
  Result<std::vector<bool>> types_of(const Set& set) const;
  Result<std::optional<std::vector<std::string>>> listed_values(const Set& set);

  Result<ExpressionPtr> number(const Set& set, bool fractions);
  Result<ExpressionPtr> string(const Set& set);
  // Values of strings that the set allows; nothing where it allows all.
  Result<std::optional<Automaton>> string_values(const Set& set);
  Result<ExpressionPtr> array(const Set& set);
  // Items that all differ: of a few listed values.
  Result<ExpressionPtr> different_items(uint32_t schema, const Goal& item, uint32_t min,
                                        uint32_t max);
  Result<Goal> item_goal(const Set& set, size_t index);
  Result<ExpressionPtr> object(const Set& set);
  struct Members;
  Result<Members> members_of(const Set& set);
  struct NamePattern;
  Result<std::vector<NamePattern>> name_patterns(const Set& set);
  Result<std::optional<Automaton>> free_names(const Set& set,
                                              const std::vector<std::string>& declared);
  Result<ExpressionPtr> free_member(const Set& set, const std::vector<std::string>& declared);
  Result<ExpressionPtr> member(ExpressionPtr key, Goal value);
  Result<void> add_property(const Set& set, std::string_view name, Goal& value);
  Result<bool> name_fits(std::string_view name, const Set& set);

  // Whether `value` is valid; what is not supported counts as valid.
  Result<bool> is_valid(const json::value& value, const json::value& schema, size_t depth);
  Result<bool> string_is_valid(std::string_view value, const json::object& schema);
  Result<bool> list_is_valid(const json::array& list, const json::object& schema, size_t depth);
  Result<bool> object_is_valid(const json::object& value, const json::object& schema, size_t depth);
  Result<bool> parts_are_valid(const json::value& value, const json::object& schema, size_t depth);
  Result<const Automaton*> pattern(std::string_view text, const std::string& path);

  // Keyword readers; a wrong kind of value is an error with its path.
  const json::value* find(uint32_t schema, std::string_view keyword) const;
  Result<const json::object*> object_at(uint32_t schema, std::string_view keyword) const;
  Result<std::optional<uint32_t>> count_at(uint32_t schema, std::string_view keyword) const;
  // Largest of the minima or smallest of the maxima.
  Result<std::optional<uint32_t>> tightest(const Set& set, std::string_view keyword,
                                           bool largest) const;
  std::string path_of(uint32_t schema, std::string_view keyword) const;

  ExpressionPtr space() const;
  ExpressionPtr comma() const { return sequence({bytes(","), space()}); }

  const json::value& root_;
  Budget budget_;
  Rules rules_;
  uint32_t indent_ = 0;
  size_t depth_ = 0;  // Of add().
  std::vector<Schema> schemas_;
  std::map<const json::value*, uint32_t> ids_;  // Looked up only.
  std::map<Goal, uint32_t> goals_;
  std::vector<std::pair<Goal, uint32_t>> open_;
  std::map<std::string, Automaton, std::less<>> patterns_;
};

}  // namespace altlas::text::grammar
