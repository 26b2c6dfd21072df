#include "control/core/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace altlas::control {

std::string_view to_string(ReplicaState state) {
  switch (state) {
    case ReplicaState::kStarting:
      return "STARTING";
    case ReplicaState::kLoading:
      return "LOADING";
    case ReplicaState::kRunning:
      return "RUNNING";
    case ReplicaState::kDraining:
      return "STOPPING";
    case ReplicaState::kBackoff:
      return "BACKOFF";
    case ReplicaState::kStopped:
      return "STOPPED";
  }
  return "";
}

std::string_view to_string(HealthStatus status) {
  switch (status) {
    case HealthStatus::kOk:
      return "ok";
    case HealthStatus::kStarting:
      return "starting";
    case HealthStatus::kDraining:
      return "draining";
    case HealthStatus::kUnavailable:
      return "unavailable";
  }
  return "";
}

TaskView show_task(const Task& task, const Fleet& fleet, const WaitingTasks& waiting, bool texts) {
  TaskView out;
  out.id = task.spec.id;
  out.owner = task.spec.owner;
  out.type = task.spec.type;
  out.deployment = task.spec.deployment;
  out.status = task.status;
  out.device = fleet.site(task.site).device;
  out.created_at = task.created;
  out.started_at = task.started;
  out.first_token_at = task.first_token;
  if (task.phase == TaskPhase::kOver) out.finished_at = task.finished;
  if (task.phase == TaskPhase::kWaiting) out.queue_position = waiting.queue().position(task.number);
  if (task.status == TaskStatus::kCompleted && texts) out.result = task.result;
  if (task.status == TaskStatus::kCompleted && !texts) {
    TaskResult& result = out.result.emplace();
    result.tokens = task.result.tokens;
    result.finish_reason = task.result.finish_reason;
  }
  if (task.status == TaskStatus::kFailed) {
    out.error_code = task.error_code;
    out.error = task.error;
  }
  out.note = task.note;
  out.durable = task.spec.durable;
  out.prompt_tokens = task.prompt_tokens;
  out.generated_tokens = task.phase == TaskPhase::kOver
                             ? task.tokens_end
                             : static_cast<uint32_t>(task.generated.size());
  if (!task.spec.embeds && task.spec.prompt.payloads().empty()) out.seed = task.spec.sampling.seed;
  return out;
}

TaskPage show_tasks(const TaskFilter& filter, const TaskTable& tasks, const Fleet& fleet,
                    const WaitingTasks& waiting) {
  auto [numbers, total] = tasks.list(filter);
  TaskPage out;
  out.total = total;
  for (const uint64_t number : numbers)
    out.tasks.push_back(show_task(tasks.at(number), fleet, waiting, filter.texts));
  return out;
}

namespace {

void add_share(std::vector<MemoryShare>& shares, const std::string& owner, std::string_view what,
               uint64_t bytes) {
  if (bytes == 0) return;
  const auto found = std::ranges::find_if(
      shares, [&](const MemoryShare& one) { return one.owner == owner && one.what == what; });
  if (found == shares.end()) {
    shares.push_back({owner, what, bytes});
  } else {
    found->bytes += bytes;
  }
}

// Adds what the slot's ranks hold on the device, as the ledger books it.
void add_slot_shares(std::vector<MemoryShare>& shares, const ReplicaSlot& slot, DeviceId device,
                     const std::string& owner) {
  for (size_t rank = 0; rank < slot.devices.size(); ++rank) {
    if (slot.devices[rank] != device) continue;
    if (!slot.given_up && slot.needs) {
      add_share(shares, owner, "weights", slot.needs->rank(rank).weights);
      add_share(shares, owner, "activations", slot.needs->rank(rank).activations);
    }
    const uint64_t used = std::min<uint64_t>(slot.kv_blocks_used, slot.loaded.kv_blocks);
    add_share(shares, owner, "kv", used * slot.loaded.rank(rank).block_bytes());
  }
}

}  // namespace

std::vector<DeviceView> show_devices(const Fleet& fleet, const MemoryLedger& ledger) {
  std::vector<DeviceView> out;
  for (const FleetDevice& device : fleet.devices()) {
    DeviceView& one = out.emplace_back();
    one.id = device.setup.id;
    one.name = device.setup.name;
    one.kind = device.setup.kind;
    one.node = device.setup.node_name;
    one.utilization = fleet.utilization(device);
    one.memory_used = ledger.used(one.id);
    one.memory_total = device.setup.memory_total;
    one.task_count = device.running + device.queued;
    one.queued_count = device.queued;
    one.temperature = device.temperature;
    one.power = device.power;
    one.healthy = device.healthy;
    for (const uint32_t slot : device.slots) {
      const std::string& name = fleet.deployment(fleet.slot(slot).deployment).setup.name;
      if (std::ranges::find(one.deployments, name) == one.deployments.end())
        one.deployments.push_back(name);
      add_slot_shares(one.memory, fleet.slot(slot), one.id, name);
    }
    add_share(one.memory, "", "reservations", ledger.reserved(one.id));
  }
  return out;
}

