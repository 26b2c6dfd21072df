// The server's metrics.
#pragma once

#include <string_view>

#include "base/result.h"
#include "config/monitoring_config.h"
#include "telemetry/registry.h"

namespace altlas::server {

inline constexpr telemetry::MetricDef kRequestsTotal{
    .name = "altlas_server_requests_total",
    .kind = telemetry::MetricKind::kCounter,
    .help = "Requests answered, by route and status.",
    .unit = "requests",
    .labels = {"route", "status"}};
inline constexpr telemetry::MetricDef kRequestSeconds{
    .name = "altlas_server_request_seconds",
    .kind = telemetry::MetricKind::kHistogram,
    .help = "Time from a request read to its answer made, streams excluded.",
    .unit = "s",
    .labels = {"route"},
    .buckets = telemetry::kSecondsBuckets};
inline constexpr const telemetry::MetricDef* kServerMetrics[] = {&kRequestsTotal, &kRequestSeconds};

// Where the metrics are served; empty: nowhere.
std::string_view metrics_path(const config::MonitoringConfig& config);
// Errors: kInvalid for a path that another route has.
Result<void> check_metrics_path(const config::MonitoringConfig& config);

// Counts one answered request. `route`: the pattern of the table, so that labels stay few.
void count_request(telemetry::Registry& registry, std::string_view route, int status,
                   double seconds);

}  // namespace altlas::server
