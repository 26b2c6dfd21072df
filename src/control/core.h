// Core: the control plane as a pure state machine. Events and time in, actions out; no thread,
// clock, socket or disk.
//
// How to drive it (the service does, and the simulator): make it from a CoreSetup; step
// TasksRestored (if the journal had any), then Started; then every event as it comes, and Tick
// whenever next_deadline() has passed. Carry out the actions of each step in order before the next
// step. Promises, all kept by check_integrity() and the tests:
//  - a TasksSubmitted is answered once; its tasks are in the journal before it is answered ok, or
//  none of them exists;
//  - each accepted task ends exactly once; a durable task's end is in the journal before anybody is
//  told;
//  - at most max_queue_size tasks wait that were not promised a start at once (tasks back from lost
//  replicas apart);
//  - a task's published deltas have no gap and no repetition, whatever replica they come from;
//  - reports of a replica that was given up are ignored: a restarted replica has a new ReplicaId.
// A task's way: journaling -> waiting (on its site) -> running -> ending (its end is being
// journalled) -> over.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/core_setup.h"
#include "control/events.h"
#include "control/kept_tasks.h"
#include "control/key_book.h"
#include "control/views.h"
#include "scheduler/placement.h"
#include "scheduler/prefix_index.h"
#include "scheduler/queue.h"

namespace altlas::control {

inline constexpr int64_t kTokenFlushUs =
    50 * kMillisecond;  // Tokens are in the journal at most so late (async).
inline constexpr int64_t kJournalRetryUs = kSecond;  // After a write that failed.
inline constexpr int64_t kBackoffMinUs =
    500 * kMillisecond;  // Of a replica's restart, doubled for each failure …
inline constexpr int64_t kBackoffMaxUs =
    60 * kSecond;  // … up to this; a minute of running forgets them.
inline constexpr size_t kExplanationsMax = 10'000;  // Of the latest tasks.
inline constexpr size_t kRejectionsMax = 64;        // In one explanation.
inline constexpr size_t kPassingTasksMax =
    256;  // Tasks that are over and not durable, still readable.
inline constexpr uint64_t kPassingBytesMax = 4 << 20;  // Of their texts and log-probabilities.
inline constexpr size_t kKeysMax = 100'000;  // Idempotency keys of tasks that are forgotten.
inline constexpr size_t kDispatchScanMax = 256;  // Waiting tasks looked at for one that fits now.
inline constexpr int64_t kPassedOverMaxUs =
    10 * kSecond;  // Then a task that does not fit holds up those behind it.
inline constexpr int kDispatchRoundsMax = 1024;  // Of moves between devices in one step.
inline constexpr size_t kTicketsMax = 65'536;    // Admissions not yet submitted.

// Threads: one. All views are copies.
class Core {
 public:
  explicit Core(CoreSetup setup);  // Aborts on a setup that contradicts itself (setup.h checks what
                                   // users write).

  // Appends what the edge must do to `out`. `now` never goes back.
  void step(Event event, TimeUs now, std::vector<Action>& out);
  // When a Tick is due; INT64_MAX if nothing waits for time.
  TimeUs next_deadline() const;

  Result<TaskView> task(const TaskId& id) const;    // Errors: kNotFound.
  Result<void> cancelable(const TaskId& id) const;  // Errors: kNotFound, kConflict when it is over.
  Result<Explanation> explain(const TaskId& id) const;  // Errors: kNotFound.
  TaskPage tasks(const TaskFilter& filter) const;       // Durable ones.
  std::vector<DeviceView> devices() const;
  std::vector<DeploymentView> deployments() const;
  HealthView health() const;
  Strategy strategy() const { return setup_.strategy; }  // The default one.
  // Text and tokens published so far, for a subscriber that comes later; valid until the next step.
  const std::string* said_text(const TaskId& id) const;
  const std::vector<int32_t>* said_tokens(const TaskId& id) const;
  const std::vector<TokenLogprobs>* said_logprobs(const TaskId& id) const;
  const std::vector<TokenLogprobs>* said_prompt_logprobs(const TaskId& id) const;

  size_t waiting() const { return queue_.size(); }
  size_t held() const {
    return held_;
  }  // Counted by the queue bound: never more than max_queue_size.
  size_t unfinished() const { return unfinished_; }
  size_t running(ReplicaId replica) const;
  uint64_t epoch() const { return epoch_; }  // Events stepped.
  // Of everything that decides: equal in two runs of the same events.  O(state).
  uint64_t hash() const;
  void check_integrity() const;  // Aborts if something contradicts.  O(state).

