#include "text/grammar/schema/items.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace altlas::text::grammar::schema {

bool Items::evaluates_item(const Set& set, uint32_t asking, size_t index) const {
  return std::ranges::any_of(set, [&](uint32_t s) {
    const auto reaches = [&](std::string_view keyword) {
      const json::value* items = schemas_.find(s, keyword);
      return items != nullptr && (!items->is_array() || index < items->get_array().size());
    };
    const json::value* items = schemas_.find(s, "items");
    const bool more =
        items != nullptr && items->is_array() && schemas_.find(s, "additionalItems") != nullptr;
    return reaches("prefixItems") || reaches("items") || more ||
           (s != asking && schemas_.find(s, "unevaluatedItems") != nullptr);
  });
}

Result<Goal> Items::goal_at(const Set& set, size_t index) {
  Goal goal;
  for (const uint32_t s : set) {
    const json::value* items = schemas_.find(s, "items");
    const json::value* prefix = schemas_.find(s, "prefixItems");
    std::string_view list_name = "prefixItems", rest_name = "items";
    const json::value* rest = items;
    // Drafts before 2020-12 wrote the prefix so.
    if (prefix == nullptr && items != nullptr && items->is_array()) {
      prefix = items;
      list_name = "items";
      rest_name = "additionalItems";
      rest = schemas_.find(s, rest_name);
    }
    if (prefix != nullptr && index < prefix->get_array().size()) {
      ALTLAS_TRY_VOID(goals_.add(goal, prefix->get_array()[index],
                                 fmt::format("{}/{}", schemas_.path_of(s, list_name), index)));
    } else if (rest != nullptr) {
      ALTLAS_TRY_VOID(goals_.add(goal, *rest, schemas_.path_of(s, rest_name)));
    }
    const json::value* left = schemas_.find(s, "unevaluatedItems");
    if (left == nullptr) continue;
    ALTLAS_TRY(const Set* by, evaluation_.evaluated_by(s, "unevaluatedItems", set));
    if (by == nullptr || evaluates_item(*by, s, index)) continue;
    ALTLAS_TRY_VOID(goals_.add(goal, *left, schemas_.path_of(s, "unevaluatedItems")));
  }
  return goal;
}

size_t Items::prefix_of(const Set& set) const {
  size_t prefix = 0;
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"prefixItems", "items"})
      if (const json::value* list = schemas_.find(s, keyword); list != nullptr && list->is_array())
        prefix = std::max(prefix, list->get_array().size());
  return prefix;
}

}  // namespace altlas::text::grammar::schema
