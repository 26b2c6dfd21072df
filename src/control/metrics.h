// The control plane's metrics, and per-device gauges under the names that GPU dashboards know.
#pragma once

#include "journal/metrics.h"
#include "telemetry/registry.h"

namespace altlas::control {

using telemetry::MetricDef;
using telemetry::MetricKind;
// The service's journal has metrics of its own.
using journal::kJournalMetrics;

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
inline constexpr MetricDef kPromptTokensTotal{.name = "altlas_control_prompt_tokens_total",
                                              .kind = MetricKind::kCounter,
                                              .help = "Prompt tokens of tasks that ended.",
                                              .unit = "tokens",
                                              .labels = {"deployment"}};
inline constexpr MetricDef kWastedTokensTotal{
    .name = "altlas_control_wasted_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Tokens generated for tasks that then failed or were canceled.",
    .unit = "tokens",
    .labels = {"deployment", "status"}};
// The usage of keys, by their names; "(none)" where no key was configured.
inline constexpr MetricDef kKeyTasksTotal{.name = "altlas_control_key_tasks_total",
                                          .kind = MetricKind::kCounter,
                                          .help = "Tasks of a key that ended, by status.",
                                          .unit = "tasks",
                                          .labels = {"key", "status"}};
inline constexpr MetricDef kKeyPromptTokensTotal{
    .name = "altlas_control_key_prompt_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Prompt tokens of a key's tasks that ended.",
    .unit = "tokens",
    .labels = {"key"}};
inline constexpr MetricDef kKeyGeneratedTokensTotal{
    .name = "altlas_control_key_generated_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Tokens generated for a key's tasks that ended.",
    .unit = "tokens",
    .labels = {"key"}};
inline constexpr MetricDef kWaitingTasks{.name = "altlas_control_waiting_tasks",
                                         .kind = MetricKind::kGauge,
                                         .help = "Tasks of a deployment that no replica has yet.",
                                         .unit = "tasks",
                                         .labels = {"deployment"}};
inline constexpr MetricDef kTargetReplicas{.name = "altlas_control_target_replicas",
                                           .kind = MetricKind::kGauge,
                                           .help = "Replicas of a deployment that are wanted.",
                                           .unit = "replicas",
                                           .labels = {"deployment"}};
inline constexpr MetricDef kScalings{.name = "altlas_control_scalings_total",
                                     .kind = MetricKind::kCounter,
                                     .help = "Changes of the number of replicas that is wanted.",
                                     .unit = "changes",
                                     .labels = {"deployment", "direction"}};
// The phases are those of LoadProgress, and "process": from the decision until its link is up.
inline constexpr MetricDef kStartPhaseSeconds{
    .name = "altlas_control_start_phase_seconds",
    .kind = MetricKind::kHistogram,
    .help = "Time that a phase of a replica's start took.",
    .unit = "s",
    .labels = {"phase"},
    .buckets = telemetry::kSecondsBuckets};
inline constexpr MetricDef kWorkersLost{.name = "altlas_control_workers_lost_total",
                                        .kind = MetricKind::kCounter,
                                        .help = "Workers that ended or broke their link.",
                                        .unit = "workers"};
inline constexpr MetricDef kRestarts{.name = "altlas_control_replica_restarts_total",
                                     .kind = MetricKind::kCounter,
                                     .help = "Starts of a replica after its first one.",
                                     .unit = "starts",
                                     .labels = {"deployment", "replica"}};
inline constexpr MetricDef kSteps{.name = "altlas_engine_steps_total",
                                  .kind = MetricKind::kCounter,
                                  .help = "Steps that a replica's engine planned.",
                                  .unit = "steps",
                                  .labels = {"deployment", "replica"}};
// Divided by the steps it is the mean batch size.
inline constexpr MetricDef kStepSequences{
    .name = "altlas_engine_step_sequences_total",
    .kind = MetricKind::kCounter,
    .help = "Sequences in the steps of a replica, added up; over the steps: the mean batch size.",
    .unit = "sequences",
    .labels = {"deployment", "replica"}};
inline constexpr MetricDef kComputedPromptTokens{
    .name = "altlas_engine_prompt_tokens_total",
    .kind = MetricKind::kCounter,
    .help = "Prompt tokens that a replica computed, recomputed ones too.",
    .unit = "tokens",
    .labels = {"deployment", "replica"}};
inline constexpr MetricDef kRunningSequences{.name = "altlas_engine_running_sequences",
                                             .kind = MetricKind::kGauge,
                                             .help = "Tasks that a replica has.",
                                             .unit = "sequences",
                                             .labels = {"deployment", "replica"}};
inline constexpr MetricDef kWaitingSequences{
    .name = "altlas_engine_waiting_sequences",
    .kind = MetricKind::kGauge,
    .help = "Those of them that its engine does not compute yet, or does not for now.",
    .unit = "sequences",
    .labels = {"deployment", "replica"}};
inline constexpr MetricDef kKvTokens{.name = "altlas_kv_tokens",
                                     .kind = MetricKind::kGauge,
                                     .help = "Tokens that a replica's KV blocks hold at most.",
                                     .unit = "tokens",
                                     .labels = {"deployment", "replica"}};
inline constexpr MetricDef kKvUsedTokens{.name = "altlas_kv_used_tokens",
                                         .kind = MetricKind::kGauge,
                                         .help = "Places for tokens in KV blocks that are in use.",
                                         .unit = "tokens",
                                         .labels = {"deployment", "replica"}};
inline constexpr MetricDef kDeviceHealthy{
    .name = "altlas_device_healthy",
    .kind = MetricKind::kGauge,
    .help = "1 while a device takes part, 0 while it is unhealthy.",
    .unit = "",
    .labels = {"gpu_id"}};
inline constexpr MetricDef kDeviceMemory{
    .name = "altlas_device_memory_bytes",
    .kind = MetricKind::kGauge,
    .help = "Memory of a device in use, by holder and use; reservations of tasks have no holder.",
    .unit = "bytes",
    .labels = {"gpu_id", "deployment", "use"}};
inline constexpr MetricDef kDeviceMemoryTotal{.name = "altlas_device_memory_total_bytes",
                                              .kind = MetricKind::kGauge,
                                              .help = "The budget of a device.",
                                              .unit = "bytes",
                                              .labels = {"gpu_id"}};
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

inline constexpr MetricDef kDcgmClock{
    .name = "DCGM_FI_DEV_SM_CLOCK",
    .kind = MetricKind::kGauge,
    .help = "Clock of a device, where it is measured; of a cpu device the mean of all cores.",
    .unit = "MHz",
    .labels = {"gpu", "device", "modelName"}};

// What the Kubernetes inference extension's model server protocol asks of a server.
inline constexpr MetricDef kVllmWaiting{.name = "vllm:num_requests_waiting",
                                        .kind = MetricKind::kGauge,
                                        .help = "Requests of a model that wait.",
                                        .unit = "requests",
                                        .labels = {"model_name"}};
inline constexpr MetricDef kVllmRunning{.name = "vllm:num_requests_running",
                                        .kind = MetricKind::kGauge,
                                        .help = "Requests of a model that its replicas compute.",
                                        .unit = "requests",
                                        .labels = {"model_name"}};
inline constexpr MetricDef kVllmKvUsage{
    .name = "vllm:kv_cache_usage_perc",
    .kind = MetricKind::kGauge,
    .help = "Share of the KV blocks of a model's replicas that is in use, 1 is all.",
    .unit = "",
    .labels = {"model_name"}};
inline constexpr MetricDef kVllmCacheConfig{
    .name = "vllm:cache_config_info",
    .kind = MetricKind::kGauge,
    .help = "1, with the tokens of a KV block and the number of blocks of a replica.",
    .unit = "",
    .labels = {"model_name", "block_size", "num_gpu_blocks"}};
inline constexpr const MetricDef* kInferenceExtensionMetrics[] = {&kVllmWaiting, &kVllmRunning,
                                                                  &kVllmKvUsage, &kVllmCacheConfig};

// Those of monitoring.task_metrics, queue_metrics and detailed_gpu_metrics.
inline constexpr const MetricDef* kTaskMetrics[] = {
    &kTasksTotal,    &kGeneratedTokensTotal, &kFirstTokenSeconds,      &kInterTokenSeconds,
    &kTaskSeconds,   &kGpuResponseTime,      &kPromptTokensTotal,      &kWastedTokensTotal,
    &kKeyTasksTotal, &kKeyPromptTokensTotal, &kKeyGeneratedTokensTotal};
inline constexpr const MetricDef* kQueueMetrics[] = {&kQueueTasks, &kQueueSeconds, &kWaitingTasks};
inline constexpr const MetricDef* kDetailedGpuMetrics[] = {&kDcgmUtilization, &kDcgmMemoryUsed,
                                                           &kDcgmMemoryFree,  &kDcgmTemperature,
                                                           &kDcgmPower,       &kDcgmClock};
inline constexpr const MetricDef* kControlMetrics[] = {&kTasksTotal,
                                                       &kGeneratedTokensTotal,
                                                       &kQueueSeconds,
                                                       &kFirstTokenSeconds,
                                                       &kInterTokenSeconds,
                                                       &kTaskSeconds,
                                                       &kQueueTasks,
                                                       &kReplicas,
                                                       &kGpuUtilization,
                                                       &kGpuMemoryUsed,
                                                       &kGpuTemperature,
                                                       &kGpuTasks,
                                                       &kGpuResponseTime,
                                                       &kDcgmUtilization,
                                                       &kDcgmMemoryUsed,
                                                       &kDcgmMemoryFree,
                                                       &kDcgmTemperature,
                                                       &kDcgmPower,
                                                       &kPrefixQueryTokens,
                                                       &kPrefixHitTokens,
                                                       &kPreemptions,
                                                       &kSwappedBlocks,
                                                       &kDraftedTokens,
                                                       &kAcceptedTokens,
                                                       &kNotFiniteOutputs,
                                                       &kRankBusySeconds,
                                                       &kPromptTokensTotal,
                                                       &kWastedTokensTotal,
                                                       &kKeyTasksTotal,
                                                       &kKeyPromptTokensTotal,
                                                       &kKeyGeneratedTokensTotal,
                                                       &kWaitingTasks,
                                                       &kTargetReplicas,
                                                       &kScalings,
                                                       &kStartPhaseSeconds,
                                                       &kWorkersLost,
                                                       &kRestarts,
                                                       &kSteps,
                                                       &kStepSequences,
                                                       &kComputedPromptTokens,
                                                       &kRunningSequences,
                                                       &kWaitingSequences,
                                                       &kKvTokens,
                                                       &kKvUsedTokens,
                                                       &kDeviceHealthy,
                                                       &kDeviceMemory,
                                                       &kDeviceMemoryTotal,
                                                       &kDcgmClock};

}  // namespace altlas::control