 private:
  enum class Phase : uint8_t { kJournaling, kWaiting, kRunning, kEnding, kOver };

  struct Task {
    uint64_t number = 0;  // Of acceptance; the key of everything inside.
    TaskSpec spec;        // Prompt and payload are dropped when it is over.
    Phase phase = Phase::kJournaling;
    TaskStatus status = TaskStatus::kQueued;  // As shown.
    uint32_t site = 0;
    TimeUs created = 0;
    std::optional<TimeUs> started, finished, first_token;
    std::vector<int32_t> generated;  // As seen, also if not yet published (tokens: sync).
    std::string text;                // Published.
    std::vector<TokenLogprobs>
        logprobs;  // Published, where asked for; dropped when a durable task is over.
    std::vector<TokenLogprobs> prompt_logprobs;  // Likewise.
    uint64_t text_seen = 0;                      // Bytes seen, published or not.
    bool text_unknown =
        false;  // Restored: the text of its first tokens was said before this server started.
    uint32_t prompt_tokens = 0;
    uint32_t tokens_end = 0;              // Generated, once over.
    uint32_t journaled = 0;               // Tokens durable …
    uint32_t flushing_to = 0;             // … or on their way, when above it.
    std::vector<TokenDelta> unpublished;  // tokens: sync, until they are durable.
    SequenceId sequence;
    uint32_t slot = 0;
    uint32_t crashes = 0;
    uint64_t tokens_ahead = 0;  // Counted in the site's tokens_ahead.
    bool reserved = false;      // estimated_memory is in the device's ledger.
    bool cancel_asked = false;  // While journaling.
    bool held = false;          // Counted by the queue bound: it was not promised a start at once.
    bool pinned = false;        // Stays on its device: asked for, mapped, or of an unsplit batch.
    TaskStatus end = TaskStatus::kCompleted;  // From kEnding on.
    TaskResult result;
    ErrorCode error_code = ErrorCode::kInternal;
    std::string error;
    std::string note;
    std::vector<uint64_t> submissions;  // That wait for its acceptance.
  };
  struct Device {
    DeviceSetup setup;
    double utilization = -1, foreign_utilization = 0, temperature = -1, power = -1;
    bool healthy = true;
    uint64_t reserved = 0;             // Bytes.
    std::set<uint64_t> promised;       // Tasks with a reservation that do not run.
    uint32_t running = 0, queued = 0;  // Tasks of every site.
    std::vector<uint32_t> sites;
    std::vector<uint32_t> slots;  // With a rank here.
  };
  // Where tasks of one deployment run on one device.
  struct Site {
    uint32_t deployment = 0;
    DeviceId device;
    std::vector<uint32_t> slots;       // Whose rank 0 is here.
    uint32_t running = 0, queued = 0;  // `queued`: journaling and waiting.
    uint64_t tokens_ahead = 0;
  };
  struct Run {
    uint64_t task = 0;    // 0: given up (cancelled), until the replica says that it is over.
    uint32_t tokens = 0;  // Prompt + generated …
    uint32_t most = 0;    // … and at the end.
  };
  // A place for a replica; each replica that lives in it has its own id.
  struct Slot {
    uint32_t deployment = 0, site = 0;
    std::vector<DeviceId> devices;
    ReplicaId id;
    ReplicaState state = ReplicaState::kStopped;
    TimeUs since = 0;         // In this state.
    TimeUs wake = INT64_MAX;  // End of backoff or of the time to start.
    uint32_t starts = 0, failures = 0;
    bool given_up = false;  // Its load can't succeed: no restart.
    std::string message;
    ErrorCode error_code = ErrorCode::kInternal;  // Of a load that failed.
    int32_t pid = 0;
    engine::LoadProgress progress;
    engine::ReplicaLoaded loaded;  // All 0 unless loaded.
    engine::ReplicaStats stats;
    TimeUs stats_at = 0, reported = 0, progressed = 0;
    double tokens_per_second = 0;
    std::vector<double> busy;  // Percent of the time between its last two stats, by rank.
    std::map<SequenceId, Run> runs;
    std::vector<std::string> own_adapters;            // Names that it was started with.
    std::optional<engine::ReplicaLoaded> needs;       // As its last load said, in this life or an
                                                      // earlier one.
    uint64_t kv_blocks_used = 0, kv_blocks_most = 0;  // Of its runs, now and at their longest.
  };
  // A LoRA adapter of a deployment.
  struct Adapter {
    enum class State : uint8_t { kLoading, kReady, kLeaving } state = State::kReady;
    engine::AdapterFile file;
    std::map<uint32_t, uint64_t> held;  // Slots that have it, and its bytes there.
    std::set<uint32_t> asked;           // Slots that were told to load it and have not answered.
    std::vector<uint64_t> tickets;      // Who waits for what it is doing.
    std::string error;                  // Of the first slot that could not load it.
    ErrorCode error_code = ErrorCode::kInternal;
  };
  struct Deployment {
    DeploymentSetup setup;
    std::vector<Adapter> adapters;                  // In the order of loading; few.
    std::map<std::string, uint32_t> adapter_tasks;  // Unfinished tasks by adapter.
    std::vector<uint32_t> sites;                    // By device id.
    std::vector<uint32_t> slots;
    scheduler::PlacementCursor cursor;
    scheduler::PrefixIndex prefixes;
    engine::ReplicaLoaded limits;  // Of the last load; 0 before the first.
    uint32_t promised = 0;         // Places of open tickets.
    uint32_t queued = 0;           // Journaling and waiting.
    uint32_t held = 0;             // Of these, held.
    int64_t service_us = kSecond;  // Smoothed time that a task runs.
  };
  struct Ticket {
    uint32_t deployment = 0, tasks = 0;
  };
  struct Submission {
    std::vector<uint64_t> tasks;  // In the order of the specs.
    std::vector<Placed> placed;   // As they were at submission.
    std::map<size_t, Placed> forgotten;  // Of them: known by their keys only, without a number.
    uint32_t unresolved = 0;      // Of these, not yet durable.
  };
  // What a journal ticket was for.
  struct Write {
    enum class Kind : uint8_t { kAccept, kEnd, kTokens } kind = Kind::kAccept;
    std::vector<uint64_t> tasks;
  };
  using Out = std::vector<Action>;

