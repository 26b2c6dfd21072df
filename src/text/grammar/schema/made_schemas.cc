#include "text/grammar/schema/made_schemas.h"

#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

const json::value& MadeSchemas::make(json::object schema) {
  schema[kMade] = true;
  context_.expanded = true;
  return made_.emplace_back(std::move(schema));
}

json::object MadeSchemas::literal(const json::value& value, const std::string& path, bool negated) {
  literals_.push_back({&value, path, negated});
  return {{kAt, literals_.size() - 1}};
}

}  // namespace altlas::text::grammar::schema
