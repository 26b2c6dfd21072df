// Evaluation: which schemas tell what unevaluatedProperties and unevaluatedItems leave, of values
// that fit a set of schemas.
#pragma once

#include <boost/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Evaluation {
 public:
  Evaluation(Context& context, Schemas& schemas, Goals& goals)
      : context_(context), schemas_(schemas), goals_(goals) {}

  // The schemas that tell which members or items `schema`'s unevaluated… leaves of a value that
  // fits all of `set`, whose choices are decided; null, and it is named as left out, where that
  // depends on more.
  Result<const Set*> evaluated_by(uint32_t schema, std::string_view keyword, const Set& set);

 private:
  // Adds the schemas that look at the same value as this one and hold, where all of `set` does.
  // False: which ones do depends on more than the set.
  Result<bool> collect_evaluating(const json::value& value, const std::string& path,
                                  std::string_view keyword, const Set& set, Set& out);
  // The alternatives of a schema that are among those that hold.
  Result<bool> collect_chosen(uint32_t schema, std::string_view keyword, const Set& set, Set& out);
  // Whether a value that fits the set fits this schema, because all that it says is in the set.
  Result<bool> is_held(const json::value& value, const std::string& path, const Set& set);

  Context& context_;
  Schemas& schemas_;
  Goals& goals_;
  std::map<std::tuple<uint32_t, std::string, Set>, Set> closures_;
};

}  // namespace altlas::text::grammar::schema