  // core.cc: events
  void on(AdmissionRequested& event, Out& out);
  void on(AdmissionReleased& event, Out& out);
  void on(TasksSubmitted& event, Out& out);
  void on(JournalWritten& event, Out& out);
  void on(CancelRequested& event, Out& out);
  void on(WorkerConnected& event, Out& out);
  void on(WorkerReported& event, Out& out);
  void on(WorkerLost& event, Out& out);
  void on(DeviceSampled& event, Out& out);
  void on(StrategyChanged& event, Out& out);
  void on(ConcurrencyChanged& event, Out& out);
  void on(LimitsChanged& event, Out& out);
  void on(DrainRequested& event, Out& out);
  void on(Started& event, Out& out);
  void on(TasksRestored& event, Out& out);
  void on(StopRequested& event, Out& out);
  void on(Tick& event, Out& out);
  void on(AdapterLoadRequested& event, Out& out);
  void on(AdapterUnloadRequested& event, Out& out);
  void on_time(Out& out);
  void forgive_silence(TimeUs gap);

  // core_admission.cc: the way in
  std::optional<uint32_t> find_deployment(std::string_view name, std::string_view type) const;
  Result<void> accepting(uint32_t deployment) const;
  enum class Spread : uint8_t { kAll, kOneDevice };
  std::optional<uint64_t> places_at_most(const Site& site) const;
  Result<void> fits_at_all(uint32_t deployment, uint64_t tasks, Spread spread,
                           std::optional<DeviceId> device = std::nullopt) const;
  bool nothing_else(uint32_t deployment, size_t own) const;
  Result<void> submit(TasksSubmitted& event, Submission& submission, std::vector<uint64_t>& fresh);
  // The task of the spec's key, by number, or what is left of it; neither: not known.
  struct Known {
    uint64_t number = 0;
    const KeyRecord* left = nullptr;
  };
  Result<Known> known(const TaskSpec& spec) const;
  bool holds_key(const Task& task) const;
  Result<void> place_group(TasksSubmitted& event, size_t first, size_t count,
                           std::vector<uint64_t>& fresh);
  scheduler::PlacementRequest placement_request(const TasksSubmitted& event, size_t first,
                                                size_t count) const;
  uint64_t add_task(TaskSpec spec, uint32_t site, const scheduler::Placement& placement,
                    bool promised);
  void hold(Task& task, bool held);
  void keep_explanation(const Task& task, const scheduler::Placement& placement,
                        std::span<const scheduler::PlacementDevice> picture,
                        const scheduler::PlacementRequest& request,
                        const scheduler::PlacementCursor& before);
  void remove_task(Task& task);
  void accepted(const std::vector<uint64_t>& tasks, Out& out);
  void not_accepted(const std::vector<uint64_t>& tasks, const std::string& why, Out& out);
  void answer(uint64_t ticket, Out& out);
  void restore(journal::RestoredTask& restored, Out& out);
  std::optional<uint32_t> site_on(uint32_t deployment, DeviceId device) const;
  uint32_t site_for_restored(uint32_t deployment, const journal::RestoredTask& restored);

