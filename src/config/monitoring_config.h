// Sections `monitoring` and `api_metadata`: what is measured and what answers carry.
#pragma once

#include <array>
#include <string>

#include "config/field.h"

namespace altlas::config {

inline constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug",   "info",
                                                               "warn",  "warning", "error"};

struct MonitoringConfig {
  bool enabled = true;
  double interval = 1;
  bool prometheus_metrics = true;
  std::string prometheus_endpoint = "/metrics";
  std::string log_level = "info";
  bool detailed_gpu_metrics = true;
  bool task_metrics = true;
  bool queue_metrics = true;
  bool inference_extension_metrics = false;
  int64_t trace_spans_max = 65536;

  static constexpr void fields(auto&& field) {
    using S = MonitoringConfig;
    field("enabled", &S::enabled,
          FieldInfo{
              .help = "Measure devices, tasks and queues; otherwise there are neither metrics nor "
                      "a trace, and no device is closed for its temperature or load."});
    field("interval", &S::interval,
          FieldInfo{.help = "Period of device sampling.",
                    .unit = "s",
                    .min = 0.05,
                    .max = 3600,
                    .reload = true});
    field("prometheus_metrics", &S::prometheus_metrics,
          FieldInfo{.help =
                        "Serve metrics in Prometheus' text format; otherwise their path is 404."});
    field("prometheus_endpoint", &S::prometheus_endpoint,
          FieldInfo{.help = "Path of the metrics, starting with '/'; no other route's."});
    field("log_level", &S::log_level,
          FieldInfo{
              .help = "Least severe level that is logged.", .choices = kLogLevels, .reload = true});
    field("detailed_gpu_metrics", &S::detailed_gpu_metrics,
          FieldInfo{.help = "Each device under the names of dcgm-exporter too (DCGM_FI_DEV_...).",
                    .reload = true});
    field("task_metrics", &S::task_metrics,
          FieldInfo{.help = "Counts, latencies and tokens of tasks, by deployment and device.",
                    .reload = true});
    field("queue_metrics", &S::queue_metrics,
          FieldInfo{.help = "Queue length and wait metrics.", .reload = true});
    field("inference_extension_metrics", &S::inference_extension_metrics,
          FieldInfo{.help = "Queue, running requests and KV cache by the names that the Kubernetes "
                            "inference extension reads from a model server too (vllm:...).",
                    .reload = true});
    field("trace_spans_max", &S::trace_spans_max,
          FieldInfo{.help = "Spans of requests and tasks kept for /api/v1/trace; the oldest go "
                            "first, 0 keeps none.",
                    .unit = "spans",
                    .min = 0,
                    .max = 1 << 24});
  }
};

struct ApiMetadataConfig {
  bool enabled = false;
  bool processing_time = true;
  bool gpu_resources = true;
  bool trace_id = true;
  bool version = true;

  static constexpr void fields(auto&& field) {
    using S = ApiMetadataConfig;
    field("enabled", &S::enabled,
          FieldInfo{.help = "Add `meta` to every JSON answer.", .reload = true});
    field("processing_time", &S::processing_time,
          FieldInfo{.help = "Time per component in `meta`.", .reload = true});
    field("gpu_resources", &S::gpu_resources,
          FieldInfo{.help = "Device use in `meta`.", .reload = true});
    field("trace_id", &S::trace_id, FieldInfo{.help = "Trace id in `meta`.", .reload = true});
    field("version", &S::version, FieldInfo{.help = "Version in `meta`.", .reload = true});
  }
};

}  // namespace altlas::config
