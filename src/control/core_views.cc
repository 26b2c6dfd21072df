// Core, what it shows: views of tasks, devices, deployments; its hash and its own checks.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core.h"

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

const Core::Task* Core::find(const TaskId& id) const {
  const auto number = number_of_.find(id);
  return number == number_of_.end() ? nullptr : &tasks_.at(number->second);
}

Result<TaskView> Core::task(const TaskId& id) const {
  const Task* found = find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  return view(*found);
}

Result<void> Core::cancelable(const TaskId& id) const {
  const Task* found = find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  if (found->phase < Phase::kEnding) return {};
  return Error(ErrorCode::kConflict,
               fmt::format("task {} is over: {}", to_string(id), altlas::to_string(found->end)));
}

Result<Explanation> Core::explain(const TaskId& id) const {
  const Task* found = find(id);
  if (found == nullptr) return not_found(fmt::format("there is no task {}", to_string(id)));
  const auto kept = explanations_.find(found->number);
  if (kept == explanations_.end())
    return not_found(fmt::format(
        "the choice for task {} is not kept any more: only those of the latest {} tasks of "
        "this server's run are",
        to_string(id), kExplanationsMax));
  return kept->second;
}

TaskView Core::view(const Task& task) const {
  TaskView out;
  out.id = task.spec.id;
  out.owner = task.spec.owner;
  out.type = task.spec.type;
  out.deployment = task.spec.deployment;
  out.status = task.status;
  out.device = sites_[task.site].device;
  out.created_at = task.created;
  out.started_at = task.started;
  out.first_token_at = task.first_token;
  if (task.phase == Phase::kOver) out.finished_at = task.finished;
  if (task.phase == Phase::kWaiting) out.queue_position = queue_.position(task.number);
  if (task.status == TaskStatus::kCompleted) out.result = task.result;
  if (task.status == TaskStatus::kFailed) {
    out.error_code = task.error_code;
    out.error = task.error;
  }
  out.note = task.note;
  out.prompt_tokens = task.prompt_tokens;
  out.generated_tokens =
      task.phase == Phase::kOver ? task.tokens_end : static_cast<uint32_t>(task.generated.size());
  if (!task.spec.embeds && task.spec.payload.empty()) out.seed = task.spec.sampling.seed;
  return out;
}

// Newest first: a merge of the sets that match, each in order already.
TaskPage Core::tasks(const TaskFilter& filter) const {
  using Set = std::set<uint64_t>;
  std::vector<std::pair<Set::const_reverse_iterator, Set::const_reverse_iterator>> ranges;
  TaskPage out;
  const auto add_owner = [&](const std::array<Set, 5>& owned) {
    for (size_t status = 0; status < owned.size(); ++status) {
      if (filter.status && static_cast<size_t>(*filter.status) != status) continue;
      out.total += owned[status].size();
      if (!owned[status].empty()) ranges.emplace_back(owned[status].rbegin(), owned[status].rend());
    }
  };
  if (filter.owner) {
    if (const auto owned = listing_.find(*filter.owner); owned != listing_.end())
      add_owner(owned->second);
  } else {
    for (const auto& [owner, owned] : listing_) add_owner(owned);
  }
  for (uint64_t skipped = 0; out.tasks.size() < filter.limit && !ranges.empty();) {
    const auto newest =
        std::ranges::max_element(ranges, {}, [](const auto& range) { return *range.first; });
    const uint64_t number = *newest->first;
    if (++newest->first == newest->second) ranges.erase(newest);
    if (skipped++ < filter.offset) continue;
    out.tasks.push_back(view(tasks_.at(number)));
  }
  return out;
}

std::vector<DeviceView> Core::devices() const {
  std::vector<DeviceView> out;
  for (const Device& device : devices_) {
    DeviceView& one = out.emplace_back();
    one.id = device.setup.id;
    one.name = device.setup.name;
    one.kind = device.setup.kind;
    one.utilization = utilization(device);
    one.memory_used = memory_used(device);
    one.memory_total = device.setup.memory_total;
    one.task_count = device.running + device.queued;
    one.queued_count = device.queued;
    one.temperature = device.temperature;
    one.power = device.power;
    one.healthy = device.healthy;
    for (const uint32_t slot : device.slots) {
      const std::string& name = deployments_[slots_[slot].deployment].setup.name;
      if (std::ranges::find(one.deployments, name) == one.deployments.end())
        one.deployments.push_back(name);
    }
  }
  return out;
}

ReplicaView Core::view(const Slot& slot) const {
  ReplicaView out{slot.loaded};
  out.id = slot.id;
  out.deployment = deployments_[slot.deployment].setup.name;
  out.state = slot.state;
  out.devices = slot.devices;
  out.pid = slot.pid;
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
  return out;
}