  // core_dispatch.cc: from waiting to running
  std::vector<scheduler::PlacementDevice> picture(uint32_t deployment, std::string_view adapter,
                                                  std::span<const int32_t> prompt) const;
  scheduler::PlacementDevice picture_of(const Site& site, uint64_t reserved) const;
  scheduler::PlacementDevice picture_of(const Site& site) const {
    return picture_of(site, device(site.device).reserved);
  }
  scheduler::PlacementRequest request_of(const Task& task) const;
  uint32_t slot_tasks_max(const Slot& slot) const;
  uint32_t free_places(uint32_t deployment) const;
  uint32_t free_places_at(const Site& site) const;
  static TimeUs arrived(const Task& task);
  void enqueue(Task& task, bool front);
  void dispatch(Out& out);
  void dispatch_site(uint32_t site, Out& out);
  bool takes_tasks(const Site& site) const;
  std::optional<uint32_t> slot_for(const Task& task, const Site& site) const;
  enum class Fit : uint8_t {
    kNow,
    kLater,      // As other tasks end.
    kNotByEnds,  // Something else must come first: it holds nobody up.
    kNever
  };
  Fit fits(const Task& task, uint32_t slot, std::string& why) const;
  std::vector<uint64_t> startable(const Task& head, uint32_t slot) const;
  void start(Task& task, uint32_t slot, Out& out);
  void rebalance(uint32_t deployment, Out& out);
  void move_task(Task& task, uint32_t site);
  double utilization(const Device& device) const;

  // core_memory.cc: reservations
  void settle(Out& out);
  std::optional<uint32_t> site_for_crowded(const Task& task, std::string& why) const;
  void unsettle_all();
  void reserve(Task& task);
  void unreserve(Task& task);
  void reserve_if_room(Task& task);
  uint64_t reserved_ahead(const Device& device, uint64_t number) const;
  uint64_t memory_fixed(const Device& device) const;
  uint64_t memory_used(const Device& device) const;
  uint64_t memory_growth(const Device& device) const;
  void release_reservations(DeviceId device);

  // core_tasks.cc: running, ending, journal
  Result<void> tokens(Slot& slot, engine::SequenceTokens& report,
                      Out& out);  // Errors: kInternal, the replica's.
  void finished(Slot& slot, engine::SequenceFinished& report, Out& out);
  void release_published(Task& task, Out& out);
  void publish(Task& task, TokenDelta delta, Out& out);
  Task* run_over(
      Slot& slot,
      SequenceId sequence);  // The replica is done with it; its task, if it still has one.
  void end_task(Task& task, TaskStatus end, Out& out);
  void fail_task(Task& task, ErrorCode code, std::string message, Out& out);
  void leave_phase(Task& task, Out& out);
  void append_end(Task& task, Out& out);
  static uint64_t held_bytes(const Task& task);
  void over(Task& task, Out& out);
  void show(Task& task, TaskStatus status, Out& out);
  void mark_dirty(Task& task);
  void flush(Out& out);
  void written(const Write& write, Out& out);
  void not_written(const Write& write, const std::string& why, Out& out);
  void forget_old(Out& out);
  void expire(Out& out);

  // core_replicas.cc: life of replicas
  Slot* find_slot(ReplicaId id);
  void start_replica(uint32_t slot, Out& out);
  void replica_gone(uint32_t slot, const std::string& why, bool tell_worker, Out& out);
  void come_back(Task& task, const std::string& why, Out& out);
  void report(uint32_t slot, engine::Report& report, Out& out);
  void load_failed(uint32_t slot, const engine::LoadFailed& failed, Out& out);
  void stats(Slot& slot, engine::ReplicaStats& stats);
  void check_replicas(Out& out);
  TimeUs hang_at(const Slot& slot) const;
  void fail_unserved(uint32_t deployment, Out& out);
  void set_run_tokens(Slot& slot, Run& run, uint32_t tokens, uint32_t most);

