// Items of arrays: what an item must be by its place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "text/grammar/schema/context.h"
#include "text/grammar/schema/evaluation.h"
#include "text/grammar/schema/goals.h"
#include "text/grammar/schema/schemas.h"

namespace altlas::text::grammar::schema {

class Items {
 public:
  Items(const Schemas& schemas, Goals& goals, Evaluation& evaluation)
      : schemas_(schemas), goals_(goals), evaluation_(evaluation) {}

  // How many items have a schema of their own; those behind are alike.
  size_t prefix_of(const Set& set) const;
  // What the item at `index` must be.
  Result<Goal> goal_at(const Set& set, size_t index);

 private:
  // Whether one of the schemas says something of the item.
  bool evaluates_item(const Set& set, uint32_t asking, size_t index) const;

  const Schemas& schemas_;
  Goals& goals_;
  Evaluation& evaluation_;
};

}  // namespace altlas::text::grammar::schema
