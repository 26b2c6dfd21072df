#include "control/core/replica_life.h"

#include <fmt/format.h>

#include <set>
#include <utility>
#include <vector>

namespace altlas::control {

void ReplicaLife::start(uint32_t index, Step& step) {
  if (in_.stage.stopping || in_.fleet.slot(index).given_up || !in_.fleet.slot(index).wanted) return;
  for (StartWorker& worker : in_.fleet.start(index, step.now, in_.adapters.start(index)))
    step.out.push_back(std::move(worker));
}

void ReplicaLife::start_all(Step& step) {
  for (uint32_t slot = 0; slot < in_.fleet.slots().size(); ++slot) start(slot, step);
}

void ReplicaLife::stop_all(Step& step) {
  for (uint32_t slot = 0; slot < in_.fleet.slots().size(); ++slot)
    tell_to_stop(slot, "the server is stopping", INT64_MAX, step);
}

void ReplicaLife::tell_to_stop(uint32_t slot, const std::string& why, TimeUs until, Step& step) {
  if (!in_.fleet.drain(slot, why, until)) return;
  for (uint32_t worker = 0; worker < in_.fleet.slot(slot).workers.size(); ++worker)
    step.out.push_back(StopWorker{{in_.fleet.slot(slot).id, worker}, /*kill=*/false});
}

void ReplicaLife::scale(uint32_t deployment, uint32_t replicas, Step& step) {
  const bool more = replicas > in_.fleet.deployment(deployment).target;
  for (const uint32_t index : in_.fleet.slots_to_change(deployment, replicas)) {
    in_.fleet.want(index, more, step.now);
    const ReplicaSlot& slot = in_.fleet.slot(index);
    if (more && slot.state == ReplicaState::kStopped) start(index, step);
    const bool loads =
        slot.state == ReplicaState::kStarting || slot.state == ReplicaState::kLoading;
    if (!more && loads) gone(index, "it is not wanted any more", step);
  }
  for (const uint32_t site : std::set<uint32_t>(in_.waiting.sites(deployment)))
    if (!in_.fleet.is_wanted_on(site)) move_waiting(site, step);
  in_.waiting.look_at_deployment(deployment);
}

void ReplicaLife::move_waiting(uint32_t site, Step& step) {
  const auto to = in_.fleet.site_of_wanted(in_.fleet.site(site).deployment);
  if (!to) return;  // They wait for the first replica.
  std::vector<uint64_t> numbers;
  in_.waiting.queue().for_each(site, [&](uint64_t number) {
    numbers.push_back(number);
    return true;
  });
  for (const uint64_t number : numbers)
    in_.life.move(in_.tasks.at(number), *to, std::string(kNotWantedHere), step.now);
}

std::optional<uint32_t> ReplicaLife::slot_of(WorkerId worker) const {
  const auto slot = in_.fleet.find_slot(worker.replica);
  if (!slot || worker.index >= in_.fleet.slot(*slot).workers.size()) return std::nullopt;
  return slot;
}

void ReplicaLife::connected(const WorkerConnected& event, TimeUs now) {
  if (const auto slot = slot_of(event.worker))
    in_.fleet.connected(*slot, event.worker.index, event.pid, now);
}

void ReplicaLife::lost(const WorkerLost& event, Step& step) {
  const auto slot = slot_of(event.worker);
  if (!slot) return;
  const bool last = in_.fleet.worker_ended(*slot, event.worker.index);
  // The workers of a replica that was asked to stop end in their own time.
  if (in_.fleet.slot(*slot).state == ReplicaState::kDraining && !last) return;
  gone(*slot, event.reason, step);
}

void ReplicaLife::gone(uint32_t index, const std::string& why, Step& step) {
  const ReplicaSlot& slot = in_.fleet.slot(index);
  const uint32_t deployment = slot.deployment;
  const bool asked = slot.state == ReplicaState::kDraining ||
                     (!slot.wanted && slot.state != ReplicaState::kRunning);
  for (uint32_t worker = 0; worker < slot.workers.size(); ++worker)
    if (!slot.workers[worker].lost)
      step.out.push_back(StopWorker{{slot.id, worker}, /*kill=*/true});
  const auto runs = in_.fleet.lose(index, why, step.now, in_.stage.stopping);
  for (const std::string& name : in_.adapters.replica_lost(index))
    conclude_adapter(deployment, name, step);
  for (const auto& [sequence, run] : runs)
    if (run.task != 0 && !in_.stage.stopping)
      in_.life.come_back(in_.tasks.at(run.task), why, /*crashed=*/!asked, step);
  for (const DeviceId id : slot.devices) in_.waiting.look_at_device(id);
  in_.waiting.look_at_deployment(deployment);
  if (slot.wanted && slot.state == ReplicaState::kBackoff && slot.wake <= step.now)
    return start(index, step);  // It was told to end, and is wanted again.
  if (!in_.stage.stopping && !asked)
    step.out.push_back(LogWarning{
        fmt::format("replica {} of '{}' is gone ({}); {} tasks go on elsewhere", slot.id.value,
                    in_.fleet.deployment(deployment).setup.name, why, runs.size())});
}

void ReplicaLife::reported(WorkerReported& event, Step& step) {
  const auto found = slot_of(event.worker);
  if (!found) return;  // The replica was given up.
  const uint32_t slot = *found;
  in_.fleet.heard(slot, event.worker.index, step.now);
  if (event.worker != in_.fleet.slot(slot).leader()) return follower_reported(slot, event, step);
  if (auto* tokens = std::get_if<engine::SequenceTokens>(&event.report)) {
    if (const auto ok = in_.life.tokens(slot, *tokens, step); !ok.ok())
      gone(slot, ok.error().message(), step);
  } else if (auto* done = std::get_if<engine::SequenceFinished>(&event.report)) {
    in_.life.finished(slot, *done, step);
  } else if (auto* failed = std::get_if<engine::SequenceFailed>(&event.report)) {
    if (Task* task = in_.life.run_over(slot, failed->sequence, step.now))
      in_.life.fail(*task, failed->code, failed->message, step);
  } else if (auto* canceled = std::get_if<engine::SequenceCanceled>(&event.report)) {
    if (Task* task = in_.life.run_over(slot, canceled->sequence, step.now))
      in_.life.fail(*task, ErrorCode::kInternal, "its replica ended it without being asked to",
                    step);
  } else if (auto* stats = std::get_if<engine::ReplicaStats>(&event.report)) {
    in_.fleet.stats(slot, std::move(*stats), step.now);
  } else if (auto* progress = std::get_if<engine::LoadProgress>(&event.report)) {
    in_.fleet.load_progress(slot, std::move(*progress));
  } else if (const auto* report = std::get_if<engine::ReplicaLoaded>(&event.report)) {
    loaded(slot, event.worker.index, *report, step);
  } else if (auto* adapter = std::get_if<engine::AdapterLoaded>(&event.report)) {
    adapter_loaded(slot, *adapter, step);
  } else if (const auto* not_loaded = std::get_if<engine::LoadFailed>(&event.report)) {
    load_failed(slot, *not_loaded, step);
  }
}

void ReplicaLife::follower_reported(uint32_t slot, const WorkerReported& event, Step& step) {
  if (const auto* report = std::get_if<engine::ReplicaLoaded>(&event.report)) {
    loaded(slot, event.worker.index, *report, step);
  } else if (const auto* not_loaded = std::get_if<engine::LoadFailed>(&event.report)) {
    load_failed(slot, *not_loaded, step);
  }
}

void ReplicaLife::load_failed(uint32_t slot, const engine::LoadFailed& failed, Step& step) {
  in_.fleet.load_failed(slot, failed);
  gone(slot, failed.message, step);
  in_.waiting.settle_again();
}

void ReplicaLife::loaded(uint32_t index, uint32_t worker, const engine::ReplicaLoaded& report,
                         Step& step) {
  // The leader's report gives the memory of all ranks, even while other workers still load.
  if (!in_.fleet.loaded(index, worker, report, step.now))
    return in_.life.give_up_reservations(index);
  in_.adapters.replica_loaded(index, step);
  in_.life.give_up_reservations(index);
  for (const DeviceId id : in_.fleet.slot(index).devices) in_.waiting.look_at_device(id);
  in_.waiting.look_at_deployment(in_.fleet.slot(index).deployment);
  in_.waiting.settle_again();
}

void ReplicaLife::adapter_loaded(uint32_t index, engine::AdapterLoaded& report, Step& step) {
  const bool there = report.message.empty();
  const uint32_t deployment = in_.fleet.slot(index).deployment;
  if (!in_.adapters.adapter_loaded(index, report)) return;
  if (there) {
    in_.waiting.look_at_deployment(deployment);
    in_.waiting.look_at(in_.fleet.slot(index).site);
    in_.life.give_up_reservations(index);
  }
  conclude_adapter(deployment, report.name, step);
}

void ReplicaLife::conclude_adapter(uint32_t deployment, const std::string& name, Step& step) {
  const auto lost = in_.adapters.conclude(deployment, name, step);
  if (!lost) return;
  for (const uint64_t number : in_.waiting.of_deployment(deployment)) {
    Task& task = in_.tasks.at(number);
    if (task.spec.adapter != lost->name) continue;
    in_.life.fail(task, ErrorCode::kUnavailable,
                  fmt::format("adapter '{}' could not be loaded again: {}", lost->name, lost->why),
                  step);
  }
}

void ReplicaLife::check(Step& step) {
  for (const uint32_t index : in_.fleet.due(step.now)) {
    const ReplicaSlot& slot = in_.fleet.slot(index);
    const DeploymentSetup& setup = in_.fleet.deployment(slot.deployment).setup;
    if (slot.is_leaving() && (slot.runs.empty() || step.now >= slot.wake)) {
      tell_to_stop(index, "it is not wanted any more", step.now + kStopUs, step);
    } else if (step.now >= slot.wake && slot.state == ReplicaState::kDraining) {
      gone(index, "it did not end when it was told to", step);
    } else if (step.now >= in_.fleet.hang_at(slot)) {
      const bool silent = step.now >= slot.reported() + setup.health_check_timeout_us;
      gone(index,
           fmt::format("{} for {:.1f} s", silent ? "no report" : "no step with work to do",
                       static_cast<double>(setup.health_check_timeout_us) / kSecond),
           step);
    } else if (step.now >= slot.wake && slot.state == ReplicaState::kBackoff) {
      start(index, step);
    } else if (step.now >= slot.wake && slot.state != ReplicaState::kRunning) {
      gone(index,
           fmt::format("it was not ready within startup_timeout_s, {:.1f} s",
                       static_cast<double>(setup.startup_timeout_us) / kSecond),
           step);
    }
  }
  for (uint32_t deployment = 0; deployment < in_.fleet.deployments().size(); ++deployment)
    fail_unserved(deployment, step);
}

// Fails a deployment's tasks when all its replicas are given up: nothing would ever run them.
void ReplicaLife::fail_unserved(uint32_t index, Step& step) {
  const Deployment& one = in_.fleet.deployment(index);
  if (one.queued == 0 || one.slots.empty() || !one.given_up()) return;
  for (const uint64_t number : in_.waiting.of_deployment(index))
    in_.life.fail(in_.tasks.at(number), ErrorCode::kUnavailable,
                  fmt::format("deployment '{}' can't be loaded: {}", one.setup.name,
                              in_.fleet.why_given_up(index)),
                  step);
}

}  // namespace altlas::control
