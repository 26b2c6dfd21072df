// MadeSchemas: schemas that say again what a document says by not, if, dependent… and oneOf. A
// literal within one stands for a schema of the document, or for its negation.
#pragma once

#include <boost/json.hpp>

#include <deque>
#include <string>
#include <vector>

#include "text/grammar/schema/context.h"

namespace altlas::text::grammar::schema {

// What a made schema refers to.
struct Literal {
  const json::value* value = nullptr;
  std::string path;
  bool negated = false;
};

class MadeSchemas {
 public:
  explicit MadeSchemas(Context& context) : context_(context) {}

  // Keeps a schema as a made one. References stay valid.
  const json::value& make(json::object schema);
  // A schema {kAt: n} that stands for `value`.
  json::object literal(const json::value& value, const std::string& path, bool negated);
  const Literal& literal_at(size_t index) const { return literals_[index]; }

 private:
  Context& context_;
  std::deque<json::value> made_;
  std::vector<Literal> literals_;
};

}  // namespace altlas::text::grammar::schema
