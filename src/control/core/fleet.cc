#include "control/core/fleet.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/integers.h"
#include "control/core/saved_part.h"

namespace altlas::control {
namespace {

// How a slot counts in its deployment; a slot may count in several ways.
enum Counted : uint8_t { kRunningSlot = 1, kFreshSlot = 2, kGivenUpSlot = 4, kWithMessage = 8 };

uint8_t counts_of(const ReplicaSlot& slot) {
  const bool running = slot.takes_tasks();
  uint8_t out = 0;
  if (running) out |= kRunningSlot;
  if (slot.wanted && !running && slot.failures == 0) out |= kFreshSlot;
  if (slot.wanted && slot.given_up) out |= kGivenUpSlot;
  if (!slot.message.empty()) out |= kWithMessage;
  return out;
}

uint32_t blocks_for(uint64_t tokens, uint32_t block_tokens) {
  return block_tokens == 0 ? 0 : static_cast<uint32_t>(ceil_div(tokens, block_tokens));
}

// The KV blocks of the slot's runs are an estimate from their lengths: a run that still waits
// inside a full replica is counted, too, though it has no blocks yet; so they are cut to what the
// pool has.
ReplicaMemory memory_of(const ReplicaSlot& slot, size_t rank) {
  ReplicaMemory out;
  const bool holds = slot.wanted || slot.state != ReplicaState::kStopped;
  if (holds && !slot.given_up && slot.needs) out.fixed = slot.needs->rank(rank).fixed();
  const uint64_t pool = slot.loaded.kv_blocks;
  const uint64_t used = std::min(slot.kv_blocks_used, pool);
  const uint64_t block_bytes = slot.loaded.rank(rank).block_bytes();
  out.kv_used = used * block_bytes;
  out.kv_growth = (std::min(slot.kv_blocks_most, pool) - used) * block_bytes;
  return out;
}

// Returns one worker for each machine that has devices of the replica, or for each rank, in the
// order of ranks.
std::vector<SlotWorker> workers_for(std::span<const DeviceId> ranks,
                                    std::span<const FleetDevice> devices, ExecutorBackend backend) {
  std::vector<SlotWorker> out;
  for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
    const uint32_t node = devices[static_cast<size_t>(ranks[rank].value)].setup.node;
    auto worker = std::ranges::find(out, node, &SlotWorker::node);
    if (worker == out.end() || backend == ExecutorBackend::kMp) {
      out.emplace_back().node = node;
      worker = out.end() - 1;
    }
    worker->ranks.push_back(rank);
  }
  return out;
}

// Whether loading again would fail again: the model is missing, or does not fit.
bool for_good(ErrorCode code) {
  return code == ErrorCode::kInvalid || code == ErrorCode::kNotFound ||
         code == ErrorCode::kUnsupported || code == ErrorCode::kTooLarge;
}

}  // namespace

Fleet::Fleet(const CoreSetup& setup, MemoryLedger& ledger, ChangeSet& changed)
    : ledger_(ledger), changed_(changed) {
  ALTLAS_CHECK(!setup.devices.empty() && !setup.deployments.empty(),
               "devices and deployments are there");
  for (const DeviceSetup& device : setup.devices) {
    ALTLAS_CHECK(device.id.value == static_cast<int32_t>(devices_.size()),
                 "device ids count from 0");
    devices_.emplace_back().setup = device;
    ledger_.add_device(device.memory_total);
  }
  changed_.resize(devices_.size());
  bool default_found = false;
  for (const DeploymentSetup& one : setup.deployments) {
    const auto index = static_cast<uint32_t>(deployments_.size());
    if (one.name == setup.default_deployment) {
      default_deployment_ = index;
      default_found = true;
    }
    Deployment& deployment = deployments_.emplace_back();
    deployment.setup = one;
    deployment.cursor.random.seed =
        Hasher().add(setup.random_seed).add(std::string_view(one.name)).value();
    for (const std::vector<DeviceId>& ranks : one.replicas)
      deployment.site_on.emplace(ranks.front(), 0);
    for (auto& [device, site] : deployment.site_on) {
      site = static_cast<uint32_t>(sites_.size());
      sites_.push_back({.deployment = index, .device = device});
      deployment.sites.push_back(site);
      devices_.at(static_cast<size_t>(device.value)).sites.push_back(site);
    }
    for (const std::vector<DeviceId>& ranks : one.replicas) {
      const auto slot = static_cast<uint32_t>(slots_.size());
      ReplicaSlot& added = slots_.emplace_back();
      added.deployment = index;
      added.site = deployment.site_on.at(ranks.front());
      added.devices = ranks;
      added.workers = workers_for(ranks, devices_, one.load.distributed_executor_backend);
      added.wanted = !one.autoscaling || deployment.slots.size() < one.autoscaling->at_start();
      deployment.target += added.wanted;
      deployment.slots.push_back(slot);
      sites_[added.site].slots.push_back(slot);
      ledger_.add_slot(ranks);
      for (const DeviceId device : ranks)
        devices_.at(static_cast<size_t>(device.value)).slots.push_back(slot);
    }
  }
  ALTLAS_CHECK(default_found, "the default deployment is one of the deployments");
  sites_with_slots_ = sites_.size();
  timers_.resize(slots_.size());
  counted_.resize(slots_.size(), 0);
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) settle(slot);
}

