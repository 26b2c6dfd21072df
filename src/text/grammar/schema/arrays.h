// Arrays of JSON Schema: items by their places, how many, that some fit (contains) or all differ.
#pragma once

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/items.h"
#include "text/grammar/schema/negations.h"
#include "text/grammar/schema/rule_book.h"
#include "text/grammar/schema/schemas.h"
#include "text/grammar/schema/unique_items.h"

namespace altlas::text::grammar::schema {

class Arrays {
 public:
  Arrays(Context& context, const Schemas& schemas, Negations& negations, RuleBook& rules,
         Goals& goals, Items& items, UniqueItems& unique_items)
      : context_(context),
        schemas_(schemas),
        negations_(negations),
        rules_(rules),
        goals_(goals),
        items_(items),
        unique_items_(unique_items) {}

  // The arrays that the set allows.
  Result<ExpressionPtr> value(const Set& set);

 private:
  // One contains, with what it asks for.
  struct Contained {
    const json::value* schema = nullptr;
    std::string path;
    uint32_t min = 1;
    uint32_t max = kUnlimited;
  };
  Result<std::vector<Contained>> contained(const Set& set);
  // Without contains.
  Result<ExpressionPtr> plain_array(const Set& set, size_t prefix, Counts counts);
  // A list of one item or more: from each node an edge for every set of contains that the item
  // fits. Null: too many cases.
  Result<ExpressionPtr> list_graph(const Set& set, size_t prefix, Counts counts,
                                   const std::vector<Contained>& contained);

  Context& context_;
  const Schemas& schemas_;
  Negations& negations_;
  RuleBook& rules_;
  Goals& goals_;
  Items& items_;
  UniqueItems& unique_items_;
};

}  // namespace altlas::text::grammar::schema
