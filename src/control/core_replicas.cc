// Core, the life of replicas: start, load, run, hang, crash, backoff; what becomes of the tasks
// they held.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {
namespace {
constexpr int64_t kStableUs =
    60 * kSecond;  // A replica that ran so long starts counting failures anew.

// Loading again would fail again: the model is not there, or does not fit.
bool for_good(ErrorCode code) {
  return code == ErrorCode::kInvalid || code == ErrorCode::kNotFound ||
         code == ErrorCode::kUnsupported || code == ErrorCode::kTooLarge;
}
}  // namespace

Core::Slot* Core::find_slot(ReplicaId id) {
  const auto found = slot_of_.find(id);
  return found == slot_of_.end() ? nullptr : &slots_[found->second];
}

void Core::start_replica(uint32_t index, Out& out) {
  Slot& slot = slots_[index];
  if (stopping_ || slot.given_up) return;
  const DeploymentSetup& setup = deployments_[slot.deployment].setup;
  slot.id = ReplicaId{next_replica_++};
  slot_of_[slot.id] = index;
  slot.state = ReplicaState::kStarting;
  slot.since = now_;
  slot.wake = now_ + setup.startup_timeout_us;
  slot.progress = {};
  ++slot.starts;
  engine::LoadReplica load = setup.load;
  slot.own_adapters.clear();
  for (const engine::AdapterFile& file : load.adapters) slot.own_adapters.push_back(file.name);
  for (size_t rank = 0; rank < slot.devices.size(); ++rank) {
    const DeviceSetup& one = device(slot.devices[rank]).setup;
    load.device_spec += (rank == 0 ? "" : "+") + one.spec;
    load.device_ids.push_back(static_cast<uint32_t>(one.id.value));
    load.cpu_first.push_back(one.cpu_first);
    load.ranks.push_back(static_cast<uint32_t>(rank));
  }
  out.push_back(StartWorker{slot.id, std::move(load)});
}

void Core::on(WorkerConnected& event, Out&) {
  Slot* slot = find_slot(event.replica);
  if (slot == nullptr || slot->state != ReplicaState::kStarting) return;
  slot->state = ReplicaState::kLoading;
  slot->since = now_;
  slot->pid = event.pid;
}

void Core::on(WorkerLost& event, Out& out) {
  const auto found = slot_of_.find(event.replica);
  if (found == slot_of_.end()) return;
  replica_gone(found->second, event.reason, /*tell_worker=*/false, out);
}

// The replica is given up; nothing more it says is heard. Its tasks go on elsewhere, or here after
// the restart.
void Core::replica_gone(uint32_t index, const std::string& why, bool tell_worker, Out& out) {
  Slot& slot = slots_[index];
  slot_of_.erase(slot.id);
  if (tell_worker) out.push_back(StopWorker{slot.id, /*kill=*/true});
  if (slot.state == ReplicaState::kRunning && now_ - slot.since > kStableUs) slot.failures = 0;
  const int64_t backoff = std::min(kBackoffMinUs << std::min(slot.failures, 16u), kBackoffMaxUs);
  ++slot.failures;
  slot.state = stopping_ || slot.given_up ? ReplicaState::kStopped : ReplicaState::kBackoff;
  slot.since = now_;
  slot.wake = slot.state == ReplicaState::kBackoff ? now_ + backoff : INT64_MAX;
  slot.message = why;
  slot.pid = 0;
  adapters_of_gone(index, out);
  slot.loaded = {};
  slot.stats = {};
  slot.kv_blocks_used = slot.kv_blocks_most = 0;
  slot.tokens_per_second = 0;
  slot.busy.clear();
  deployments_[slot.deployment].prefixes.forget(sites_[slot.site].device);
  const std::map<SequenceId, Run> runs = std::exchange(slot.runs, {});
  for (const auto& [sequence, run] : runs)
    if (run.task != 0 && !stopping_) come_back(at(run.task), why, out);
  for (const DeviceId id : slot.devices)
    for (const uint32_t site : device(id).sites) dirty_sites_.insert(site);
  for (const uint32_t site : deployments_[slot.deployment].sites) dirty_sites_.insert(site);
  if (!stopping_)
    out.push_back(LogWarning{
        fmt::format("replica {} of '{}' is gone ({}); {} tasks go on elsewhere", slot.id.value,
                    deployments_[slot.deployment].setup.name, why, runs.size())});
}

