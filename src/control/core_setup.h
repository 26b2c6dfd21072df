// CoreSetup: everything the control core is told once: devices, deployments, limits. Plain values,
// no config types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "config/names.h"
#include "engine/messages.h"
#include "scheduler/autoscaler.h"

namespace altlas::control {

struct DeviceSetup {
  DeviceId id;                 // 0, 1, … in the order of the list.
  std::string name;            // "AMD EPYC 9575F #0".
  std::string kind;            // cpu, cuda, sim.
  uint64_t memory_total = 0;   // Bytes of the budget.
  std::string spec;            // The --devices part that opens it: "cpu:1:1:4GiB".
  uint32_t cpu_first = 0;      // First core, of a cpu device.
  uint32_t node = 0;           // The machine that it belongs to; 0: the server's.
  std::string node_name = {};  // The name of that machine's certificate; empty: the server's.
};

// The place of a rank on the device, in worker 0.
inline engine::RankPlace rank_place(const DeviceSetup& device) {
  return {.node = device.node,
          .device_id = static_cast<uint32_t>(device.id.value),
          .device_spec = device.spec,
          .cpu_first = device.cpu_first};
}

struct DeploymentSetup {
  std::string name;
  std::string model;  // Id in the APIs; empty for deployments that are not models (`echo`).
  std::vector<std::string> task_types;
  engine::LoadReplica load;  // Without worker and ranks: the core fills them in.
  // Places for replicas: the devices of each one's ranks, the leading one first. ≥ 1 each.
  std::vector<std::vector<DeviceId>> replicas;
  // Lets the number of replicas follow the load; max_replicas is at most the number of places. The
  // first places have replicas at the start; without it, all have.
  std::optional<scheduler::AutoscalerSettings> autoscaling;
  uint32_t max_ongoing = 0;  // Tasks in a replica's hands; 0: what its engine can batch.
  uint32_t max_queued = 1000;
  uint32_t adapters_max = 32;  // Those of `load` included.
  int64_t health_check_timeout_us = 30 * kSecond;
  int64_t startup_timeout_us = 900 * kSecond;
  // What a replica that is not wanted any more gets to end its tasks; then they go on elsewhere.
  int64_t graceful_shutdown_timeout_us = 30 * kSecond;
};

struct CoreSetup {
  std::vector<DeviceSetup> devices;          // ≥ 1.
  std::vector<DeploymentSetup> deployments;  // ≥ 1, names distinct.
  // The deployment of tasks that name none; one of `deployments`.
  std::string default_deployment;
  Strategy strategy = Strategy::kLeastLoaded;
  double memory_threshold = 0.95;
  double utilization_threshold = 0.95;
  double max_temperature = 85;
  std::vector<std::pair<std::string, std::vector<DeviceId>>> task_specific;  // Type to devices.
  uint32_t max_concurrent_tasks = 0;  // Per device; 0: what the engine can batch.
  uint32_t max_queue_size = 1000;
  int64_t queue_timeout_us = 3600 * kSecond;
  int64_t queue_interval_us = 0;       // Deadlines in the queue are looked at once in so long.
  int64_t age_step_us = 30 * kSecond;  // The waiting that counts as one priority level.
  std::vector<Priority> priority_levels = {Priority::kHigh, Priority::kNormal,
                                           Priority::kLow};  // First served first.
  uint64_t random_seed = 1;
  TokenJournal tokens = TokenJournal::kAsync;
  uint64_t tasks_kept_max = 100'000;          // Durable tasks that are over …
  uint64_t tasks_kept_bytes_max = 256 << 20;  // … and what their results hold.
  int64_t idempotency_key_ttl_us = 86'400 * kSecond;
  uint32_t crashes_max = 3;  // A task that ran at this many crashes fails.
};

}  // namespace altlas::control
