// Metrics of this process, by the names that every Prometheus client library gives them, and what
// its heap holds.
#pragma once

#include "telemetry/metric_def.h"
#include "telemetry/registry.h"

namespace altlas::telemetry {

inline constexpr MetricDef kResidentBytes{.name = "process_resident_memory_bytes",
                                          .kind = MetricKind::kGauge,
                                          .help = "Resident memory of the server's process.",
                                          .unit = "bytes"};
inline constexpr MetricDef kOpenFds{.name = "process_open_fds",
                                    .kind = MetricKind::kGauge,
                                    .help = "Open file descriptors of the server's process.",
                                    .unit = "descriptors"};
inline constexpr MetricDef kMaxFds{.name = "process_max_fds",
                                   .kind = MetricKind::kGauge,
                                   .help = "The limit of open file descriptors.",
                                   .unit = "descriptors"};
inline constexpr MetricDef kCpuSeconds{.name = "process_cpu_seconds_total",
                                       .kind = MetricKind::kCounter,
                                       .help = "User and system time of the server's process.",
                                       .unit = "s"};
inline constexpr MetricDef kStartTime{.name = "process_start_time_seconds",
                                      .kind = MetricKind::kGauge,
                                      .help = "When the process started, since the Unix epoch.",
                                      .unit = "s"};
inline constexpr MetricDef kHeapBytes{
    .name = "altlas_process_heap_bytes",
    .kind = MetricKind::kGauge,
    .help =
        "Bytes that the process has allocated and not freed; resident memory also holds what "
        "the allocator keeps.",
    .unit = "bytes"};
inline constexpr const MetricDef* kProcessMetrics[] = {&kResidentBytes, &kOpenFds,   &kMaxFds,
                                                       &kCpuSeconds,    &kStartTime, &kHeapBytes};

// Sets them at each scrape. Lifetime: the registry's.
void add_process_metrics(Registry& registry);

}  // namespace altlas::telemetry