// A running task whose replica is gone waits again, before all others, with the tokens it has.
void Core::come_back(Task& task, const std::string& why, Out& out) {
  if (++task.crashes >= setup_.crashes_max)
    return fail_task(
        task, ErrorCode::kInternal,
        fmt::format("it ran at {} crashes of replicas and is not tried again; the last: {}",
                    task.crashes, why),
        out);
  Site& site = site_of(task);
  Device& one = device_of(task);
  --site.running;
  --one.running;
  ++site.queued;
  ++one.queued;
  ++deployments_[site.deployment].queued;
  if (task.spec.deadline) deadlines_.erase({*task.spec.deadline, task.number});
  task.phase = Phase::kWaiting;
  if (task.reserved) one.promised.insert(task.number);
  enqueue(task, /*front=*/true);
  show(task, TaskStatus::kQueued, out);
}

void Core::on(WorkerReported& event, Out& out) {
  const auto found = slot_of_.find(event.replica);
  if (found == slot_of_.end()) return;  // Of a replica that was given up.
  slots_[found->second].reported = now_;
  report(found->second, event.report, out);
}

void Core::report(uint32_t index, engine::Report& report, Out& out) {
  Slot& slot = slots_[index];
  if (auto* tokens_of = std::get_if<engine::SequenceTokens>(&report)) {
    if (const auto ok = tokens(slot, *tokens_of, out); !ok.ok())
      replica_gone(index, ok.error().message(), /*tell_worker=*/true, out);
  } else if (auto* done = std::get_if<engine::SequenceFinished>(&report)) {
    finished(slot, *done, out);
  } else if (auto* failed = std::get_if<engine::SequenceFailed>(&report)) {
    if (Task* task = run_over(slot, failed->sequence))
      fail_task(*task, failed->code, failed->message, out);
  } else if (auto* canceled = std::get_if<engine::SequenceCanceled>(&report)) {
    if (Task* task = run_over(slot, canceled->sequence))
      fail_task(*task, ErrorCode::kInternal, "its replica ended it without being asked to", out);
  } else if (auto* counts = std::get_if<engine::ReplicaStats>(&report)) {
    stats(slot, *counts);
  } else if (auto* progress = std::get_if<engine::LoadProgress>(&report)) {
    if (slot.state == ReplicaState::kStarting) slot.state = ReplicaState::kLoading;
    slot.progress = std::move(*progress);
  } else if (auto* loaded = std::get_if<engine::ReplicaLoaded>(&report)) {
    if (slot.state != ReplicaState::kStarting && slot.state != ReplicaState::kLoading) return;
    slot.loaded = *loaded;
    slot.needs = *loaded;
    slot.state = ReplicaState::kRunning;
    slot.since = slot.progressed = slot.stats_at = now_;
    slot.wake = INT64_MAX;
    slot.message = "";
    adapters_of_loaded(index, out);
    deployments_[slot.deployment].limits = std::move(*loaded);
    for (const DeviceId id : slot.devices) {
      release_reservations(id);
      for (const uint32_t site : device(id).sites) dirty_sites_.insert(site);
    }
    for (const uint32_t site : deployments_[slot.deployment].sites) dirty_sites_.insert(site);
    unsettle_all();
  } else if (auto* adapter = std::get_if<engine::AdapterLoaded>(&report)) {
    adapter_loaded(index, *adapter, out);
  } else if (auto* not_loaded = std::get_if<engine::LoadFailed>(&report)) {
    load_failed(index, *not_loaded, out);
  }
}

