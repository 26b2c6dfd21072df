#include "control/core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace altlas::control {
namespace {

scheduler::QueueLimits queue_limits(const CoreSetup& setup) {
  scheduler::QueueLimits limits;
  limits.tasks_max = setup.max_queue_size;
  limits.age_step_us = setup.age_step_us;
  limits.rank.fill(static_cast<uint8_t>(kPriorityCount));
  for (size_t i = 0; i < setup.priority_levels.size(); ++i)
    limits.rank[static_cast<size_t>(setup.priority_levels[i])] = static_cast<uint8_t>(i);
  return limits;
}

scheduler::PlacementPolicy placement_policy(const CoreSetup& setup) {
  scheduler::PlacementPolicy policy;
  policy.memory_threshold = setup.memory_threshold;
  policy.utilization_threshold = setup.utilization_threshold;
  policy.max_temperature = setup.max_temperature;
  for (const auto& [type, devices] : setup.task_specific) policy.task_specific[type] = devices;
  return policy;
}

}  // namespace

Core::Core(CoreSetup setup)
    : setup_(std::move(setup)),
      policy_(placement_policy(setup_)),
      queue_(queue_limits(setup_)),
      queue_most_(setup_.max_queue_size) {
  ALTLAS_CHECK(!setup_.devices.empty() && !setup_.deployments.empty(),
               "devices and deployments are there");
  for (const DeviceSetup& device : setup_.devices) {
    ALTLAS_CHECK(device.id.value == static_cast<int32_t>(devices_.size()),
                 "device ids count from 0");
    devices_.emplace_back().setup = device;
  }
  bool default_found = false;
  for (const DeploymentSetup& one : setup_.deployments) {
    const auto index = static_cast<uint32_t>(deployments_.size());
    if (one.name == setup_.default_deployment) {
      default_deployment_ = index;
      default_found = true;
    }
    Deployment& deployment = deployments_.emplace_back();
    deployment.setup = one;
    deployment.cursor.random.seed =
        Hasher().add(setup_.random_seed).add(std::string_view(one.name)).value();
    for (const engine::AdapterFile& file : one.load.adapters) {
      Adapter& adapter = deployment.adapters.emplace_back();
      adapter.file = file;
    }
    std::map<DeviceId, uint32_t> site_on;
    for (const std::vector<DeviceId>& ranks : one.replicas) site_on.emplace(ranks.front(), 0);
    for (auto& [device, site] : site_on) {
      site = static_cast<uint32_t>(sites_.size());
      sites_.push_back({.deployment = index, .device = device});
      deployment.sites.push_back(site);
      devices_.at(static_cast<size_t>(device.value)).sites.push_back(site);
    }
    for (const std::vector<DeviceId>& ranks : one.replicas) {
      const auto slot = static_cast<uint32_t>(slots_.size());
      Slot& added = slots_.emplace_back();
      added.deployment = index;
      added.site = site_on.at(ranks.front());
      added.devices = ranks;
      deployment.slots.push_back(slot);
      sites_[added.site].slots.push_back(slot);
      for (const DeviceId device : ranks)
        devices_.at(static_cast<size_t>(device.value)).slots.push_back(slot);
    }
  }
  ALTLAS_CHECK(default_found, "the default deployment is one of the deployments");
}

void Core::step(Event event, TimeUs now, std::vector<Action>& out) {
  ALTLAS_CHECK(now >= now_, "time does not go back");
  if (epoch_ > 0 && now - now_ > 5 * kSecond) forgive_silence(now - now_);
  now_ = now;
  ++epoch_;
  forget_old(out);
  std::visit([&](auto& what) { on(what, out); }, event);
  on_time(out);
  dispatch(out);
  settle_adapters(out);
  if (setup_.tokens == TokenJournal::kSync && !dirty_tokens_.empty()) flush(out);
}

void Core::on(Tick&, Out&) {}

// What is due, whatever the event was.
void Core::on_time(Out& out) {
  if (now_ >= expire_at_) {
    expire(out);
    expire_at_ = now_ + setup_.queue_interval_us;
  }
  check_replicas(out);
  if (now_ >= flush_at_) flush(out);
  if (now_ >= retry_at_) {
    retry_at_ = INT64_MAX;
    for (const uint64_t number : std::exchange(ends_to_retry_, {})) append_end(at(number), out);
  }
}

