// The control plane's metrics, and per-device gauges under the names that GPU dashboards know.
#pragma once

#include "telemetry/registry.h"

namespace altlas::control {

using telemetry::MetricDef;
using telemetry::MetricKind;

inline constexpr MetricDef kTasksTotal{.name = "altlas_control_tasks_total",
                                       .kind = MetricKind::kCounter,
                                       .help = "Tasks that ended, by status.",
                                       .unit = "tasks",
                                       .labels = {"deployment", "status"}};
inline constexpr MetricDef kGeneratedTokensTotal{.name = "altlas_control_generated_tokens_total",
                                                 .kind = MetricKind::kCounter,
                                                 .help = "Tokens generated for tasks.",
                                                 .unit = "tokens",
                                                 .labels = {"deployment"}};
inline constexpr MetricDef kQueueSeconds{
    .name = "altlas_control_queue_seconds",
    .kind = MetricKind::kHistogram,
    .help = "Time from acceptance to the first start on a device.",
    .unit = "s",
    .labels = {"deployment"},
    .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kFirstTokenSeconds{.name = "altlas_control_time_to_first_token_seconds",
                                              .kind = MetricKind::kHistogram,
                                              .help = "Time from acceptance to the first token.",
                                              .unit = "s",
                                              .labels = {"deployment"},
                                              .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kInterTokenSeconds{.name = "altlas_control_inter_token_seconds",
                                              .kind = MetricKind::kHistogram,
                                              .help = "Time between two tokens of one task.",
                                              .unit = "s",
                                              .labels = {"deployment"},
                                              .buckets = telemetry::kStepSecondsBuckets};
inline constexpr MetricDef kTaskSeconds{.name = "altlas_control_task_seconds",
                                        .kind = MetricKind::kHistogram,
                                        .help = "Time from acceptance to the end.",
                                        .unit = "s",
                                        .labels = {"deployment"},
                                        .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kQueueTasks{.name = "altlas_control_queue_tasks",
                                       .kind = MetricKind::kGauge,
                                       .help = "Tasks that wait.",
                                       .unit = "tasks"};
inline constexpr MetricDef kReplicas{.name = "altlas_control_replicas",
                                     .kind = MetricKind::kGauge,
                                     .help = "Replicas of a deployment by state.",
                                     .unit = "replicas",
                                     .labels = {"deployment", "state"}};
// Counted by replicas since their load; `replica` is the place in its deployment.
inline constexpr MetricDef kPrefixQueryTokens{
    .name = "altlas_kv_prefix_query_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Prompt tokens looked up in the prefix cache.",
    .unit = "tokens",
    .labels = {"deployment", "replica"}};
inline constexpr MetricDef kPrefixHitTokens{.name = "altlas_kv_prefix_hit_tokens_total",
                                            .kind = MetricKind::kCounter,
                                            .help = "Prompt tokens found in the prefix cache.",
                                            .unit = "tokens",
                                            .labels = {"deployment", "replica"}};
inline constexpr MetricDef kPreemptions{.name = "altlas_engine_preemptions_total",
                                        .kind = MetricKind::kCounter,
                                        .help = "Sequences that gave their KV blocks to others.",
                                        .unit = "sequences",
                                        .labels = {"deployment", "replica"}};
inline constexpr MetricDef kSwappedBlocks{.name = "altlas_kv_swapped_blocks_total",
                                          .kind = MetricKind::kCounter,
                                          .help = "KV blocks copied to host memory.",
                                          .unit = "blocks",
                                          .labels = {"deployment", "replica"}};
inline constexpr MetricDef kDraftedTokens{.name = "altlas_engine_speculative_drafted_tokens_total",
                                          .kind = MetricKind::kCounter,
                                          .help = "Tokens guessed ahead.",
                                          .unit = "tokens",
                                          .labels = {"deployment", "replica"}};
inline constexpr MetricDef kAcceptedTokens{
    .name = "altlas_engine_speculative_accepted_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Tokens guessed ahead that were right.",
    .unit = "tokens",
    .labels = {"deployment", "replica"}};
inline constexpr MetricDef kNotFiniteOutputs{
    .name = "altlas_engine_not_finite_outputs_total",
    .kind = MetricKind::kCounter,
    .help = "Sequences that failed, as NaN or infinity was in what the model gave.",
    .unit = "sequences",
    .labels = {"deployment", "replica"}};
// What is missing to the time that passed is a bubble: the rank waited for others, or for work.
inline constexpr MetricDef kRankBusySeconds{.name = "altlas_engine_rank_busy_seconds_total",
                                            .kind = MetricKind::kCounter,
                                            .help = "Time that a rank's device computed, by rank.",
                                            .unit = "s",
                                            .labels = {"deployment", "replica", "rank"}};
inline constexpr MetricDef kGpuUtilization{.name = "gpu_utilization_percent",
                                           .kind = MetricKind::kGauge,
                                           .help = "Measured utilization of a device.",
                                           .unit = "%",
                                           .labels = {"gpu_id"}};
inline constexpr MetricDef kGpuMemoryUsed{.name = "gpu_memory_used_mb",
                                          .kind = MetricKind::kGauge,
                                          .help = "Memory of a device in use, in MiB.",
                                          .unit = "MiB",
                                          .labels = {"gpu_id"}};
inline constexpr MetricDef kGpuTemperature{.name = "gpu_temperature_celsius",
                                           .kind = MetricKind::kGauge,
                                           .help = "Temperature of a device, where it is measured.",
                                           .unit = "degrees Celsius",
                                           .labels = {"gpu_id"}};
inline constexpr MetricDef kGpuTasks{.name = "gpu_tasks_count",
                                     .kind = MetricKind::kGauge,
                                     .help = "Tasks running and queued on a device.",
                                     .unit = "tasks",
                                     .labels = {"gpu_id"}};
inline constexpr MetricDef kGpuResponseTime{
    .name = "gpu_response_time_ms",
    .kind = MetricKind::kHistogram,
    .help = "Time from acceptance to the end of the tasks of a device.",
    .unit = "ms",
    .labels = {"gpu_id"},
    .buckets = telemetry::kMillisecondsBuckets};

// The names of dcgm-exporter, as far as a device's values are known.
inline constexpr MetricDef kDcgmUtilization{.name = "DCGM_FI_DEV_GPU_UTIL",
                                            .kind = MetricKind::kGauge,
                                            .help = "Measured utilization of a device.",
                                            .unit = "%",
                                            .labels = {"gpu", "device", "modelName"}};
inline constexpr MetricDef kDcgmMemoryUsed{.name = "DCGM_FI_DEV_FB_USED",
                                           .kind = MetricKind::kGauge,
                                           .help = "Memory of a device in use, in MiB.",
                                           .unit = "MiB",
                                           .labels = {"gpu", "device", "modelName"}};
inline constexpr MetricDef kDcgmMemoryFree{.name = "DCGM_FI_DEV_FB_FREE",
                                           .kind = MetricKind::kGauge,
                                           .help = "Memory of a device that is free, in MiB.",
                                           .unit = "MiB",
                                           .labels = {"gpu", "device", "modelName"}};
inline constexpr MetricDef kDcgmTemperature{
    .name = "DCGM_FI_DEV_GPU_TEMP",
    .kind = MetricKind::kGauge,
    .help = "Temperature of a device, where it is measured.",
    .unit = "degrees Celsius",
    .labels = {"gpu", "device", "modelName"}};
inline constexpr MetricDef kDcgmPower{.name = "DCGM_FI_DEV_POWER_USAGE",
                                      .kind = MetricKind::kGauge,
                                      .help = "Power that a device takes, where it is measured.",
                                      .unit = "W",
                                      .labels = {"gpu", "device", "modelName"}};

// Those of monitoring.task_metrics, queue_metrics and detailed_gpu_metrics.
inline constexpr const MetricDef* kTaskMetrics[] = {&kTasksTotal,        &kGeneratedTokensTotal,
                                                    &kFirstTokenSeconds, &kInterTokenSeconds,
                                                    &kTaskSeconds,       &kGpuResponseTime};
inline constexpr const MetricDef* kQueueMetrics[] = {&kQueueTasks, &kQueueSeconds};
inline constexpr const MetricDef* kDetailedGpuMetrics[] = {
    &kDcgmUtilization, &kDcgmMemoryUsed, &kDcgmMemoryFree, &kDcgmTemperature, &kDcgmPower};
inline constexpr const MetricDef* kControlMetrics[] = {&kTasksTotal,        &kGeneratedTokensTotal,
                                                       &kQueueSeconds,      &kFirstTokenSeconds,
                                                       &kInterTokenSeconds, &kTaskSeconds,
                                                       &kQueueTasks,        &kReplicas,
                                                       &kGpuUtilization,    &kGpuMemoryUsed,
                                                       &kGpuTemperature,    &kGpuTasks,
                                                       &kGpuResponseTime,   &kDcgmUtilization,
                                                       &kDcgmMemoryUsed,    &kDcgmMemoryFree,
                                                       &kDcgmTemperature,   &kDcgmPower,
                                                       &kPrefixQueryTokens, &kPrefixHitTokens,
                                                       &kPreemptions,       &kSwappedBlocks,
                                                       &kDraftedTokens,     &kAcceptedTokens,
                                                       &kNotFiniteOutputs,  &kRankBusySeconds};

}  // namespace altlas::control
