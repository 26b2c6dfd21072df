// Core, from waiting to running: what devices look like to placement, which task starts next, where
// it may move to.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {

using scheduler::PlacementDevice;
using scheduler::PlacementRequest;

namespace {
uint32_t blocks_for(uint64_t tokens, uint32_t block_tokens) {
  return block_tokens == 0 ? 0 : static_cast<uint32_t>((tokens + block_tokens - 1) / block_tokens);
}
}  // namespace

uint32_t Core::slot_tasks_max(const Slot& slot) const {
  const uint32_t engine = slot.loaded.sequences_max;
  const uint32_t asked = deployments_[slot.deployment].setup.max_ongoing;
  return asked == 0 ? std::max(engine, 1u) : asked;
}

// As sampled, or what the replicas say they computed.
double Core::utilization(const Device& device) const {
  if (device.utilization >= 0) return device.utilization;
  double sum = 0;
  for (const uint32_t index : device.slots)
    for (size_t rank = 0; rank < slots_[index].busy.size(); ++rank)
      if (slots_[index].devices[rank] == device.setup.id) sum += slots_[index].busy[rank];
  return std::min(sum, 100.0);
}

// The part that does not depend on the prompt. `reserved`: bytes, those that count for who asks.
PlacementDevice Core::picture_of(const Site& site, uint64_t reserved) const {
  const Device& one = device(site.device);
  PlacementDevice out;
  out.id = site.device;
  out.healthy = one.healthy;
  out.replica_running = false;
  out.temperature = one.temperature;
  out.utilization = utilization(one);
  out.foreign_utilization = one.foreign_utilization;
  out.memory_total = one.setup.memory_total;
  out.memory_used = memory_used(one) - one.reserved + reserved;
  out.memory_fixed = memory_fixed(one);
  out.memory_reserved = reserved;
  out.memory_growth = memory_growth(one);
  out.running = one.running;
  out.queued = one.queued;
  out.tasks = site.running + site.queued;
  out.tokens_ahead = site.tokens_ahead;
  const engine::ReplicaLoaded& limits = deployments_[site.deployment].limits;
  out.block_tokens = limits.block_tokens;
  out.model_len_max = limits.model_len_max;
  uint64_t blocks_max = 0;
  for (const uint32_t index : site.slots) {
    const Slot& slot = slots_[index];
    if (slot.needs && !slot.given_up) {
      out.block_bytes = std::max(out.block_bytes, slot.needs->block_bytes);
      blocks_max = std::max<uint64_t>(blocks_max, slot.needs->kv_blocks);
    }
    if (slot.state != ReplicaState::kRunning) continue;
    out.replica_running = true;
    out.tasks_max += slot_tasks_max(slot);
    // A prompt goes to one replica: the roomiest one's pool counts.
    const uint64_t free =
        slot.loaded.kv_blocks - std::min<uint64_t>(slot.loaded.kv_blocks, slot.kv_blocks_used);
    out.kv_blocks_total = std::max(out.kv_blocks_total, slot.loaded.kv_blocks);
    out.kv_blocks_free = std::max(out.kv_blocks_free, static_cast<uint32_t>(free));
    out.tokens_per_second += slot.tokens_per_second;
  }
  if (!out.replica_running)
    out.kv_blocks_total = out.kv_blocks_free = static_cast<uint32_t>(blocks_max);
  // Reservations take free blocks away: a block needs memory that nothing else holds.
  if (out.block_bytes > 0)
    out.kv_blocks_free = static_cast<uint32_t>(std::min<uint64_t>(
        out.kv_blocks_free,
        (out.memory_total - std::min(out.memory_total, out.memory_used)) / out.block_bytes));
  // The tighter of the replicas' limit and the device's.
  if (const uint32_t most = setup_.max_concurrent_tasks; most > 0) {
    const int64_t here = int64_t{out.tasks_max} - out.tasks;
    const int64_t all = int64_t{most} - one.running - one.queued;
    if (!out.replica_running || all < here) {
      out.tasks = one.running + one.queued;
      out.tasks_max = most;
    }
  }
  return out;
}

std::vector<PlacementDevice> Core::picture(uint32_t deployment, std::string_view adapter,
                                           std::span<const int32_t> prompt) const {
  std::vector<PlacementDevice> out;
  const Deployment& one = deployments_[deployment];
  for (const uint32_t site : one.sites) {
    out.push_back(picture_of(sites_[site]));
    out.back().cached_prefix_tokens =
        one.prefixes.cached_tokens(sites_[site].device, adapter, prompt);
  }
  return out;
}