std::optional<uint32_t> Fleet::find_deployment(std::string_view name, std::string_view type) const {
  for (uint32_t i = 0; i < deployments_.size(); ++i) {
    const DeploymentSetup& setup = deployments_[i].setup;
    if (!name.empty() ? setup.name == name
                      : std::ranges::find(setup.task_types, type) != setup.task_types.end())
      return i;
  }
  if (name.empty()) return default_deployment_;
  return std::nullopt;
}

std::optional<uint32_t> Fleet::find_slot(ReplicaId id) const {
  const auto found = slot_of_.find(id);
  if (found == slot_of_.end()) return std::nullopt;
  return found->second;
}

std::optional<uint32_t> Fleet::site_on(uint32_t deployment, DeviceId device) const {
  const auto found = deployments_[deployment].site_on.find(device);
  if (found == deployments_[deployment].site_on.end()) return std::nullopt;
  return found->second;
}

uint32_t Fleet::site_for_restored(uint32_t deployment, const journal::RestoredTask& restored) {
  if (const auto site = site_on(deployment, restored.device)) return *site;
  const DeviceId was = restored.device;
  const std::vector<uint32_t>& sites = deployments_[deployment].sites;
  if (!sites.empty() && !(has_device(was) && is_over(restored.status))) return sites.front();
  const DeviceId device = has_device(was) ? was : DeviceId{0};
  for (size_t site = sites_with_slots_; site < sites_.size(); ++site)
    if (sites_[site].deployment == deployment && sites_[site].device == device)
      return static_cast<uint32_t>(site);
  const auto site = static_cast<uint32_t>(sites_.size());
  sites_.push_back({.deployment = deployment, .device = device});
  devices_[static_cast<size_t>(device.value)].sites.push_back(site);
  device_changed(device);
  return site;
}

uint32_t Fleet::tasks_max(const ReplicaSlot& slot) const {
  const uint32_t asked = deployments_[slot.deployment].setup.max_ongoing;
  return asked == 0 ? std::max(slot.loaded.sequences_max, 1u) : asked;
}

double Fleet::utilization(const FleetDevice& device) const {
  if (device.utilization >= 0) return device.utilization;
  double sum = 0;
  for (const uint32_t index : device.slots)
    for (size_t rank = 0; rank < slots_[index].busy.size(); ++rank)
      if (slots_[index].devices[rank] == device.setup.id) sum += slots_[index].busy[rank];
  return std::min(sum, 100.0);
}

void Fleet::sample(const DeviceSampled& sample) {
  FleetDevice& device = devices_[static_cast<size_t>(sample.device.value)];
  device.utilization = sample.utilization;
  device.foreign_utilization = sample.foreign_utilization;
  device.temperature = sample.temperature;
  device.power = sample.power;
  device.healthy = sample.healthy;
  device_changed(sample.device);
}

