// Listings in OpenAI's form: limit, after, order; has_more, first_id, last_id.
#pragma once

#include <boost/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "base/result.h"
#include "server/body/field.h"
#include "server/http/http.h"

namespace altlas::server {

// Whether `who` may see what belongs to `owner`: users their own, admins everything.
inline bool may_see(const Identity& who, const std::string& owner) {
  return who.role != Role::kUser || who.name == owner;
}

inline constexpr std::string_view kPageOrders[] = {"asc", "desc"};

template <class Item>
struct Page {
  std::vector<Item> items;
  bool has_more = false;
};

// The query parameters of a listing.
struct PageQuery {
  int64_t limit = 20;
  std::optional<std::string> after;
  std::string order = "desc";

  static constexpr void fields(auto&& field) {
    using S = PageQuery;
    field("limit", &S::limit, BodyField{.help = "Items at most", .min = 1});
    field("after", &S::after, BodyField{.help = "Only items that come after this id"});
    field("order", &S::order, BodyField{.help = "By time of creation", .choices = kPageOrders});
  }
};
static_assert(fields_complete<PageQuery>(), "describe every member in fields()");

// `all`: newest first, with member `id`. A limit above `limit_max` is lowered to it. Errors:
// kNotFound for an unknown `after`.
template <class Item>
Result<Page<Item>> page_of(std::vector<Item> all, const PageQuery& query, size_t limit_max) {
  if (query.order == "asc") std::ranges::reverse(all);
  auto first = all.begin();
  if (query.after && !query.after->empty()) {
    first = std::ranges::find(all, *query.after, &Item::id);
    if (first == all.end())
      return not_found("after: '" + query.after->substr(0, 64) + "' is not in the list")
          .with_field("after");
    ++first;
  }
  Page<Item> page;
  const auto left = static_cast<size_t>(all.end() - first);
  const auto last =
      first + static_cast<ptrdiff_t>(std::min({left, static_cast<size_t>(query.limit), limit_max}));
  page.has_more = last != all.end();
  page.items.assign(std::make_move_iterator(first), std::make_move_iterator(last));
  return page;
}

template <class Item>
boost::json::object page_json(const Page<Item>& page, boost::json::array data) {
  const auto id_or_null = [&](bool front) {
    if (page.items.empty()) return boost::json::value(nullptr);
    return boost::json::value(front ? page.items.front().id : page.items.back().id);
  };
  return {{"object", "list"},
          {"data", std::move(data)},
          {"first_id", id_or_null(true)},
          {"last_id", id_or_null(false)},
          {"has_more", page.has_more}};
}

}  // namespace altlas::server