uint32_t Core::free_places_at(const Site& site) const {
  const PlacementDevice seen = picture_of(site);
  if (!takes_tasks(site) || seen.tasks >= seen.tasks_max) return 0;
  return seen.tasks_max - seen.tasks;
}

uint32_t Core::free_places(uint32_t deployment) const {
  uint64_t sum = 0;
  for (const uint32_t site : deployments_[deployment].sites) sum += free_places_at(sites_[site]);
  return static_cast<uint32_t>(std::min<uint64_t>(sum, std::numeric_limits<uint32_t>::max()));
}

// Whether the device itself may start tasks of the site now, whatever the task.
bool Core::takes_tasks(const Site& site) const {
  PlacementDevice seen = picture_of(site, reserved_ahead(device(site.device), 0));
  seen.tasks = device(site.device).running;  // Those queued here are who asks.
  seen.tasks_max = setup_.max_concurrent_tasks;
  return scheduler::assess(policy_, seen, {}).standing == scheduler::Standing::kEligible;
}

// From when on it counts as waiting.
TimeUs Core::arrived(const Task& task) {
  return task.spec.asked == 0 ? task.created : std::min(task.spec.asked, task.created);
}

void Core::enqueue(Task& task, bool front) {
  const TimeUs expires =
      std::min(now_ + setup_.queue_timeout_us, task.spec.deadline.value_or(INT64_MAX));
  queue_.push({task.number, task.site, task.spec.priority, arrived(task), expires, front});
  dirty_sites_.insert(task.site);
  if (task.spec.estimated_memory > 0) unsettled_.insert(task.number);
}

void Core::dispatch(Out& out) {
  settle(out);
  std::set<uint32_t> deployments;
  for (int round = 0; round < kDispatchRoundsMax && !dirty_sites_.empty(); ++round) {
    const std::set<uint32_t> sites = std::exchange(dirty_sites_, {});
    for (const uint32_t site : sites) {
      dispatch_site(site, out);
      deployments.insert(sites_[site].deployment);
    }
    for (const uint32_t deployment : std::exchange(deployments, {})) rebalance(deployment, out);
  }
}

std::optional<uint32_t> Core::slot_for(const Task& task, const Site& site) const {
  std::optional<uint32_t> best;
  const auto key = [&](uint32_t index) {  // Fewest tasks, then most KV blocks free.
    const Slot& slot = slots_[index];
    return std::pair(slot.runs.size(), slot.kv_blocks_used);
  };
  for (const uint32_t index : site.slots) {
    const Slot& slot = slots_[index];
    if (slot.state != ReplicaState::kRunning || slot.runs.size() >= slot_tasks_max(slot)) continue;
    if (!task.spec.adapter.empty() && !holds_adapter(index, task.spec.adapter)) continue;
    if (!best || key(index) < key(*best)) best = index;
  }
  return best;
}

PlacementRequest Core::request_of(const Task& task) const {
  PlacementRequest out;
  out.prompt_tokens = task.prompt_tokens + static_cast<uint32_t>(task.generated.size());
  out.sequence_tokens =
      task.prompt_tokens + static_cast<uint32_t>(std::max(task.spec.tokens_max, 0));
  out.estimated_memory = task.spec.estimated_memory;
  return out;
}

