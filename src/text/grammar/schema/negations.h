// Negations: the negation of a schema as a choice of made schemas, each of which breaks one
// keyword.
#pragma once

#include <boost/json.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/made_schemas.h"

namespace altlas::text::grammar::schema {

class Negations {
 public:
  Negations(Context& context, MadeSchemas& made) : context_(context), made_(made) {}

  // Whether negation_of() can say it.
  Result<bool> can_negate(const json::value& value, const std::string& path, size_t depth);
  // The made schema of the values that a schema does not allow.
  Result<const json::value*> negation_of(const json::value& value, const std::string& path);

 private:
  Result<bool> can_negate_keyword(const json::object& schema, std::string_view keyword,
                                  const std::string& path, size_t depth);
  Result<void> negate_keyword(const json::object& schema, std::string_view keyword,
                              const std::string& path, json::array& out);
  void negate_number(const json::object& schema, std::string_view keyword, json::array& out);
  // Lengths and numbers of items or members. False: the keyword is none of them.
  bool negate_count(std::string_view keyword, const json::value& value, json::array& out);
  void negate_object(std::string_view keyword, const json::value& value, const std::string& path,
                     json::array& out);
  void negate_choice(const json::object& schema, std::string_view keyword, const std::string& path,
                     json::array& out);

  Context& context_;
  MadeSchemas& made_;
  std::map<const json::value*, const json::value*> negations_;  // Looked up only.
  std::map<const json::value*, bool> negatable_;                // Looked up only.
  std::vector<const json::value*> negatable_trail_;             // Found since.
};

}  // namespace altlas::text::grammar::schema
