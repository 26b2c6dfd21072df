// Section `gpu`: which devices take tasks, and how one is chosen.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/field.h"
#include "config/names.h"

namespace altlas::config {

struct MultiGpuConfig {
  bool enabled = true;
  Strategy default_strategy = Strategy::kLeastLoaded;
  std::vector<Strategy> strategies = {Strategy::kRoundRobin,      Strategy::kLeastLoaded,
                                      Strategy::kMemoryOptimized, Strategy::kTaskSpecific,
                                      Strategy::kRandom,          Strategy::kPrefixAffinity,
                                      Strategy::kEarliestFinish};
  std::map<std::string, std::vector<int64_t>> task_specific_mappings;
  bool batch_split = true;
  int64_t min_batch_size_per_gpu = 1;
  int64_t max_concurrent_tasks_per_gpu = 0;
  double queue_processing_interval = 0.1;
  std::vector<Priority> queue_priority_levels = {Priority::kHigh, Priority::kNormal,
                                                 Priority::kLow};
  Priority default_queue_priority = Priority::kNormal;
  int64_t max_queue_size = 1000;
  double queue_timeout = 3600;
  double priority_aging_s = 30;
  int64_t random_seed = 0;

  static constexpr void fields(auto&& field) {
    using S = MultiGpuConfig;
    field(
        "enabled", &S::enabled,
        FieldInfo{.help = "Spread tasks over every device; otherwise only the first takes tasks."});
    field("default_strategy", &S::default_strategy,
          FieldInfo{.help = "How a device is chosen for a task that names no strategy.",
                    .reload = true});
    field("strategies", &S::strategies,
          FieldInfo{
              .help = "Strategies that a request may name.", .reload = true, .one_or_list = true});
    field("task_specific_mappings", &S::task_specific_mappings,
          FieldInfo{.help = "Task type to its device or list of devices, for task_specific.",
                    .min = 0,
                    .max = 65535,
                    .form = Form::kDevices,
                    .reload = true,
                    .one_or_list = true});
    field("batch_split", &S::batch_split,
          FieldInfo{.help = "Split a batch over devices when the request does not say.",
                    .reload = true});
    field("min_batch_size_per_gpu", &S::min_batch_size_per_gpu,
          FieldInfo{.help = "Items per device at least, for batches that do not say batch_split.",
                    .unit = "tasks",
                    .min = 1,
                    .max = 1000,
                    .reload = true});
    field("max_concurrent_tasks_per_gpu", &S::max_concurrent_tasks_per_gpu,
          FieldInfo{.help = "Tasks running on a device at most; 0 is what the engine can batch.",
                    .unit = "tasks",
                    .min = 0,
                    .max = 65536,
                    .reload = true});
    field("queue_processing_interval", &S::queue_processing_interval,
          FieldInfo{.help = "Period of queue housekeeping (deadlines); dispatch is by event.",
                    .unit = "s",
                    .min = 0.001,
                    .max = 60});
    field("queue_priority_levels", &S::queue_priority_levels,
          FieldInfo{.help = "Priority levels, first served first; also as a map of level to rank.",
                    .form = Form::kPriorities});
    field("default_queue_priority", &S::default_queue_priority,
          FieldInfo{.help = "Priority of a task that names none.", .reload = true});
    field("max_queue_size", &S::max_queue_size,
          FieldInfo{.help = "Tasks waiting at most; the next is answered 429.",
                    .unit = "tasks",
                    .min = 0,
                    .max = 1 << 24,
                    .reload = true});
    field("queue_timeout", &S::queue_timeout,
          FieldInfo{.help = "Queue wait after which a task fails.",
                    .unit = "s",
                    .min = 0,
                    .max = 31536000,
                    .reload = true});
    field("priority_aging_s", &S::priority_aging_s,
          FieldInfo{.help = "How much later a task of the next lower priority counts as come, in the "
                            "queue and in a replica's batch; 0 serves all levels alike.",
                    .unit = "s",
                    .min = 0,
                    .max = 31536000});
    field("random_seed", &S::random_seed,
          FieldInfo{.help = "Seed of strategy random; 0 draws one at start.", .min = 0});
  }
};

struct GpuConfig {
  bool enabled = true;
  double min_compute_capability = 7.5;
  double memory_threshold = 0.95;
  double utilization_threshold = 0.95;
  double max_temperature = 85;
  double health_check_interval = 60;
  MultiGpuConfig multi_gpu;

  static constexpr void fields(auto&& field) {
    using S = GpuConfig;
    field("enabled", &S::enabled,
          FieldInfo{
              .help = "Use CUDA GPUs when the devices are not named and some are there; this build "
                      "can't, and says so unless it is false."});
    field("min_compute_capability", &S::min_compute_capability,
          FieldInfo{.help = "CUDA GPUs below this compute capability are left alone.",
                    .min = 1,
                    .max = 99,
                    .not_yet = "remove it: this build computes on cpu and sim"});
    field("memory_threshold", &S::memory_threshold,
          FieldInfo{.help = "Share of its memory in use above which a device takes no new task.",
                    .min = 0,
                    .max = 1,
                    .reload = true});
    field(
        "utilization_threshold", &S::utilization_threshold,
        FieldInfo{.help = "Utilization by other processes above which a device takes no new task.",
                  .min = 0,
                  .max = 1,
                  .reload = true});
    field("max_temperature", &S::max_temperature,
          FieldInfo{.help = "A hotter device takes no new task.",
                    .unit = "degrees Celsius",
                    .min = 0,
                    .max = 150,
                    .reload = true});
    field("health_check_interval", &S::health_check_interval,
          FieldInfo{.help = "Period of the device health check.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 86400,
                    .not_yet = "remove it: devices are checked at each monitoring.interval"});
    field("multi_gpu", &S::multi_gpu,
          FieldInfo{.help = "Choice among several devices, and the queue before them."});
  }
};

}  // namespace altlas::config
