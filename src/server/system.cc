// Health, readiness, metrics, and the API description.
#include <boost/json.hpp>

#include "server/handlers.h"
#include "server/json_text.h"
#include "server/openapi.h"
#include "server/problem.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// GET /health: as a request sent now would meet. Never waits: it reads what the control strand last
// published.
awaitable<Result<Response>> health(Request, Rooms& rooms) {
  const control::HealthView view = rooms.service.health();
  json::object body{{"status", control::to_string(view.status)},
                    {"model", without_folders(view.model)}};
  if (!view.message.empty()) body["message"] = without_folders(view.message);
  co_return json_response(json_text(body), view.status == control::HealthStatus::kOk ? 200 : 503);
}

awaitable<Result<Response>> metrics(Request, Rooms& rooms) {
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = co_await rooms.metrics_text();
  co_return response;
}

// GET /version, as vLLM has it.
awaitable<Result<Response>> version(Request, Rooms& rooms) {
  const json::object answer{{"version", rooms.version}};
  co_return json_response(json_text(answer));
}

awaitable<Result<Response>> openapi(Request, Rooms& rooms) {
  co_return json_response(openapi_json(rooms.version, rooms.has_keys));
}

}  // namespace

std::vector<Route> system_routes() {
  return {
      {"GET",
       "/health",
       Access::kOpen,
       health,
       "Whether a request sent now would be served",
       "",
       "Health",
       {},
       {503}},
      {"GET", "/ready", Access::kOpen, health, "As /health", "", "Health", {}, {503}},
      {"GET",
       "/metrics",
       Access::kMetrics,
       metrics,
       "Prometheus metrics",
       "",
       "",
       {},
       {},
       "text/plain"},
      {"GET", "/version", Access::kUser, version, "The server's version", "", "Version"},
      {"GET", "/openapi.json", Access::kUser, openapi, "This description", "", "OpenApi"},
  };
}

}  // namespace altlas::server
