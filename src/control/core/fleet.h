// Fleet: devices, deployments, and the replicas of deployments on devices: what each is doing, and
// when something is due there.
//
// A slot is a place for a replica; each replica that lives in it, one after another, has an id of
// its own. A site is one deployment on one device: tasks are given to a site, and its slots run
// them. All three are counted from 0 and keep their indices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/change_set.h"
#include "control/core/memory_ledger.h"
#include "control/core/timer_set.h"
#include "control/core_setup.h"
#include "control/events.h"
#include "control/views.h"
#include "engine/messages.h"
#include "journal/replay.h"
#include "scheduler/placement.h"
#include "scheduler/prefix_index.h"

namespace altlas::control {

// The wait before a replica's restart, doubled for each failure up to the most.
inline constexpr int64_t kBackoffMinUs = 500 * kMillisecond;
inline constexpr int64_t kBackoffMaxUs = 60 * kSecond;
// A replica that ran longer than this starts counting failures anew.
inline constexpr int64_t kStableUs = 60 * kSecond;
// What a replica gets to end once it was told to; then it is killed.
inline constexpr int64_t kStopUs = 10 * kSecond;

// A device as the core knows it, and who is on it.
struct FleetDevice {
  DeviceSetup setup;
  double utilization = -1, foreign_utilization = 0, temperature = -1, power = -1;
  bool healthy = true;
  uint32_t running = 0, queued = 0;  // Tasks of all its sites.
  std::vector<uint32_t> sites;
  std::vector<uint32_t> slots;  // With a rank here.
};

struct Site {
  uint32_t deployment = 0;
  DeviceId device;
  std::vector<uint32_t> slots;       // Whose rank 0 is here.
  uint32_t running = 0, queued = 0;  // Tasks; `queued` are those that journal or wait.
  uint64_t tokens_ahead = 0;         // Still to be computed for these tasks.
};

// One task in a replica's hands.
struct RunningTask {
  uint64_t task = 0;    // 0: given up (cancelled), until the replica says that it is over.
  uint32_t tokens = 0;  // Prompt + generated …
  uint32_t most = 0;    // … and at the end.
};

// One worker of the replica in a slot. Its ranks are on one machine.
struct SlotWorker {
  uint32_t node = 0;
  std::vector<uint32_t> ranks;
  int32_t pid = 0;
  bool connected = false, loaded = false, lost = false;  // In this life.
  TimeUs reported = 0;
};

// Where a replica of a deployment lives, and after its end the next one.
struct ReplicaSlot {
  uint32_t deployment = 0, site = 0;
  std::vector<DeviceId> devices;    // By rank, the leading one first.
  std::vector<SlotWorker> workers;  // By index; the first one leads.
  ReplicaId id;
  ReplicaState state = ReplicaState::kStopped;
  TimeUs since = 0;         // In this state.
  TimeUs wake = INT64_MAX;  // End of backoff or of the time to start.
  uint32_t starts = 0, failures = 0;
  bool given_up = false;  // Its load can't succeed: no restart.
  // A replica is to live here. Without it one that runs gets no new tasks, and ends with its last
  // one, or at `wake`.
  bool wanted = true;
  std::string message;
  ErrorCode error_code = ErrorCode::kInternal;  // The code of a load that failed.
  engine::LoadProgress progress;
  engine::ReplicaLoaded loaded;                // As it begins, unless loaded.
  std::optional<engine::ReplicaLoaded> needs;  // As its last load said, in this life or an earlier.
  engine::ReplicaStats stats;
  TimeUs stats_at = 0, progressed = 0;
  double tokens_per_second = 0;
  std::vector<double> busy;  // Percent of the time between its last two stats, by rank.
  std::map<SequenceId, RunningTask> runs;
  uint32_t runs_given_up = 0;  // Runs without a task: they take a place until they have ended.
  // KV blocks of its runs, now and at their longest.
  uint64_t kv_blocks_used = 0, kv_blocks_most = 0;