void Core::load_failed(uint32_t index, const engine::LoadFailed& failed, Out& out) {
  slots_[index].given_up = for_good(failed.code);
  slots_[index].error_code = failed.code;
  replica_gone(index, failed.message, /*tell_worker=*/true, out);
  unsettle_all();
}

void Core::stats(Slot& slot, engine::ReplicaStats& stats) {
  if (stats.steps != slot.stats.steps) slot.progressed = now_;
  const uint64_t before = slot.stats.prompt_tokens + slot.stats.generated_tokens;
  const uint64_t after = stats.prompt_tokens + stats.generated_tokens;
  if (now_ > slot.stats_at && after > before) {
    const double rate =
        static_cast<double>(after - before) * kSecond / static_cast<double>(now_ - slot.stats_at);
    slot.tokens_per_second =
        slot.tokens_per_second == 0 ? rate : 0.75 * slot.tokens_per_second + 0.25 * rate;
  }
  // Rank by rank, as the one worker lists its devices.
  slot.busy.resize(std::min(slot.devices.size(), stats.device_busy_us.size()));
  for (size_t rank = 0; rank < slot.busy.size() && now_ > slot.stats_at; ++rank) {
    const int64_t busy_before =
        rank < slot.stats.device_busy_us.size() ? slot.stats.device_busy_us[rank] : 0;
    const auto busy_us = static_cast<double>(stats.device_busy_us[rank] - busy_before);
    slot.busy[rank] =
        std::clamp(100 * busy_us / static_cast<double>(now_ - slot.stats_at), 0.0, 100.0);
  }
  slot.stats = std::move(stats);
  slot.stats_at = now_;
}

// When a running replica counts as stuck: silent, or with work and no step done for the whole
// timeout. One that is merely slow still does steps.
TimeUs Core::hang_at(const Slot& slot) const {
  if (slot.state != ReplicaState::kRunning) return INT64_MAX;
  const int64_t timeout = deployments_[slot.deployment].setup.health_check_timeout_us;
  return (slot.runs.empty() ? slot.reported : std::min(slot.reported, slot.progressed)) + timeout;
}

void Core::check_replicas(Out& out) {
  for (uint32_t index = 0; index < slots_.size(); ++index) {
    Slot& slot = slots_[index];
    const DeploymentSetup& setup = deployments_[slot.deployment].setup;
    if (now_ >= hang_at(slot)) {
      const bool silent = now_ >= slot.reported + setup.health_check_timeout_us;
      replica_gone(index,
                   fmt::format("{} for {:.1f} s", silent ? "no report" : "no step with work to do",
                               static_cast<double>(setup.health_check_timeout_us) / kSecond),
                   /*tell_worker=*/true, out);
    } else if (now_ >= slot.wake && slot.state == ReplicaState::kBackoff) {
      start_replica(index, out);
    } else if (now_ >= slot.wake && slot.state != ReplicaState::kRunning) {
      replica_gone(index,
                   fmt::format("it was not ready within startup_timeout_s, {:.1f} s",
                               static_cast<double>(setup.startup_timeout_us) / kSecond),
                   /*tell_worker=*/true, out);
    }
  }
  for (uint32_t deployment = 0; deployment < deployments_.size(); ++deployment)
    fail_unserved(deployment, out);
}

// Nothing will ever run the tasks of a deployment whose replicas are all given up.
void Core::fail_unserved(uint32_t index, Out& out) {
  const Deployment& one = deployments_[index];
  if (one.queued == 0 || one.slots.empty()) return;
  for (const uint32_t slot : one.slots)
    if (!slots_[slot].given_up) return;
  std::vector<uint64_t> tasks;
  for (const uint32_t site : one.sites)
    queue_.for_each(site, [&](uint64_t number) {
      tasks.push_back(number);
      return true;
    });
  for (const uint64_t number : tasks)
    fail_task(at(number), ErrorCode::kUnavailable,
              fmt::format("deployment '{}' can't be loaded: {}", one.setup.name,
                          slots_[one.slots[0]].message),
              out);
}

}  // namespace altlas::control