void Fleet::count(uint32_t index, const SiteChange& change) {
  Site& site = sites_[index];
  FleetDevice& device = devices_[static_cast<size_t>(site.device.value)];
  site.running += static_cast<uint32_t>(change.running);
  device.running += static_cast<uint32_t>(change.running);
  site.queued += static_cast<uint32_t>(change.queued);
  device.queued += static_cast<uint32_t>(change.queued);
  deployments_[site.deployment].running += static_cast<uint32_t>(change.running);
  deployments_[site.deployment].queued += static_cast<uint32_t>(change.queued);
  site.tokens_ahead += static_cast<uint64_t>(change.tokens_ahead);
  device_changed(site.device);
}

void Fleet::served(uint32_t deployment, int64_t run_us) {
  int64_t& service = deployments_[deployment].service_us;
  service += (run_us - service) / 8;
}

void Fleet::prompt_runs(uint32_t site, std::string_view adapter, const Prompt& prompt) {
  deployments_[sites_[site].deployment].prefixes.add(sites_[site].device, adapter, prompt);
}

// ---- A replica's life ----

std::vector<StartWorker> Fleet::start(uint32_t index, TimeUs now,
                                      std::vector<engine::AdapterFile> adapters) {
  ReplicaSlot& slot = slots_[index];
  const DeploymentSetup& setup = deployments_[slot.deployment].setup;
  slot.id = ReplicaId{next_replica_++};
  slot_of_[slot.id] = index;
  slot.state = ReplicaState::kStarting;
  slot.since = now;
  slot.wake = now + setup.startup_timeout_us;
  slot.progress = {};
  ++slot.starts;
  engine::LoadReplica load = setup.load;
  load.adapters = std::move(adapters);
  for (const DeviceId id : slot.devices) load.ranks.push_back(rank_place(device(id).setup));
  std::vector<StartWorker> out;
  for (uint32_t worker = 0; worker < slot.workers.size(); ++worker)
    for (const uint32_t rank : slot.workers[worker].ranks) load.ranks[rank].worker = worker;
  for (uint32_t worker = 0; worker < slot.workers.size(); ++worker) {
    load.worker = worker;
    out.push_back({{slot.id, worker}, load});
  }
  settle(index);
  return out;
}

void Fleet::connected(uint32_t index, uint32_t worker, int32_t pid, TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  if (slot.state != ReplicaState::kStarting) return;
  slot.workers[worker].connected = true;
  slot.workers[worker].pid = pid;
  if (!std::ranges::all_of(slot.workers, &SlotWorker::connected)) return;
  slot.state = ReplicaState::kLoading;
  slot.since = now;
  settle(index);
}

void Fleet::heard(uint32_t index, uint32_t worker, TimeUs now) {
  slots_[index].workers[worker].reported = now;
  arm(index);
}

bool Fleet::worker_ended(uint32_t index, uint32_t worker) {
  slots_[index].workers[worker].lost = true;
  return std::ranges::all_of(slots_[index].workers, &SlotWorker::lost);
}

void Fleet::progressed(uint32_t index, TimeUs now) {
  slots_[index].progressed = now;
  arm(index);
}

void Fleet::load_progress(uint32_t index, engine::LoadProgress progress) {
  ReplicaSlot& slot = slots_[index];
  if (slot.state == ReplicaState::kStarting) slot.state = ReplicaState::kLoading;
  slot.progress = std::move(progress);
  settle(index);
}

bool Fleet::loaded(uint32_t index, uint32_t worker, const engine::ReplicaLoaded& report,
                   TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  if (slot.state != ReplicaState::kStarting && slot.state != ReplicaState::kLoading) return false;
  slot.workers[worker].loaded = true;
  if (worker == 0) slot.needs = report;
  settle(index);
  if (!std::ranges::all_of(slot.workers, &SlotWorker::loaded)) return false;
  // What the leader said since this start of the replica.
  const engine::ReplicaLoaded& loaded = *slot.needs;
  slot.loaded = loaded;
  slot.state = ReplicaState::kRunning;
  slot.since = slot.progressed = slot.stats_at = now;
  slot.wake = INT64_MAX;
  slot.message = "";
  settle(index);
  Deployment& one = deployments_[slot.deployment];
  const bool same = one.limits.block_tokens == loaded.block_tokens &&
                    one.limits.model_len_max == loaded.model_len_max;
  one.limits = loaded;
  if (same) return true;
  for (const uint32_t site : one.sites) device_changed(sites_[site].device);
  return true;
}