DeploymentView Core::view(const Deployment& deployment) const {
  DeploymentView out;
  out.name = deployment.setup.name;
  out.model = deployment.setup.model;
  bool all_running = true, failing = false;
  for (const uint32_t index : deployment.slots) {
    const Slot& slot = slots_[index];
    out.replicas.push_back(view(slot));
    all_running &= slot.state == ReplicaState::kRunning;
    const bool bad = slot.given_up || slot.state == ReplicaState::kBackoff || slot.failures >= 3;
    if (bad && slot.state != ReplicaState::kRunning) {
      failing = true;
      out.message = slot.message;
    }
  }
  for (const Adapter& adapter : deployment.adapters)
    if (adapter.state == Adapter::State::kReady) out.adapters.push_back(adapter.file.name);
  out.status = all_running ? "HEALTHY" : failing ? "UNHEALTHY" : "UPDATING";
  return out;
}

std::vector<DeploymentView> Core::deployments() const {
  std::vector<DeploymentView> out;
  for (const Deployment& deployment : deployments_) out.push_back(view(deployment));
  return out;
}

HealthView Core::health() const {
  const Deployment& one = deployments_[default_deployment_];
  HealthView out;
  out.model = one.setup.model;
  const auto is = [&](HealthStatus status, std::string message) {
    out.status = status;
    out.message = std::move(message);
    return out;
  };
  if (draining_) return is(HealthStatus::kDraining, "no new tasks are taken");
  bool running = false, starting = false;
  std::string message;
  for (const uint32_t index : one.slots) {
    const Slot& slot = slots_[index];
    running |= slot.state == ReplicaState::kRunning;
    starting |= slot.failures == 0 && slot.state != ReplicaState::kRunning;
    if (message.empty()) message = slot.message;
  }
  if (!running && starting) return is(HealthStatus::kStarting, "the model is being loaded");
  if (!running)
    return is(HealthStatus::kUnavailable, message.empty() ? "no replica runs" : message);
  if (held_ + promised_ >= setup_.max_queue_size && free_places(default_deployment_) == 0)
    return is(HealthStatus::kUnavailable, fmt::format("the queue is full: {} tasks wait", held_));
  return is(HealthStatus::kOk, "");
}

const std::string* Core::said_text(const TaskId& id) const {
  const Task* found = find(id);
  if (found == nullptr) return nullptr;
  return found->phase == Phase::kOver && found->end == TaskStatus::kCompleted ? &found->result.text
                                                                              : &found->text;
}

const std::vector<int32_t>* Core::said_tokens(const TaskId& id) const {
  const Task* found = find(id);
  return found == nullptr ? nullptr : &found->generated;
}

const std::vector<TokenLogprobs>* Core::said_logprobs(const TaskId& id) const {
  const Task* found = find(id);
  return found == nullptr ? nullptr : &found->logprobs;
}

const std::vector<TokenLogprobs>* Core::said_prompt_logprobs(const TaskId& id) const {
  const Task* found = find(id);
  if (found == nullptr) return nullptr;
  return found->phase == Phase::kOver ? &found->result.prompt_logprobs : &found->prompt_logprobs;
}

size_t Core::running(ReplicaId replica) const {
  const auto slot = slot_of_.find(replica);
  return slot == slot_of_.end() ? 0 : slots_[slot->second].runs.size();
}

uint64_t Core::hash() const {
  Hasher hasher;
  hasher.add(now_)
      .add(epoch_)
      .add(draining_)
      .add(stopping_)
      .add(next_task_)
      .add(next_sequence_)
      .add(next_write_);
  hasher.add(next_replica_)
      .add(flush_at_)
      .add(retry_at_)
      .add(held_)
      .add(promised_)
      .add(writes_.size());
  hasher.add(static_cast<uint8_t>(setup_.strategy)).add(setup_.max_concurrent_tasks + keys_.size());
  hasher.add(setup_.memory_threshold)
      .add(setup_.utilization_threshold)
      .add(setup_.max_temperature)
      .add(setup_.max_queue_size)
      .add(setup_.queue_timeout_us)
      .add(setup_.tasks_kept_max)
      .add(expire_at_);
  for (const Device& device : devices_) {
    hasher.add(device.utilization)
        .add(device.foreign_utilization)
        .add(device.temperature)
        .add(device.healthy);
    hasher.add(device.reserved).add(device.running).add(device.queued);
  }
  for (const Deployment& one : deployments_)
    hasher.add(one.cursor.last ? one.cursor.last->value : -1)
        .add(one.cursor.random.counter)
        .add(one.service_us);
  for (const Deployment& one : deployments_)
    for (const Adapter& adapter : one.adapters)
      hasher.add(std::string_view(adapter.file.name))
          .add(static_cast<uint8_t>(adapter.state))
          .add(adapter.held.size())
          .add(adapter.asked.size())
          .add(adapter.tickets.size());
  for (const Slot& slot : slots_) {
    hasher.add(slot.id.value)
        .add(static_cast<uint8_t>(slot.state))
        .add(slot.since)
        .add(slot.wake)
        .add(slot.failures);
    hasher.add(slot.kv_blocks_used)
        .add(slot.reported)
        .add(slot.progressed)
        .add(slot.tokens_per_second);
    for (const auto& [sequence, run] : slot.runs)
      hasher.add(sequence.value).add(run.task).add(run.tokens);
  }
  for (const auto& [number, task] : tasks_) {
    hasher.add(number)
        .add(task.spec.id.high)
        .add(task.spec.id.low)
        .add(static_cast<uint8_t>(task.phase));
    hasher.add(static_cast<uint8_t>(task.status))
        .add(task.site)
        .add(task.sequence.value)
        .add(task.crashes);
    hasher.add(std::span<const int32_t>(task.generated)).add(task.text_seen).add(task.journaled);
    hasher.add(task.flushing_to)
        .add(task.reserved)
        .add(std::string_view(task.error))
        .add(task.finished.value_or(0));
  }
  queue_.hash_into(hasher);
  return hasher.value();
}

