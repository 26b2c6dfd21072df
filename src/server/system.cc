// Health, readiness, metrics, and the API description.
#include <boost/json.hpp>

#include "config/validate.h"
#include "server/body/query.h"
#include "server/handlers.h"
#include "server/http/problem.h"
#include "server/metrics.h"
#include "server/reference/openapi.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

// GET /health: what a request sent now would meet. It never waits: it reads what the control strand
// published last.
awaitable<Result<Response>> health(Request, Services& services) {
  const control::HealthView view = services.service.health();
  json::object body{{"status", control::to_string(view.status)},
                    {"model", without_folders(view.model)}};
  if (!view.message.empty()) body["message"] = without_folders(view.message);
  co_return json_response(text::json_text(body),
                          view.status == control::HealthStatus::kOk ? 200 : 503);
}

awaitable<Result<Response>> metrics(Request, Services& services) {
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = co_await services.metrics_text();
  co_return response;
}

// GET /version, as vLLM has it.
awaitable<Result<Response>> version(Request, Services& services) {
  const json::object answer{{"version", services.version}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> openapi(Request, Services& services) {
  co_return json_response(openapi_json(services.version, *services.now(),
                                       metrics_path(services.config.monitoring)));
}

struct TraceQuery {
  double seconds = 60;

  static constexpr void fields(auto&& field) {
    field("seconds", &TraceQuery::seconds,
          BodyField{.help = "How far back it goes", .min = 1e-3, .max = 1e9});
  }
};
static_assert(fields_complete<TraceQuery>(), "describe every member in fields()");

// GET /api/v1/trace?seconds=60: the last spans of requests and tasks, in Chrome's format.
awaitable<Result<Response>> trace(Request request, Services& services) {
  ALTLAS_CO_TRY(const TraceQuery query, read_query<TraceQuery>(request, *services.now()));
  if (services.tracer == nullptr || !services.tracer->enabled())
    co_return not_found(
        "no trace is kept: monitoring.enabled is off, or monitoring.trace_spans_max is 0");
  co_return json_response(co_await services.trace_text(query.seconds));
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
       kMetricsPattern,
       Access::kMetrics,
       metrics,
       "Prometheus metrics",
       "",
       "",
       {},
       {},
       "text/plain"},
      {"GET",
       "/api/v1/trace",
       Access::kAdmin,
       trace,
       "The last requests and tasks as a Chrome trace (chrome://tracing, Perfetto)",
       "",
       "Trace",
       &kQueryOf<TraceQuery>,
       {400, 404}},
      {"GET", "/version", Access::kUser, version, "The server's version", "", "Version"},
      {"GET", "/openapi.json", Access::kUser, openapi, "This description", "", "OpenApi"},
  };
}

}  // namespace altlas::server