void Fleet::stats(uint32_t index, engine::ReplicaStats stats, TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  if (stats.steps != slot.stats.steps) slot.progressed = now;
  const uint64_t before = slot.stats.prompt_tokens + slot.stats.generated_tokens;
  const uint64_t after = stats.prompt_tokens + stats.generated_tokens;
  if (now > slot.stats_at && after > before) {
    const double rate =
        static_cast<double>(after - before) * kSecond / static_cast<double>(now - slot.stats_at);
    slot.tokens_per_second =
        slot.tokens_per_second == 0 ? rate : 0.75 * slot.tokens_per_second + 0.25 * rate;
  }
  slot.busy.resize(std::min(slot.devices.size(), stats.device_busy_us.size()));
  for (size_t rank = 0; rank < slot.busy.size() && now > slot.stats_at; ++rank) {
    const int64_t busy_before =
        rank < slot.stats.device_busy_us.size() ? slot.stats.device_busy_us[rank] : 0;
    const auto busy_us = static_cast<double>(stats.device_busy_us[rank] - busy_before);
    slot.busy[rank] =
        std::clamp(100 * busy_us / static_cast<double>(now - slot.stats_at), 0.0, 100.0);
  }
  slot.stats = std::move(stats);
  slot.stats_at = now;
  settle(index);
}

void Fleet::add_weights(uint32_t index, uint64_t bytes) {
  ReplicaSlot& slot = slots_[index];
  for (replica::RankMemory& rank : slot.loaded.ranks) rank.weights += bytes;
  if (slot.needs)
    for (replica::RankMemory& rank : slot.needs->ranks) rank.weights += bytes;
  settle(index);
}

void Fleet::drop_weights(uint32_t index, uint64_t bytes) {
  ReplicaSlot& slot = slots_[index];
  for (replica::RankMemory& rank : slot.loaded.ranks) rank.weights -= std::min(rank.weights, bytes);
  drop_needed_weights(index, bytes);
}

void Fleet::drop_needed_weights(uint32_t index, uint64_t bytes) {
  ReplicaSlot& slot = slots_[index];
  if (slot.needs)
    for (replica::RankMemory& rank : slot.needs->ranks)
      rank.weights -= std::min(rank.weights, bytes);
  settle(index);
}

void Fleet::load_failed(uint32_t index, const engine::LoadFailed& failed) {
  slots_[index].given_up = for_good(failed.code);
  slots_[index].error_code = failed.code;
  settle(index);
}

std::map<SequenceId, RunningTask> Fleet::lose(uint32_t index, const std::string& why, TimeUs now,
                                              bool stopping) {
  ReplicaSlot& slot = slots_[index];
  slot_of_.erase(slot.id);
  if (slot.state == ReplicaState::kRunning && now - slot.since > kStableUs) slot.failures = 0;
  // A replica that was told to end did not fail, and where one is wanted again it starts at once.
  const bool failed = slot.wanted && slot.state != ReplicaState::kDraining;
  int64_t backoff = 0;
  if (failed) backoff = std::min(kBackoffMinUs << std::min(slot.failures++, 16u), kBackoffMaxUs);
  slot.state =
      stopping || slot.given_up || !slot.wanted ? ReplicaState::kStopped : ReplicaState::kBackoff;
  slot.since = now;
  slot.wake = slot.state == ReplicaState::kBackoff ? now + backoff : INT64_MAX;
  slot.message = failed || stopping ? why : "";
  for (SlotWorker& worker : slot.workers) {
    worker.pid = 0;
    worker.connected = worker.loaded = worker.lost = false;
  }
  slot.loaded = {};
  slot.stats = {};
  slot.kv_blocks_used = slot.kv_blocks_most = 0;
  slot.tokens_per_second = 0;
  slot.busy.clear();
  deployments_[slot.deployment].prefixes.forget(sites_[slot.site].device);
  std::map<SequenceId, RunningTask> runs = std::exchange(slot.runs, {});
  slot.runs_given_up = 0;
  settle(index);
  return runs;
}

