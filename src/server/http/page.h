// Listings in OpenAI's form: limit, after, order; has_more, first_id, last_id.
#pragma once

#include <boost/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/http/http.h"
#include "server/http/route.h"

namespace altlas::server {

inline constexpr QueryParameter kPageLimit{
    "limit", R"({"type":"integer","minimum":1,"default":20})", "Items at most."};
inline constexpr QueryParameter kPageAfter{"after", R"({"type":"string"})",
                                           "Only items that come after this id."};
inline constexpr QueryParameter kPageOrder{
    "order", R"({"type":"string","enum":["asc","desc"],"default":"desc"})", "By time of creation."};

// Whether `who` may see what belongs to `owner`: users their own, admins everything.
inline bool may_see(const Identity& who, const std::string& owner) {
  return who.role != Role::kUser || who.name == owner;
}

template <class Item>
struct Page {
  std::vector<Item> items;
  bool has_more = false;
};

struct PageQuery {
  size_t limit = 20;
  std::optional<std::string> after;
  bool ascending = false;
};
// Errors: kInvalid naming the parameter. A limit above `limit_max` is lowered to it.
Result<PageQuery> read_page_query(const Request& request, size_t limit_max);

// `all`: newest first, with member `id`.  Errors: as read_page_query; kNotFound for an unknown
// `after`.
template <class Item>
Result<Page<Item>> page_of(std::vector<Item> all, const Request& request, size_t limit_max) {
  ALTLAS_TRY(const PageQuery query, read_page_query(request, limit_max));
  if (query.ascending) std::ranges::reverse(all);
  auto first = all.begin();
  if (query.after) {
    first = std::ranges::find(all, *query.after, &Item::id);
    if (first == all.end())
      return not_found("after: '" + query.after->substr(0, 64) + "' is not in the list")
          .with_field("after");
    ++first;
  }
  Page<Item> page;
  const auto left = static_cast<size_t>(all.end() - first);
  const auto last = first + static_cast<ptrdiff_t>(std::min(left, query.limit));
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
