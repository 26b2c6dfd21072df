#include "server/metrics.h"

#include <fmt/format.h>

#include <string>

#include "server/http/route.h"
#include "server/routes.h"

namespace altlas::server {

std::string_view metrics_path(const config::MonitoringConfig& config) {
  return config.enabled && config.prometheus_metrics ? config.prometheus_endpoint
                                                     : std::string_view();
}

Result<void> check_metrics_path(const config::MonitoringConfig& config) {
  const std::string_view path = metrics_path(config);
  if (path.empty() || path == kMetricsPattern) return {};
  const RouteMatch taken = match_route(routes(), "GET", path);
  if (taken.route == nullptr && taken.allow.empty()) return {};
  return invalid(
      fmt::format("monitoring.prometheus_endpoint: '{}' is another route's path: choose one that "
                  "/openapi.json does not list",
                  path),
      "monitoring.prometheus_endpoint");
}

void count_request(telemetry::Registry& registry, std::string_view route, int status,
                   double seconds) {
  registry.counter(kRequestsTotal, {route, std::to_string(status)})->add();
  registry.histogram(kRequestSeconds, {route})->observe(seconds);
}

}  // namespace altlas::server
