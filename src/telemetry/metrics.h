// The metrics of room `telemetry`.
#pragma once

#include "telemetry/metric_def.h"

namespace altlas::telemetry {

inline constexpr MetricDef kSeriesDropped{
    .name = "altlas_telemetry_series_dropped_total",
    .kind = MetricKind::kCounter,
    .help = "Uses of label sets beyond a metric's limit; their values are summed under _overflow.",
    .unit = "series",
    .labels = {"metric"}};
inline constexpr const MetricDef* kTelemetryMetrics[] = {&kSeriesDropped};

}  // namespace altlas::telemetry