Core::Fit Core::fits(const Task& task, uint32_t index, std::string& why) const {
  const Site& site = sites_[task.site];
  const Slot& slot = slots_[index];
  // Memory is promised to a task once it is known what every replica of the device takes.
  for (const uint32_t each : device(site.device).slots) {
    if (task.spec.estimated_memory == 0 || slots_[each].given_up || slots_[each].needs) continue;
    why = "memory: a replica of the device has not said yet what it takes";
    return Fit::kNotByEnds;
  }
  PlacementRequest request = request_of(task);
  for (const DeviceId id : slot.devices) {
    PlacementDevice seen = picture_of(site, reserved_ahead(device(site.device), task.number));
    seen.tasks = seen.tasks_max = 0;  // Looked at by takes_tasks() and slot_for().
    seen.kv_blocks_total = slot.loaded.kv_blocks;
    seen.model_len_max = slot.loaded.model_len_max;
    if (id != site.device) {  // Of a replica on several devices: no other task's reservation there
                              // may be grown into either.
      const Device& one = device(id);
      seen.memory_total = one.setup.memory_total;
      seen.memory_reserved = reserved_ahead(one, task.number);
      if (seen.memory_reserved == 0) continue;
      seen.memory_used = memory_used(one) - one.reserved + seen.memory_reserved;
      seen.memory_fixed = memory_fixed(one);
      seen.memory_growth = memory_growth(one);
      request.estimated_memory = 0;
    }
    scheduler::Assessment assessment = scheduler::assess(policy_, seen, request);
    why = std::move(assessment.reason);
    if (assessment.standing == scheduler::Standing::kNever) return Fit::kNever;
    if (assessment.standing == scheduler::Standing::kCrowded) return Fit::kNotByEnds;
    if (assessment.standing != scheduler::Standing::kEligible) return Fit::kLater;
  }
  return Fit::kNow;
}

// The tasks that start with `head`: it alone, or the waiting ones of its batch; none if their slot
// lacks places for as many of them as it can ever hold.
std::vector<uint64_t> Core::startable(const Task& head, uint32_t index) const {
  if (head.spec.batch_group == 0) return {head.number};
  std::vector<uint64_t> out;
  const auto group = groups_.find(head.spec.batch_group);
  for (const uint64_t number : group->second) {
    const Phase phase = tasks_.at(number).phase;
    if (phase == Phase::kJournaling) return {};
    if (phase == Phase::kWaiting && tasks_.at(number).site == head.site) out.push_back(number);
  }
  // First the one that is known to fit.
  if (const auto found = std::ranges::find(out, head.number); found != out.end())
    std::iter_swap(out.begin(), found);
  const Slot& slot = slots_[index];
  const Device& one = device(sites_[head.site].device);
  size_t most = slot_tasks_max(slot);
  size_t free = most - slot.runs.size();
  if (setup_.max_concurrent_tasks > 0) {
    most = std::min<size_t>(most, setup_.max_concurrent_tasks);
    free = std::min<size_t>(
        free, setup_.max_concurrent_tasks - std::min(setup_.max_concurrent_tasks, one.running));
  }
  if (free < std::min(out.size(), most)) return {};
  if (out.size() > free) out.resize(free);
  return out;
}

// Starts waiting tasks in their order as long as one fits. One that does not fit now (its KV
// blocks, its memory) is passed over by others, until it has waited kPassedOverMaxUs; then only
// tasks pass whose reservations it waits for (those of tasks accepted before it).
void Core::dispatch_site(uint32_t index, Out& out) {
  bool again = true;
  while (again && queue_.size(index) > 0 && !stopping_) {
    again = false;
    Site& site = sites_[index];
    if (!takes_tasks(site)) return;
    std::vector<uint64_t> starts, never;
    uint32_t chosen = 0;
    std::string why;
    size_t seen = 0;
    uint64_t held_up_from = std::numeric_limits<uint64_t>::max();
    queue_.for_each(index, [&](uint64_t number) {
      Task& task = at(number);
      const auto slot = slot_for(task, site);
      if (++seen > kDispatchScanMax) return false;
      if (!slot && !task.spec.adapter.empty() &&
          find_adapter(site.deployment, task.spec.adapter) == nullptr) {
        why = fmt::format("adapter '{}' is not loaded", task.spec.adapter);
        never.push_back(number);
        return false;
      }
      if (!slot) return !task.spec.adapter.empty();  // Its adapter may still be on the way.
      const Fit fit = fits(task, *slot, why);
      if (fit == Fit::kNever) {
        never.push_back(number);
        return false;
      }
      const bool passes = held_up_from == std::numeric_limits<uint64_t>::max() ||
                          (task.reserved && number < held_up_from);
      if (fit == Fit::kNow && passes) starts = startable(task, *slot);
      chosen = *slot;
      if (!starts.empty()) return false;
      if (fit == Fit::kLater) reserve_if_room(task);
      if (fit != Fit::kNotByEnds && now_ - queue_.arrived(number) > kPassedOverMaxUs)
        held_up_from = std::min(held_up_from, number);
      return true;
    });
    for (const uint64_t number : never) {
      fail_task(at(number), ErrorCode::kInvalid, "the task does not fit its replica: " + why, out);
      again = true;
    }
    for (const uint64_t number : starts) {
      // Of a batch: what does not fit beside its first tasks follows as soon as it does.
      if (number != starts.front() && fits(at(number), chosen, why) != Fit::kNow) continue;
      start(at(number), chosen, out);
      again = true;
    }
  }
}