bool Fleet::drain(uint32_t index, const std::string& why, TimeUs wake) {
  ReplicaSlot& slot = slots_[index];
  slot.wake = wake;
  const bool lives = slot.state != ReplicaState::kStopped && slot.state != ReplicaState::kBackoff;
  if (lives) {
    slot.state = ReplicaState::kDraining;
    slot.message = why;
  }
  settle(index);
  return lives;
}

// ---- Runs ----

SequenceId Fleet::begin_run(uint32_t index, uint64_t task, uint32_t tokens, uint32_t most,
                            TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  const SequenceId sequence{next_sequence_++};
  RunningTask& run = slot.runs[sequence];
  run.task = task;
  set_run_tokens(slot, run, tokens, most);
  if (slot.runs.size() == 1) slot.progressed = now;  // It was idle until now.
  settle(index);
  return sequence;
}

void Fleet::run_goes_on(uint32_t index, SequenceId sequence, uint32_t tokens, TimeUs now) {
  RunningTask& run = slots_[index].runs.at(sequence);
  set_run_tokens(slots_[index], run, tokens, run.most);
  slots_[index].progressed = now;
  settle(index);
}

void Fleet::set_run_tokens(ReplicaSlot& slot, RunningTask& run, uint32_t tokens, uint32_t most) {
  const uint32_t each = slot.loaded.block_tokens;
  slot.kv_blocks_used += blocks_for(tokens, each) - uint64_t{blocks_for(run.tokens, each)};
  slot.kv_blocks_most += blocks_for(most, each) - uint64_t{blocks_for(run.most, each)};
  run.tokens = tokens;
  run.most = most;
}

bool Fleet::give_up_run(uint32_t index, SequenceId sequence) {
  const auto run = slots_[index].runs.find(sequence);
  if (run == slots_[index].runs.end()) return false;
  if (std::exchange(run->second.task, 0) != 0) ++slots_[index].runs_given_up;
  settle(index);
  return true;
}

std::optional<uint64_t> Fleet::end_run(uint32_t index, SequenceId sequence, TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  const auto run = slot.runs.find(sequence);
  if (run == slot.runs.end()) return std::nullopt;
  const uint64_t task = run->second.task;
  set_run_tokens(slot, run->second, 0, 0);
  slot.runs.erase(run);
  if (task == 0) --slot.runs_given_up;
  slot.progressed = now;
  settle(index);
  return task;
}

// ---- Time, and what follows from every change of a slot ----

TimeUs Fleet::hang_at(const ReplicaSlot& slot) const {
  if (slot.state != ReplicaState::kRunning) return INT64_MAX;
  const int64_t timeout = deployments_[slot.deployment].setup.health_check_timeout_us;
  return (slot.runs.empty() ? slot.reported() : std::min(slot.reported(), slot.progressed)) +
         timeout;
}

TimeUs Fleet::due_at(const ReplicaSlot& slot) const {
  if (slot.is_leaving() && slot.runs.empty()) return 0;
  return std::min(slot.wake, hang_at(slot));
}

void Fleet::forgive_silence(int64_t gap) {
  for (uint32_t index = 0; index < slots_.size(); ++index) {
    for (SlotWorker& worker : slots_[index].workers) worker.reported += gap;
    slots_[index].progressed += gap;
    arm(index);
  }
}

void Fleet::arm(uint32_t index) { timers_.set(index, due_at(slots_[index])); }

void Fleet::settle(uint32_t index) {
  const ReplicaSlot& slot = slots_[index];
  arm(index);
  count_slot(index);
  for (size_t rank = 0; rank < slot.devices.size(); ++rank)
    ledger_.hold(index, rank, memory_of(slot, rank));
  for (const DeviceId id : slot.devices) device_changed(id);
}

