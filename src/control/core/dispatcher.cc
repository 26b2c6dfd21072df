#include "control/core/dispatcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace altlas::control {

using scheduler::PlacementDevice;
using scheduler::PlacementRequest;
using scheduler::Standing;

namespace {
constexpr size_t kReasonsMax = 8;  // One message names at most this many devices.
}  // namespace

void Dispatcher::dispatch(Step& step) {
  settle(step);
  std::set<uint32_t> deployments;
  for (int round = 0; round < kDispatchRoundsMax && !in_.waiting.nothing_to_look_at(); ++round) {
    for (const uint32_t site : in_.waiting.take_sites()) {
      dispatch_site(site, step);
      deployments.insert(in_.fleet.site(site).deployment);
    }
    for (const uint32_t deployment : std::exchange(deployments, {}))
      rebalance(deployment, step.now);
  }
}

// ---- Where a task waits ----

// Moves tasks that can never run where they wait to a site where they may, or ends them with the
// reason.
void Dispatcher::settle(Step& step) {
  if (in_.stage.stopping) return;
  for (const uint64_t number : in_.waiting.take_unsettled()) {
    Task* task = in_.tasks.find(number);
    if (task == nullptr || task->phase != TaskPhase::kWaiting) continue;
    const auto assessment =
        scheduler::assess(in_.view.policy(), in_.view.site(task->site), request_of(*task));
    if (assessment.standing != Standing::kCrowded) continue;
    std::string why;
    if (const auto to = site_for_crowded(*task, why)) {
      in_.life.move(*task, *to, assessment.reason, step.now);
    } else {
      in_.life.fail(*task, ErrorCode::kInvalid,
                    "estimated_memory fits no device that may run the task, beside what its "
                    "replicas hold: " +
                        why,
                    step);
    }
  }
}

// Returns a site where a task may run that never fits beside its device's replicas. If there is
// none, `why` has the numbers. A device whose replicas have not said what they hold counts as one
// where it may.  O(sites of the deployment).
std::optional<uint32_t> Dispatcher::site_for_crowded(const Task& task, std::string& why) const {
  using Key = std::tuple<Standing, uint32_t, DeviceId>;
  std::optional<std::pair<Key, uint32_t>> best;
  const bool stays =
      task.spec.batch_group != 0 || (task.pinned && task.spec.specific_device.has_value());
  const PlacementRequest request = request_of(task);
  size_t named = 0;
  for (const uint32_t site : in_.fleet.deployment(in_.fleet.site(task.site).deployment).sites) {
    const auto& slots = in_.fleet.site(site).slots;
    if ((stays && site != task.site) || std::ranges::all_of(slots, [&](uint32_t slot) {
          return in_.fleet.slot(slot).given_up || !in_.fleet.slot(slot).wanted;
        }))
      continue;
    const auto assessment = scheduler::assess(in_.view.policy(), in_.view.site(site), request);
    const FleetDevice& one = in_.fleet.device_of(site);
    const Key key(assessment.standing, one.running + one.queued, one.setup.id);
    if (assessment.standing >= Standing::kCrowded) {
      if (named++ < kReasonsMax)
        why += fmt::format("{}device {}: {}", why.empty() ? "" : "; ", one.setup.id.value,
                           assessment.reason);
    } else if (!best || key < best->first) {
      best.emplace(key, site);
    }
  }
  if (!best) return std::nullopt;
  return best->second;
}

// Moves a task that its own device can't start now to another device of its deployment that can, if
// nobody waits there.  O(sites with free places × sites where tasks wait).
void Dispatcher::rebalance(uint32_t deployment, TimeUs now) {
  if (in_.fleet.deployment(deployment).sites.size() < 2 || in_.stage.stopping) return;
  if (in_.waiting.sites(deployment).empty()) return;
  for (auto to = in_.view.next_free(deployment, 0); to;
       to = in_.view.next_free(deployment, *to + 1)) {
    if (in_.waiting.queue().size(*to) > 0) continue;
    for (const uint32_t from : in_.waiting.sites(deployment))
      if (take_from(from, *to, now)) break;
  }
}