void Core::start(Task& task, uint32_t index, Out& out) {
  Slot& slot = slots_[index];
  queue_.erase(task.number);
  hold(task, false);
  Site& site = site_of(task);
  Device& one = device_of(task);
  reserve(task);
  one.promised.erase(task.number);
  --site.queued;
  --one.queued;
  --deployments_[site.deployment].queued;
  ++site.running;
  ++one.running;
  task.phase = Phase::kRunning;
  task.slot = index;
  task.sequence = SequenceId{next_sequence_++};
  if (!task.started) task.started = now_;
  if (task.spec.deadline) deadlines_.emplace(*task.spec.deadline, task.number);
  Run& run = slot.runs[task.sequence];
  run.task = task.number;
  const PlacementRequest request = request_of(task);
  set_run_tokens(slot, run, request.prompt_tokens, request.sequence_tokens);
  for (const DeviceId id : slot.devices) release_reservations(id);
  if (slot.runs.size() == 1) slot.progressed = now_;  // It was idle until now.
  deployments_[slot.deployment].prefixes.add(site.device, task.spec.adapter, task.spec.prompt);
  engine::SubmitSequence command;
  command.sequence = task.sequence;
  command.prompt = task.spec.prompt;
  command.generated = task.generated;
  command.tokens_max = task.spec.tokens_max;
  command.level = queue_.limits().rank[static_cast<size_t>(task.spec.priority)];
  command.turn = scheduler::turn_of(queue_.limits(), task.spec.priority, arrived(task));
  command.sampling = task.spec.sampling;
  command.adapter = task.spec.adapter;
  command.embeds = task.spec.embeds;
  command.payload = task.spec.payload;
  out.push_back(SendCommand{slot.id, std::move(command)});
  if (task.spec.durable) {
    unflushed_.push_back({task.spec.id, now_, journal::TaskStarted{site.device}});
    flush_at_ = std::min(flush_at_, now_ + kTokenFlushUs);
  }
  show(task, TaskStatus::kRunning, out);
}

// A task that its own device can't start now moves to another one of its deployment that could, if
// nobody waits there.
void Core::rebalance(uint32_t deployment, Out&) {
  const Deployment& one = deployments_[deployment];
  if (one.sites.size() < 2 || stopping_) return;
  for (const uint32_t to : one.sites) {
    if (queue_.size(to) > 0 || free_places_at(sites_[to]) == 0) continue;
    for (const uint32_t from : one.sites) {
      if (from == to) continue;
      uint64_t moved = 0;
      size_t seen = 0;
      queue_.for_each(from, [&](uint64_t number) {
        const Task& task = at(number);
        if (!task.pinned) moved = number;
        return moved == 0 && ++seen < kDispatchScanMax;
      });
      if (moved == 0) continue;
      Task& task = at(moved);
      const auto assessment = scheduler::assess(policy_, picture_of(sites_[to]), request_of(task));
      if (assessment.standing != scheduler::Standing::kEligible) continue;
      if (!task.spec.adapter.empty() && !slot_for(task, sites_[to])) continue;
      move_task(task, to);
      break;
    }
  }
}

void Core::move_task(Task& task, uint32_t to) {
  Site& from = site_of(task);
  --from.queued;
  --device_of(task).queued;
  from.tokens_ahead -= task.tokens_ahead;
  unreserve(task);
  queue_.move(task.number, to);
  task.site = to;
  Site& site = sites_[to];
  ++site.queued;
  ++device_of(task).queued;
  site.tokens_ahead += task.tokens_ahead;
  reserve_if_room(task);
  dirty_sites_.insert(to);
}

void Core::set_run_tokens(Slot& slot, Run& run, uint32_t tokens, uint32_t most) {
  const uint32_t each = slot.loaded.block_tokens;
  slot.kv_blocks_used += blocks_for(tokens, each) - uint64_t{blocks_for(run.tokens, each)};
  slot.kv_blocks_most += blocks_for(most, each) - uint64_t{blocks_for(run.most, each)};
  run.tokens = tokens;
  run.most = most;
}

}  // namespace altlas::control
