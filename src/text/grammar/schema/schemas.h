// Schemas: the schemas of a document that were met, and how their keywords are read.
#pragma once

#include <boost/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/automaton.h"
#include "text/grammar/expression.h"
#include "text/grammar/json_reference.h"
#include "text/grammar/program.h"
#include "text/grammar/schema/context.h"

namespace altlas::text::grammar::schema {

// Keywords of made schemas (derivation.h). No document has them: their names are not UTF-8.
inline constexpr std::string_view kMade = "\xFF made";               // The schema is made.
inline constexpr std::string_view kAt = "\xFF at";                   // Is literal n.
inline constexpr std::string_view kNotEnum = "\xFF not enum";        // None of these values.
inline constexpr std::string_view kNotPattern = "\xFF not pattern";  // Strings without a match.
inline constexpr std::string_view kNotMultipleOf = "\xFF not multipleOf";

// Kinds of JSON values. kNumber: numbers that are not whole.
enum Type : uint8_t { kNull, kBoolean, kInteger, kNumber, kString, kArray, kObject, kTypes };
// Which kinds are allowed, by Type.
using Types = std::vector<bool>;
Types named_types(const json::value& type);
// What is wrong with a value of `type`; empty: nothing.
std::string_view type_fault(const json::value& type);

// Schemas that hold together, as indices of Schemas; sorted.
using Set = std::vector<uint32_t>;

// The limits of list lengths, numbers of members and the like.
struct Counts {
  uint32_t min = 0;
  uint32_t max = kUnlimited;
};

struct Schema {
  const json::value* value = nullptr;  // An object.
  std::string path;                    // JSON pointer.
  bool made = false;
  std::vector<std::string_view> dropped;  // Keywords that are not read.
  // Made schemas that hold with it, and the keyword that each is of.
  std::vector<std::pair<const json::value*, std::string>> derived;
  std::vector<Unheld> pending;  // Named unless the values are listed.
};

class Schemas {
 public:
  explicit Schemas(Context& context) : context_(context) {}

  // Adds an object; keywords whose value is of the wrong kind are dropped and named.
  uint32_t add(const json::value& value, const std::string& path);
  size_t size() const { return all_.size(); }
  // References stay valid until the next add().
  Schema& operator[](uint32_t schema) { return all_[schema]; }
  const Schema& operator[](uint32_t schema) const { return all_[schema]; }

  // Null where the keyword is not there or dropped.
  const json::value* find(uint32_t schema, std::string_view keyword) const;
  const json::object* object_at(uint32_t schema, std::string_view keyword) const;
  std::optional<uint32_t> count_at(uint32_t schema, std::string_view keyword) const;
  // The keyword's pointer; of made schemas, that of the keyword which they say again.
  std::string path_of(uint32_t schema, std::string_view keyword) const;
  std::string path_of(uint32_t schema, std::string_view keyword, size_t index) const;

  // The largest of the minima and the smallest of the maxima.
  Counts counts_of(const Set& set, std::string_view minimum, std::string_view maximum) const;
  Types types_of(const Set& set) const;
  // Whether enum or const list the values.
  bool is_listed(const Set& set) const;
  // The literals null, true and false, as far as the types allow them and no schema excludes them.
  std::vector<ExpressionPtr> literals_of(const Set& set, const Types& types) const;
  // Names what is left out of these schemas, as their values are not listed.
  void name_pending(const Set& set);

 private:
  void check_keywords(uint32_t schema);
  // Whether one of the literals is not excluded.
  bool is_left(const Set& set, const json::value& value) const;

  Context& context_;
  std::vector<Schema> all_;
};

}  // namespace altlas::text::grammar::schema
