// A row of the route table (server/routes.h), from which dispatch, 405's Allow and /openapi.json
// come, and how a request finds its row.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/fwd.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/http/http.h"

namespace altlas::config {
struct Config;
}  // namespace altlas::config

namespace altlas::server {

struct Services;

using Handler = boost::asio::awaitable<Result<Response>> (*)(Request request, Services& services);

enum class Access : uint8_t {
  kOpen,     // Without a key, too: /health, /ready, the dashboard's files.
  kMetrics,  // Any role.
  kUser,     // user and admin.
  kAdmin,
};

// The query parameters of a route: kQueryOf<Query> in body/query.h, where `Query` is a struct with
// a row for each.
struct QueryRows {
  // A list of {"name", "schema", "description"} in the order of the rows, under the settings `now`.
  boost::json::array (*parameters)(const config::Config& now);
  // What reading the request's query says. Errors: as read_query().
  Result<void> (*check)(const Request& request, const config::Config& now);
};

struct Route {
  std::string_view method;
  // "/api/v1/task/{id}": a segment in braces takes any one segment; "{id*}" at the end all that
  // follow.
  std::string_view pattern;
  Access access = Access::kUser;
  Handler handler = nullptr;
  std::string_view summary;
  // Name of the body in reference/bodies.h, empty for none.
  std::string_view request = "";
  std::string_view response = "";  // Name of the answer's schema, empty for text or a stream alone.
  const QueryRows* query = nullptr;  // Null: it has no parameters.
  std::vector<int> errors = {};      // Statuses beside 200, 401, 403 that the handler gives.
  std::string_view response_type = "application/json";
  std::string_view request_type = "application/json";  // Content-Type of the body.
};

// The pattern of the metrics, whose path is a setting.
inline constexpr std::string_view kMetricsPattern = "/metrics";

struct RouteMatch {
  const Route* route = nullptr;  // Null: see `allow`.
  std::vector<std::pair<std::string, std::string>> parameters;
  std::string allow;  // Methods of the path, where only the method is wrong.
};
// HEAD is answered as GET.
RouteMatch match_route(std::span<const Route> table, std::string_view method,
                       std::string_view path);

// True for paths, or targets as they were sent, whose errors take OpenAI's shape.
bool openai_style(std::string_view target);

}  // namespace altlas::server
