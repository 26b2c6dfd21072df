// Settings that a running server takes on: at its start, and at SIGHUP.
#pragma once

#include "config/config.h"
#include "telemetry/registry.h"

namespace altlas::cli {

// Which metrics are written: monitoring.task_metrics, queue_metrics, detailed_gpu_metrics.
void show_metrics(const config::MonitoringConfig& config, telemetry::Registry& metrics);

}  // namespace altlas::cli
