#include "server/http/page.h"

#include <fmt/format.h>

#include <charconv>

namespace altlas::server {

Result<PageQuery> read_page_query(const Request& request, size_t limit_max) {
  PageQuery query;
  if (const auto limit = request.query_value("limit")) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(limit->data(), limit->data() + limit->size(), value);
    if (error != std::errc() || end != limit->data() + limit->size() || value == 0)
      return invalid(
          fmt::format("limit: '{}' should be an integer, 1 or more", limit->substr(0, 32)),
          "limit");
    query.limit = static_cast<size_t>(std::min<uint64_t>(value, limit_max));
  }
  if (const auto after = request.query_value("after"); after && !after->empty())
    query.after = after;
  if (const auto order = request.query_value("order")) {
    if (*order != "asc" && *order != "desc")
      return invalid(fmt::format("order: '{}' should be asc or desc", order->substr(0, 32)),
                     "order");
    query.ascending = *order == "asc";
  }
  return query;
}

}  // namespace altlas::server
