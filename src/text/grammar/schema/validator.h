// Validator: whether values that a schema lists (enum, const) fit the rest of the schema.
#pragma once

#include <boost/json.hpp>

#include <string>
#include <string_view>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/made_schemas.h"

namespace altlas::text::grammar::schema {

class Validator {
 public:
  Validator(Context& context, const MadeSchemas& made) : context_(context), made_(made) {}

  // Whether `value` fits `schema` at `path`; what is not supported counts as valid. `depth`: how
  // many schemas lie around this one.
  Result<bool> is_valid(const json::value& value, const json::value& schema,
                        const std::string& path, size_t depth);

 private:
  Result<bool> string_is_valid(std::string_view value, const json::object& schema,
                               const std::string& path);
  Result<bool> list_is_valid(const json::array& list, const json::object& schema,
                             const std::string& path, size_t depth);
  Result<bool> object_is_valid(const json::object& value, const json::object& schema,
                               const std::string& path, size_t depth);
  Result<bool> dependents_are_valid(const json::object& value, const json::object& schema,
                                    const std::string& path, size_t depth);
  // allOf, anyOf, oneOf, not, if and references.
  Result<bool> parts_are_valid(const json::value& value, const json::object& schema,
                               const std::string& path, size_t depth);

  Context& context_;
  const MadeSchemas& made_;
};

}  // namespace altlas::text::grammar::schema
