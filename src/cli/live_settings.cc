#include "cli/live_settings.h"

#include "control/metrics.h"

namespace altlas::cli {

void show_metrics(const config::MonitoringConfig& config, telemetry::Registry& metrics) {
  for (const telemetry::MetricDef* one : control::kTaskMetrics)
    metrics.show(*one, config.task_metrics);
  for (const telemetry::MetricDef* one : control::kQueueMetrics)
    metrics.show(*one, config.queue_metrics);
  for (const telemetry::MetricDef* one : control::kDetailedGpuMetrics)
    metrics.show(*one, config.detailed_gpu_metrics);
}

}  // namespace altlas::cli