bool Dispatcher::take_from(uint32_t from, uint32_t to, TimeUs now) {
  uint64_t moved = 0;
  size_t seen = 0;
  in_.waiting.queue().for_each(from, [&](uint64_t number) {
    if (!in_.tasks.at(number).pinned) moved = number;
    return moved == 0 && ++seen < kDispatchScanMax;
  });
  if (moved == 0) return false;
  Task& task = in_.tasks.at(moved);
  const Standing there =
      scheduler::standing_of(in_.view.policy(), in_.view.site(to), request_of(task));
  if (there != Standing::kEligible) return false;
  if (!slot_for(task, to)) return false;
  in_.life.move(task, to, "could start here at once, and nobody waited here", now);
  return true;
}

// ---- Which task starts, and where ----

std::optional<uint32_t> Dispatcher::slot_for(const Task& task, uint32_t site) const {
  std::optional<uint32_t> best;
  // The slot with the fewest tasks is best, then the one with the most KV blocks free.
  const auto key = [&](uint32_t index) {
    const ReplicaSlot& slot = in_.fleet.slot(index);
    return std::pair(slot.runs.size(), slot.kv_blocks_used);
  };
  for (const uint32_t index : in_.fleet.site(site).slots) {
    const ReplicaSlot& slot = in_.fleet.slot(index);
    if (!slot.takes_tasks() || slot.runs.size() >= in_.fleet.tasks_max(slot)) continue;
    if (!task.spec.adapter.empty() && !in_.adapters.slot_has(index, task.spec.adapter)) continue;
    if (!best || key(index) < key(*best)) best = index;
  }
  return best;
}

Dispatcher::Fit Dispatcher::fits(const Task& task, uint32_t index, std::string& why) const {
  const DeviceId own = in_.fleet.site(task.site).device;
  const ReplicaSlot& slot = in_.fleet.slot(index);
  // Memory is promised to a task only once every replica of the device has said what it takes.
  for (const uint32_t each : in_.fleet.device(own).slots) {
    const ReplicaSlot& beside = in_.fleet.slot(each);
    if (task.spec.estimated_memory == 0 || beside.given_up || beside.needs || !beside.wanted)
      continue;
    why = "memory: a replica of the device has not said yet what it takes";
    return Fit::kNotByEnds;
  }
  PlacementRequest request = request_of(task);
  for (size_t rank = 0; rank < slot.devices.size(); ++rank) {
    const DeviceId id = slot.devices[rank];
    PlacementDevice seen = in_.view.site(task.site, in_.view.reserved_ahead(own, task.number));
    // slot_for() saw that the site and its slots have places, so the counts are left out here.
    seen.tasks = seen.tasks_max = 0;
    seen.kv_blocks_total = slot.loaded.kv_blocks;
    seen.model_len_max = slot.loaded.model_len_max;
    if (id != own) {
      // Nor may KV blocks grow into other tasks' reservations on the replica's other devices.
      seen.memory_reserved = in_.view.reserved_ahead(id, task.number);
      if (seen.memory_reserved == 0) continue;
      in_.view.set_memory(id, seen);
      seen.block_bytes = slot.loaded.rank(rank).block_bytes();
      request.estimated_memory = 0;
    }
    scheduler::Assessment assessment = scheduler::assess(in_.view.policy(), seen, request);
    why = std::move(assessment.reason);
    if (assessment.standing == Standing::kNever) return Fit::kNever;
    if (assessment.standing == Standing::kCrowded) return Fit::kNotByEnds;
    if (assessment.standing != Standing::kEligible) return Fit::kLater;
  }
  return Fit::kNow;
}