// Nobody could report while this process itself stood still (suspended, or starved of its core):
// that time does not count as a replica's silence.
void Core::forgive_silence(TimeUs gap) {
  for (Slot& slot : slots_) {
    slot.reported += gap;
    slot.progressed += gap;
  }
}

TimeUs Core::next_deadline() const {
  TimeUs next = std::min(flush_at_, retry_at_);
  if (const auto expiry = queue_.next_expiry())
    next = std::min(next, std::max(*expiry, expire_at_));
  if (!deadlines_.empty()) next = std::min(next, std::max(deadlines_.begin()->first, expire_at_));
  for (const Slot& slot : slots_) next = std::min({next, slot.wake, hang_at(slot)});
  return next;
}

void Core::on(Started&, Out& out) {
  started_ = true;
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) start_replica(slot, out);
}

void Core::on(DrainRequested&, Out&) { draining_ = true; }

// Unfinished durable tasks stay as they are in the journal, and go on at the next start.
void Core::on(StopRequested&, Out& out) {
  draining_ = true;
  stopping_ = true;
  std::vector<uint64_t> passing;
  for (const auto& [number, task] : tasks_)
    if (!task.spec.durable && task.phase < Phase::kEnding) passing.push_back(number);
  for (const uint64_t number : passing)
    fail_task(at(number), ErrorCode::kUnavailable, "the server is stopping", out);
  flush(out);
  for (Deployment& one : deployments_)
    for (Adapter& adapter : one.adapters)
      answer_adapter(adapter, unavailable("the server is stopping"), out);
  for (Slot& slot : slots_) {
    slot.wake = INT64_MAX;
    if (slot.state == ReplicaState::kStopped || slot.state == ReplicaState::kBackoff) continue;
    slot.state = ReplicaState::kDraining;
    slot.message = "the server is stopping";
    out.push_back(StopWorker{slot.id, /*kill=*/false});
  }
}

void Core::on(StrategyChanged& event, Out&) { setup_.strategy = event.strategy; }

void Core::on(ConcurrencyChanged& event, Out&) {
  setup_.max_concurrent_tasks = event.max_concurrent_tasks;
  for (uint32_t site = 0; site < sites_.size(); ++site) dirty_sites_.insert(site);
}

void Core::on(LimitsChanged& event, Out&) {
  setup_.memory_threshold = event.memory_threshold;
  setup_.utilization_threshold = event.utilization_threshold;
  setup_.max_temperature = event.max_temperature;
  setup_.task_specific = std::move(event.task_specific);
  setup_.max_queue_size = event.max_queue_size;
  setup_.queue_timeout_us = event.queue_timeout_us;
  setup_.tasks_kept_max = event.tasks_kept_max;
  queue_most_ = std::max(queue_most_, setup_.max_queue_size);
  policy_ = placement_policy(setup_);
  queue_.set_tasks_max(setup_.max_queue_size);
  for (uint32_t site = 0; site < sites_.size(); ++site) dirty_sites_.insert(site);
}

void Core::on(DeviceSampled& event, Out&) {
  if (event.device.value < 0 || static_cast<size_t>(event.device.value) >= devices_.size()) return;
  Device& device = devices_[static_cast<size_t>(event.device.value)];
  device.utilization = event.utilization;
  device.foreign_utilization = event.foreign_utilization;
  device.temperature = event.temperature;
  device.power = event.power;
  device.healthy = event.healthy;
  for (const uint32_t site : device.sites) dirty_sites_.insert(site);
}

void Core::on(CancelRequested& event, Out& out) {
  const auto found = number_of_.find(event.task);
  if (found == number_of_.end()) return;
  Task& task = at(found->second);
  if (task.phase == Phase::kJournaling) {
    task.cancel_asked = true;
  } else if (task.phase < Phase::kEnding) {
    end_task(task, TaskStatus::kCanceled, out);
  }
}

}  // namespace altlas::control