  bool takes_tasks() const { return wanted && state == ReplicaState::kRunning; }
  bool is_leaving() const { return !wanted && state == ReplicaState::kRunning; }
  // Whom commands go to.
  WorkerId leader() const { return {id}; }
  // When the worker that is silent for longest was last heard.
  TimeUs reported() const {
    TimeUs first = INT64_MAX;
    for (const SlotWorker& worker : workers) first = std::min(first, worker.reported);
    return first;
  }
};

struct Deployment {
  DeploymentSetup setup;
  std::vector<uint32_t> sites;           // With replicas, by device id.
  std::map<DeviceId, uint32_t> site_on;  // The same.
  std::vector<uint32_t> slots;
  scheduler::PlacementCursor cursor;
  scheduler::PrefixIndex prefixes;
  engine::ReplicaLoaded limits;  // The limits of the last load; 0 before the first.
  uint32_t target = 0;           // Replicas that are wanted.
  bool held = false;             // A person said how many, and the autoscaler has no say.
  uint32_t running = 0;          // Tasks in replicas' hands.
  uint32_t queued = 0;           // Tasks that journal or wait.
  int64_t service_us = kSecond;  // Smoothed time that a task runs.
  // Views of its slots that are kept up to date.
  uint32_t running_slots = 0;   // They run and take tasks.
  uint32_t fresh_slots = 0;     // Wanted, not running, and never failed.
  uint32_t given_up_slots = 0;  // Wanted, and can't be loaded.
  std::set<uint32_t> slots_with_message;
  // Whether a request that comes while no replica is wanted starts one.
  bool wakes() const { return setup.autoscaling.has_value() && !held; }
  // Whether there are no replicas, or those that are wanted can't be loaded.
  bool given_up() const { return slots.empty() || (target > 0 && given_up_slots == target); }
  // Named here: counting the members of a struct that holds a PrefixIndex by reflection takes the
  // compiler minutes and gigabytes. The views are made again by Fleet::load.
  static auto saved(auto& self) {
    return std::tie(self.setup, self.sites, self.site_on, self.slots, self.cursor, self.prefixes,
                    self.limits, self.target, self.held, self.running, self.queued,
                    self.service_us);
  }
};

// What changes for a site as a task comes, goes or moves on.
struct SiteChange {
  int running = 0, queued = 0;
  int64_t tokens_ahead = 0;
};

// Threads: one. Everything is readable; only these functions change it, so that counts, timers, the
// memory ledger and `changed` (devices whose sites look different now) follow.
class Fleet {
 public:
  // Aborts on a setup that contradicts itself.
  Fleet(const CoreSetup& setup, MemoryLedger& ledger, ChangeSet& changed);

  const std::vector<FleetDevice>& devices() const { return devices_; }
  const std::vector<Deployment>& deployments() const { return deployments_; }
  const std::vector<Site>& sites() const { return sites_; }
  const std::vector<ReplicaSlot>& slots() const { return slots_; }
  const FleetDevice& device(DeviceId id) const { return devices_[static_cast<size_t>(id.value)]; }
  const FleetDevice& device_of(uint32_t site) const { return device(sites_[site].device); }
  const Deployment& deployment(uint32_t index) const { return deployments_[index]; }
  const Site& site(uint32_t index) const { return sites_[index]; }
  const ReplicaSlot& slot(uint32_t index) const { return slots_[index]; }
  bool has_device(DeviceId id) const {
    return id.value >= 0 && static_cast<size_t>(id.value) < devices_.size();
  }
  uint32_t default_deployment() const { return default_deployment_; }
  // By name, or the first one of a task type; the default one where neither is known.
  std::optional<uint32_t> find_deployment(std::string_view name, std::string_view type) const;
  std::optional<uint32_t> find_slot(ReplicaId id) const;  // Nothing: that replica was given up.
  std::optional<uint32_t> site_on(uint32_t deployment, DeviceId device) const;
  // Where a restored task is shown and, unless it is over, goes on. Where its deployment has no
  // replica for it, a site without replicas is made: nothing starts there.
  uint32_t site_for_restored(uint32_t deployment, const journal::RestoredTask& restored);
  uint32_t tasks_max(const ReplicaSlot& slot) const;    // Runs at once.
  double utilization(const FleetDevice& device) const;  // Percent: sampled, or as the replicas say.

  void sample(const DeviceSampled& sample);
  void count(uint32_t site, const SiteChange& change);
  // A task of the deployment ran for so long.
  void served(uint32_t deployment, int64_t run_us);
  scheduler::PlacementCursor& cursor(uint32_t deployment) {
    return deployments_[deployment].cursor;
  }
  // The device computes this prompt now.
  void prompt_runs(uint32_t site, std::string_view adapter, const Prompt& prompt);