void Fleet::count_slot(uint32_t index) {
  const uint8_t now = counts_of(slots_[index]);
  const auto before = std::exchange(counted_[index], now);
  if (now == before) return;
  Deployment& one = deployments_[slots_[index].deployment];
  const auto step = [&](Counted what) {
    return static_cast<uint32_t>((now & what) != 0) - static_cast<uint32_t>((before & what) != 0);
  };
  one.running_slots += step(kRunningSlot);
  one.fresh_slots += step(kFreshSlot);
  one.given_up_slots += step(kGivenUpSlot);
  if ((now & kWithMessage) != 0) {
    one.slots_with_message.insert(index);
  } else {
    one.slots_with_message.erase(index);
  }
}

void Fleet::check_integrity() const {
  timers_.check_integrity();
  for (const FleetDevice& device : devices_) {
    uint32_t running = 0, queued = 0;
    for (const uint32_t site : device.sites) {
      running += sites_[site].running;
      queued += sites_[site].queued;
    }
    ALTLAS_CHECK(device.running == running && device.queued == queued, "devices agree with sites");
  }
  std::vector<uint32_t> running(deployments_.size()), given_up(deployments_.size()),
      wanted(deployments_.size()), tasks(deployments_.size()), queued_tasks(deployments_.size());
  for (const Site& site : sites_) {
    tasks[site.deployment] += site.running;
    queued_tasks[site.deployment] += site.queued;
  }
  for (uint32_t index = 0; index < slots_.size(); ++index) {
    const ReplicaSlot& slot = slots_[index];
    uint64_t blocks = 0, most = 0;
    for (const auto& [sequence, run] : slot.runs) {
      blocks += blocks_for(run.tokens, slot.loaded.block_tokens);
      most += blocks_for(run.most, slot.loaded.block_tokens);
    }
    ALTLAS_CHECK(blocks == slot.kv_blocks_used && most == slot.kv_blocks_most && blocks <= most,
                 "used blocks agree with tokens");
    ALTLAS_CHECK(
        slot.runs_given_up == static_cast<size_t>(std::ranges::count_if(
                                  slot.runs, [](const auto& run) { return run.second.task == 0; })),
        "runs without a task are counted");
    ALTLAS_CHECK(slot.runs.size() <= std::max<size_t>(tasks_max(slot), 1),
                 "no replica holds more than it may");
    ALTLAS_CHECK(timers_.at(index) == due_at(slot), "a slot's timer is the first of its deadlines");
    ALTLAS_CHECK(counted_[index] == counts_of(slot), "a slot is counted as what it is");
    running[slot.deployment] += slot.takes_tasks();
    given_up[slot.deployment] += slot.wanted && slot.given_up;
    wanted[slot.deployment] += slot.wanted;
  }
  for (size_t i = 0; i < deployments_.size(); ++i)
    ALTLAS_CHECK(deployments_[i].running_slots == running[i] &&
                     deployments_[i].given_up_slots == given_up[i] &&
                     deployments_[i].target == wanted[i],
                 "deployments agree with their slots");
  for (size_t i = 0; i < deployments_.size(); ++i)
    ALTLAS_CHECK(deployments_[i].running == tasks[i] && deployments_[i].queued == queued_tasks[i],
                 "deployments agree with their sites");
  for (const auto& [id, slot] : slot_of_)
    ALTLAS_CHECK(slots_[slot].id == id, "a replica that lives is in its slot");
}

auto Fleet::saved(auto& self) {
  return std::tie(self.devices_, self.deployments_, self.sites_, self.slots_, self.slot_of_,
                  self.next_sequence_, self.next_replica_);
}

std::string Fleet::save() const { return save_part("fleet", 3, saved(*this)); }

uint64_t Fleet::hash() const { return hash_of_saved(save()); }

Result<void> Fleet::load(std::string_view bytes) {
  const size_t devices = devices_.size();
  ALTLAS_TRY_VOID(load_part("fleet", 3, bytes, saved(*this)));
  if (slots_.size() != counted_.size() || devices_.size() != devices)
    return invalid("the saved fleet is of another setup");
  std::ranges::fill(counted_, uint8_t{0});
  for (Deployment& one : deployments_) {
    one.running_slots = one.fresh_slots = one.given_up_slots = 0;
    one.slots_with_message.clear();
  }
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) settle(slot);
  changed_.add_all();
  return {};
}

}  // namespace altlas::control