void Core::check_integrity() const {
  queue_.check_integrity();
  std::vector<uint32_t> running(sites_.size()), queued(sites_.size());
  std::vector<uint64_t> reserved(devices_.size()), ahead(sites_.size());
  size_t unfinished = 0, held = 0, runs = 0;
  for (const auto& [number, task] : tasks_) {
    ALTLAS_CHECK(number_of_.at(task.spec.id) == number, "ids and numbers agree");
    const DeviceId on = sites_[task.site].device;
    running[task.site] += task.phase == Phase::kRunning;
    queued[task.site] += task.phase < Phase::kRunning;
    ahead[task.site] += task.tokens_ahead;
    unfinished += task.phase != Phase::kOver;
    held += task.held;
    ALTLAS_CHECK(queue_.contains(number) == (task.phase == Phase::kWaiting),
                 "waiting tasks are in the queue");
    ALTLAS_CHECK(is_over(task.status) == (task.phase == Phase::kOver),
                 "an end is shown once it is durable");
    if (task.reserved) reserved[static_cast<size_t>(on.value)] += task.spec.estimated_memory;
    ALTLAS_CHECK(
        device(on).promised.contains(number) == (task.reserved && task.phase < Phase::kRunning),
        "promised are the reservations of tasks that do not run");
    if (task.phase != Phase::kRunning) continue;
    ++runs;
    const auto run = slots_[task.slot].runs.find(task.sequence);
    ALTLAS_CHECK((run != slots_[task.slot].runs.end() && run->second.task == number) || stopping_,
                 "a running task is in its replica");
  }
  ALTLAS_CHECK(unfinished == unfinished_ && held == held_, "counters agree with tasks");
  ALTLAS_CHECK(held_ <= queue_most_, "no more than max_queue_size wait");
  for (size_t i = 0; i < sites_.size(); ++i)
    ALTLAS_CHECK(sites_[i].running == running[i] && sites_[i].queued == queued[i] &&
                     sites_[i].tokens_ahead == ahead[i],
                 "sites agree with tasks");
  for (const Device& device : devices_) {
    uint32_t all_running = 0, all_queued = 0;
    for (const uint32_t site : device.sites) {
      all_running += sites_[site].running;
      all_queued += sites_[site].queued;
    }
    ALTLAS_CHECK(device.running == all_running && device.queued == all_queued,
                 "devices agree with sites");
    ALTLAS_CHECK(device.reserved == reserved[static_cast<size_t>(device.setup.id.value)],
                 "reservations agree");
    ALTLAS_CHECK(device.reserved <= device.setup.memory_total,
                 "reservations are within the budget");
  }
  size_t held_by_slots = 0;
  for (const Slot& slot : slots_) {
    uint64_t blocks = 0, most = 0;
    for (const auto& [sequence, run] : slot.runs) {
      held_by_slots += run.task != 0;
      const uint32_t each = slot.loaded.block_tokens;
      blocks += each == 0 ? 0 : (run.tokens + each - 1) / each;
      most += each == 0 ? 0 : (run.most + each - 1) / each;
    }
    ALTLAS_CHECK(blocks == slot.kv_blocks_used && most == slot.kv_blocks_most && blocks <= most,
                 "used blocks agree with tokens");
    ALTLAS_CHECK(slot.runs.size() <= std::max<size_t>(slot_tasks_max(slot), 1),
                 "no replica holds more than it may");
  }
  ALTLAS_CHECK(held_by_slots == runs || stopping_, "replicas hold the running tasks");
}

}  // namespace altlas::control