  // A replica's life.
  // A replica starts: one action for each of its workers.
  std::vector<StartWorker> start(uint32_t slot, TimeUs now,
                                 std::vector<engine::AdapterFile> adapters);
  void connected(uint32_t slot, uint32_t worker, int32_t pid, TimeUs now);
  void heard(uint32_t slot, uint32_t worker, TimeUs now);
  void progressed(uint32_t slot, TimeUs now);
  void load_progress(uint32_t slot, engine::LoadProgress progress);
  // The replica runs once all its workers have loaded: true then, for the last one's report.
  bool loaded(uint32_t slot, uint32_t worker, const engine::ReplicaLoaded& loaded, TimeUs now);
  // One worker of a replica that is stopping has ended: true for the last one.
  bool worker_ended(uint32_t slot, uint32_t worker);
  void stats(uint32_t slot, engine::ReplicaStats stats, TimeUs now);
  // The next three count the weights of an adapter: of one that came, of one that left, and of one
  // that a lost replica had.
  void add_weights(uint32_t slot, uint64_t bytes);
  void drop_weights(uint32_t slot, uint64_t bytes);
  void drop_needed_weights(uint32_t slot, uint64_t bytes);
  void load_failed(uint32_t slot, const engine::LoadFailed& failed);
  // The replica is given up: its slot waits for a restart, or stays empty. Returns what it ran.
  std::map<SequenceId, RunningTask> lose(uint32_t slot, const std::string& why, TimeUs now,
                                         bool stopping);
  // The replica is told to end, and has until `wake`. False: nothing lives there.
  bool drain(uint32_t slot, const std::string& why, TimeUs wake = INT64_MAX);
  // Whether a replica is to live in the slot. One that runs and is not wanted any more has the
  // deployment's graceful_shutdown_timeout to end its tasks; one that waits for its restart ends.
  void want(uint32_t slot, bool wanted, TimeUs now);
  // The slots whose wanting changes for a deployment to have this many replicas: more where one
  // lives still or most tasks wait, fewer where none runs or the fewest tasks do.
  std::vector<uint32_t> slots_to_change(uint32_t deployment, uint32_t replicas) const;
  // Whether a person has said how many replicas are wanted.
  void hold(uint32_t deployment, bool held) { deployments_[deployment].held = held; }
  // The site that waits least of those where replicas of the deployment are wanted; nothing: none.
  std::optional<uint32_t> site_of_wanted(uint32_t deployment) const;
  bool is_wanted_on(const Site& site) const;  // A replica.
  bool is_wanted_on(uint32_t site) const { return is_wanted_on(sites_[site]); }
  // Why no replica of a deployment that is given_up() can be loaded.
  std::string why_given_up(uint32_t deployment) const;

  // Runs.
  SequenceId begin_run(uint32_t slot, uint64_t task, uint32_t tokens, uint32_t most, TimeUs now);
  void run_goes_on(uint32_t slot, SequenceId sequence, uint32_t tokens, TimeUs now);
  bool give_up_run(uint32_t slot, SequenceId sequence);  // False: it is not there.
  // The task of a run that is over; 0: given up before. Nothing: there is no such run.
  std::optional<uint64_t> end_run(uint32_t slot, SequenceId sequence, TimeUs now);

  // Time.
  TimeUs next_deadline() const { return timers_.next(); }
  std::set<uint32_t> due(TimeUs now) const { return timers_.due(now); }
  // When something is due for a slot: its wake, a replica that hangs, or one that may leave.
  TimeUs due_at(const ReplicaSlot& slot) const;
  // When a running replica counts as stuck: silent, or with work and no step done for the whole
  // timeout. One that is merely slow still does steps.
  TimeUs hang_at(const ReplicaSlot& slot) const;
  // Nobody could report while this process itself stood still (suspended, or starved of its core):
  // that time does not count as a replica's silence.
  void forgive_silence(int64_t gap);

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  void set_run_tokens(ReplicaSlot& slot, RunningTask& run, uint32_t tokens, uint32_t most);
  void arm(uint32_t slot);         // Its timer.
  void count_slot(uint32_t slot);  // In its deployment.
  void settle(uint32_t slot);      // Both, its memory, and what looks different now.
  void device_changed(DeviceId id) { changed_.add(static_cast<uint32_t>(id.value)); }

  MemoryLedger& ledger_;
  ChangeSet& changed_;
  TimerSet timers_;  // By slot.
  std::vector<FleetDevice> devices_;
  std::vector<Deployment> deployments_;
  std::vector<Site> sites_;
  std::vector<ReplicaSlot> slots_;
  std::vector<uint8_t> counted_;  // By slot: its part in the deployment's counts.
  std::map<ReplicaId, uint32_t> slot_of_;
  uint32_t default_deployment_ = 0;
  size_t sites_with_slots_ = 0;  // The first ones; those behind were made for restored tasks.
  uint64_t next_sequence_ = 1;
  uint32_t next_replica_ = 1;
};

}  // namespace altlas::control