// Returns the tasks that start with `head`: itself, or those of its batch that wait here. None
// start if the slot lacks places for them (or for as many of them as it can ever hold).
std::vector<uint64_t> Dispatcher::startable(const Task& head, uint32_t index) const {
  if (head.spec.batch_group == 0) return {head.number};
  std::vector<uint64_t> out;
  for (const uint64_t number : in_.tasks.group(head.spec.batch_group)) {
    const Task& task = in_.tasks.at(number);
    if (task.phase == TaskPhase::kJournaling) return {};
    if (task.phase == TaskPhase::kWaiting && task.site == head.site) out.push_back(number);
  }
  // `head` comes first: it is known to fit.
  if (const auto found = std::ranges::find(out, head.number); found != out.end())
    std::iter_swap(out.begin(), found);
  const ReplicaSlot& slot = in_.fleet.slot(index);
  const uint32_t limit = in_.setup.max_concurrent_tasks;
  size_t most = in_.fleet.tasks_max(slot);
  size_t free = most - slot.runs.size();
  if (limit > 0) {
    most = std::min<size_t>(most, limit);
    free = std::min<size_t>(free, limit - std::min(limit, in_.fleet.device_of(head.site).running));
  }
  if (free < std::min(out.size(), most)) return {};
  if (out.size() > free) out.resize(free);
  return out;
}

// Looks through the site's waiting tasks, in their order, for those that start now. Tasks may pass
// one that does not fit now (its KV blocks, its memory) until it has waited kPassedOverMaxUs; then
// only tasks pass whose reservations it waits for (those of tasks accepted before it).
Dispatcher::Found Dispatcher::scan(uint32_t site, TimeUs now) {
  constexpr uint64_t kNobody = std::numeric_limits<uint64_t>::max();
  Found out;
  size_t seen = 0;
  uint64_t held_up_from = kNobody;
  in_.waiting.queue().for_each(site, [&](uint64_t number) {
    Task& task = in_.tasks.at(number);
    const auto slot = slot_for(task, site);
    if (++seen > kDispatchScanMax) return false;
    if (!slot && !task.spec.adapter.empty() &&
        !in_.adapters.is_known(in_.fleet.site(site).deployment, task.spec.adapter)) {
      out.why = fmt::format("adapter '{}' is not loaded", task.spec.adapter);
      out.never.push_back(number);
      return false;
    }
    if (!slot) return !task.spec.adapter.empty();  // Its adapter may still be on the way.
    const Fit fit = fits(task, *slot, out.why);
    if (fit == Fit::kNever) {
      out.never.push_back(number);
      return false;
    }
    const bool passes = held_up_from == kNobody || (task.reserved && number < held_up_from);
    if (fit == Fit::kNow && passes) out.starts = startable(task, *slot);
    out.slot = *slot;
    if (!out.starts.empty()) return false;
    if (fit == Fit::kLater) in_.life.reserve_if_room(task);
    if (fit != Fit::kNotByEnds && now - in_.waiting.queue().arrived(number) > kPassedOverMaxUs)
      held_up_from = std::min(held_up_from, number);
    return true;
  });
  return out;
}

void Dispatcher::dispatch_site(uint32_t site, Step& step) {
  bool again = true;
  while (again && in_.waiting.queue().size(site) > 0 && !in_.stage.stopping) {
    again = false;
    if (!in_.view.takes_tasks(site)) return;
    Found found = scan(site, step.now);
    for (const uint64_t number : found.never) {
      in_.life.fail(in_.tasks.at(number), ErrorCode::kInvalid,
                    "the task does not fit its replica: " + found.why, step);
      again = true;
    }
    for (const uint64_t number : found.starts) {
      // Tasks of its batch that do not fit beside the first ones follow as soon as they do.
      Task& task = in_.tasks.at(number);
      if (number != found.starts.front() && fits(task, found.slot, found.why) != Fit::kNow)
        continue;
      in_.life.start(task, found.slot, step);
      again = true;
    }
  }
}

}  // namespace altlas::control