  // core_adapters.cc: LoRA adapters that come and go
  Adapter* find_adapter(uint32_t deployment, std::string_view name);
  Result<void> check_adapter(uint32_t deployment, const std::string& name);
  Result<uint32_t> adapter_deployment(const std::string& name) const;
  void adapter_loaded(uint32_t slot, engine::AdapterLoaded& report, Out& out);
  void adapters_of_loaded(uint32_t slot, Out& out);
  void adapters_of_gone(uint32_t slot, Out& out);
  void conclude_adapter(uint32_t deployment, const std::string& name, Out& out);
  void lose_adapter(uint32_t deployment, const std::string& name, Out& out);
  void remove_adapter(uint32_t deployment, const std::string& name, Out& out);
  void answer_adapter(Adapter& adapter, const Result<void>& outcome, Out& out);
  void count_adapter_task(const Task& task, bool more);
  void settle_adapters(Out& out);
  bool holds_adapter(uint32_t slot, const std::string& name) const;

  // core_views.cc
  TaskView view(const Task& task) const;
  ReplicaView view(const Slot& slot) const;
  DeploymentView view(const Deployment& deployment) const;
  const Task* find(const TaskId& id) const;

  Task& at(uint64_t number) { return tasks_.at(number); }
  Site& site_of(const Task& task) { return sites_[task.site]; }
  Device& device_of(const Task& task) {
    return devices_[static_cast<size_t>(sites_[task.site].device.value)];
  }
  const Device& device(DeviceId id) const { return devices_[static_cast<size_t>(id.value)]; }

  CoreSetup setup_;
  scheduler::PlacementPolicy policy_;
  std::vector<Device> devices_;
  std::vector<Deployment> deployments_;
  std::vector<Site> sites_;
  std::vector<Slot> slots_;
  uint32_t default_deployment_ = 0;

  TimeUs now_ = 0;
  uint64_t epoch_ = 0;
  bool started_ = false, draining_ = false, stopping_ = false;
  uint64_t next_task_ = 1, next_sequence_ = 1, next_write_ = 1;
  uint32_t next_replica_ = 1;

  std::map<uint64_t, Task> tasks_;  // By number.
  std::map<TaskId, uint64_t> number_of_;
  std::map<std::pair<std::string, std::string>, uint64_t> by_key_;  // (owner, idempotency_key).
  std::map<std::string, std::array<std::set<uint64_t>, 5>>
      listing_;                                       // Owner, status: numbers of durable tasks.
  std::map<uint64_t, std::vector<uint64_t>> groups_;  // batch_group: its unfinished tasks.
  scheduler::WaitingQueue queue_;                     // Lanes are sites.
  std::map<uint64_t, Ticket> tickets_;
  std::map<uint64_t, Submission> submissions_;
  std::map<uint64_t, Write> writes_;
  std::set<std::pair<TimeUs, uint64_t>> deadlines_;  // Of running tasks.
  std::map<ReplicaId, uint32_t> slot_of_;
  std::set<std::pair<uint32_t, std::string>> idle_adapters_;  // Whose last task has ended.
  std::set<uint32_t> dirty_sites_;         // To be dispatched at the end of the step.
  std::set<uint64_t> unsettled_;           // With estimated_memory: may never fit where they wait.
  std::set<uint64_t> dirty_tokens_;        // Tasks with tokens to be journalled.
  std::vector<journal::Event> unflushed_;  // TaskStarted that nobody waits for.
  TimeUs flush_at_ = INT64_MAX;
  TimeUs expire_at_ = 0;     // Deadlines are not looked at before.
  uint32_t queue_most_ = 0;  // The largest max_queue_size so far.
  std::vector<uint64_t> ends_to_retry_;
  TimeUs retry_at_ = INT64_MAX;
  KeptTasks kept_, passing_;  // Over: durable ones, others.
  KeyBook keys_;              // Of durable ones that are forgotten.
  TimeUs keys_trimmed_ = 0;
  std::map<uint64_t, Explanation> explanations_;
  uint32_t promised_ = 0;  // Places of open tickets.
  uint32_t held_ = 0;      // Unfinished tasks with `held`.
  size_t unfinished_ = 0;
};

}  // namespace altlas::control