namespace {

ReplicaView show_slot(const ReplicaSlot& slot, const Fleet& fleet) {
  ReplicaView out{slot.loaded};
  out.id = slot.id;
  out.deployment = fleet.deployment(slot.deployment).setup.name;
  out.state = slot.is_leaving() ? ReplicaState::kDraining : slot.state;
  out.devices = slot.devices;
  out.pid = slot.workers.front().pid;
  out.restarts = slot.starts == 0 ? 0 : slot.starts - 1;
  out.message = slot.message;
  out.error_code = slot.error_code;
  out.load_phase = slot.progress.phase;
  out.load_fraction = slot.state == ReplicaState::kRunning ? 1 : slot.progress.fraction;
  out.running = static_cast<uint32_t>(slot.runs.size());
  const uint64_t used = std::min<uint64_t>(slot.kv_blocks_used, slot.loaded.kv_blocks);
  out.kv_tokens_free = (slot.loaded.kv_blocks - used) * slot.loaded.block_tokens;
  out.generated_tokens = slot.stats.generated_tokens;
  out.prompt_tokens = slot.stats.prompt_tokens;
  out.preemptions = slot.stats.preemptions;
  out.prefix_query_tokens = slot.stats.prefix_query_tokens;
  out.prefix_hit_tokens = slot.stats.prefix_hit_tokens;
  out.swapped_blocks = slot.stats.swapped_blocks;
  out.speculative_drafted = slot.stats.speculative_drafted;
  out.speculative_accepted = slot.stats.speculative_accepted;
  out.not_finite_outputs = slot.stats.not_finite_outputs;
  out.steps = slot.stats.steps;
  out.step_sequences = slot.stats.step_sequences;
  out.waiting = slot.stats.waiting;
  out.rank_busy_us = slot.stats.device_busy_us;
  return out;
}

// As Ray Serve's DeploymentStatus has it.
std::string status_of(const Deployment& deployment, bool all_running, bool failing, bool leaving) {
  if (failing && !all_running) return "UNHEALTHY";
  if (!all_running) return deployment.running_slots > 0 ? "UPSCALING" : "UPDATING";
  return leaving ? "DOWNSCALING" : "HEALTHY";
}

}  // namespace

std::vector<DeploymentView> show_deployments(const Fleet& fleet, const Adapters& adapters) {
  std::vector<DeploymentView> out;
  for (const Deployment& deployment : fleet.deployments()) {
    DeploymentView& one = out.emplace_back();
    one.name = deployment.setup.name;
    one.model = deployment.setup.model;
    one.target_replicas = deployment.target;
    one.max_replicas = static_cast<uint32_t>(deployment.slots.size());
    one.autoscaled = deployment.setup.autoscaling.has_value();
    one.held = deployment.held;
    bool all_running = true, failing = false, leaving = false;
    for (size_t place = 0; place < deployment.slots.size(); ++place) {
      const ReplicaSlot& slot = fleet.slot(deployment.slots[place]);
      if (!slot.wanted && slot.state == ReplicaState::kStopped) continue;
      one.replicas.push_back(show_slot(slot, fleet));
      one.replicas.back().place = static_cast<uint32_t>(place);
      leaving |= !slot.wanted;
      if (!slot.wanted) continue;
      all_running &= slot.state == ReplicaState::kRunning;
      const bool bad = slot.given_up || slot.state == ReplicaState::kBackoff || slot.failures >= 3;
      if (bad && slot.state != ReplicaState::kRunning) {
        failing = true;
        one.message = slot.message;
      }
    }
    one.adapters = adapters.ready(static_cast<uint32_t>(out.size() - 1));
    one.status = status_of(deployment, all_running, failing, leaving);
  }
  return out;
}

HealthView show_health(const CoreSetup& setup, const Stage& stage, const Fleet& fleet,
                       const Admissions& admissions, const PlacementView& view) {
  const Deployment& one = fleet.deployment(fleet.default_deployment());
  HealthView out;
  out.model = one.setup.model;
  const auto is = [&](HealthStatus status, std::string message) {
    out.status = status;
    out.message = std::move(message);
    return out;
  };
  if (stage.draining) return is(HealthStatus::kDraining, "no new tasks are taken");
  if (one.target == 0 && one.wakes())
    return is(HealthStatus::kOk, "no replica runs; the next request starts one");
  if (one.target == 0 && !one.slots.empty())
    return is(HealthStatus::kUnavailable, "the model was scaled to no replica");
  if (one.running_slots == 0 && one.fresh_slots > 0)
    return is(HealthStatus::kStarting, "the model is being loaded");
  if (one.running_slots == 0)
    return is(HealthStatus::kUnavailable,
              one.slots_with_message.empty() ? "no replica runs"
                                             : fleet.slot(*one.slots_with_message.begin()).message);
  if (admissions.held() + admissions.promised() >= setup.max_queue_size &&
      view.free_places_of_deployment(fleet.default_deployment()) == 0)
    return is(HealthStatus::kUnavailable,
              fmt::format("the queue is full: {} tasks wait", admissions.held()));
  return is(HealthStatus::kOk, "");
}

}  // namespace altlas::control
