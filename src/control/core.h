// Core: the control plane as a pure state machine. Events and time in, actions out; no thread,
// clock, socket or disk.
//
// How to drive it (the service does, and the simulator): make it from a CoreSetup; step
// TasksRestored (if the journal had any), then Started; then every event as it comes, and Tick
// whenever next_deadline() has passed. Carry out the actions of each step in order before the next
// step.
//
// It is composed of parts that own its state, and of others that own none and say what follows from
// an event (control/core/, a header each). The core itself only routes.
//   state:  Fleet (devices, deployments, replicas), MemoryLedger (bytes of devices),
//           TaskTable (tasks), WaitingTasks (their order), Admissions (places in the queue),
//           JournalQueue (writes), Adapters (LoRA),
//           PlacementView (what devices look like; follows from the others)
//   rules:  Intake (the way in), Dispatcher (what starts where), TaskLife (a task's life),
//           ReplicaLife (a replica's life)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/change_set.h"
#include "control/core/adapters.h"
#include "control/core/autoscalers.h"
#include "control/core/admissions.h"
#include "control/core/dispatcher.h"
#include "control/core/fleet.h"
#include "control/core/intake.h"
#include "control/core/journal_queue.h"
#include "control/core/memory_ledger.h"
#include "control/core/placement_view.h"
#include "control/core/replica_life.h"
#include "control/core/step.h"
#include "control/core/task_life.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"
#include "control/core_setup.h"
#include "control/events.h"
#include "control/views.h"

namespace altlas::control {

// Threads: one. Views are copies; what said_…() points to lasts until the next step.
class Core {
 public:
  // Aborts on a setup that contradicts itself (setup.h checks what users write).
  explicit Core(CoreSetup setup);
  Core(const Core&) = delete;  // Its parts know each other.
  Core& operator=(const Core&) = delete;

  // Appends what the edge must do to `out`. `now` never goes back.
  void step(Event event, TimeUs now, std::vector<Action>& out);
  // When a Tick is due; INT64_MAX if nothing waits for time.
  TimeUs next_deadline() const;

  Result<TaskView> task(const TaskId& id) const;    // Errors: kNotFound.
  Result<void> cancelable(const TaskId& id) const;  // Errors: kNotFound, kConflict when it is over.
  // Why the task's device was chosen.  Errors: kNotFound, also where the choice is not kept any
  // more.
  Result<Explanation> explain(const TaskId& id) const;
  // All that explains where the task is; nothing: it is not known.
  std::optional<TaskStory> story(const TaskId& id) const;
  // What a story has, to see whether it is another one.
  struct StorySize {
    bool known = false;
    bool has_choice = false;
    size_t moves = 0;
    TimeUs last_move = 0;
    friend bool operator==(const StorySize&, const StorySize&) = default;
  };
  StorySize story_size(const TaskId& id) const;
  TaskPage tasks(const TaskFilter& filter) const;  // Durable ones.
  std::vector<DeviceView> devices() const;
  std::vector<DeploymentView> deployments() const;
  // How many replicas the deployment should have, as it was decided, oldest first.
  // Errors: kNotFound.
  Result<std::vector<ScaleDecision>> scale_decisions(const std::string& deployment) const;
  HealthView health() const;
  Strategy strategy() const { return setup_.strategy; }  // The default one.
  // Text and tokens published so far, for a subscriber that comes later; valid until the next step.
  // Null: the task is not known.
  const std::string* said_text(const TaskId& id) const;
  const std::vector<int32_t>* said_tokens(const TaskId& id) const;
  const std::vector<TokenLogprobs>* said_logprobs(const TaskId& id) const;
  const std::vector<TokenLogprobs>* said_prompt_logprobs(const TaskId& id) const;

  size_t waiting() const { return waiting_.queue().size(); }
  // Tasks counted by the queue bound: none is added at max_queue_size or above, which a reload may
  // have lowered below what is held.
  size_t held() const { return admissions_.held(); }
  size_t unfinished() const { return tasks_.unfinished(); }
  size_t running(ReplicaId replica) const;
  uint64_t epoch() const { return epoch_; }  // Events stepped.
  // Sites that were looked at for placement so far: how much work an event makes.
  uint64_t looks() const { return view_.looks(); }
  // Everything that decides, part by part, as bytes; and a hash of it, equal in two runs of the
  // same events.  O(state).
  std::string save() const;
  uint64_t hash() const;
  // Into a core that was just made from the same setup and has stepped nothing: it goes on as the
  // saved one would, except that it knows nothing of what tasks that are over had said, and of why
  // devices were chosen before.  Errors: kInvalid; the core is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.  O(state).

 private:
  void on(AdmissionRequested& event, Step& step) { intake_.admit(event, step); }
  void on(AdmissionReleased& event, Step&) { admissions_.give_back(event.ticket); }
  void on(TasksSubmitted& event, Step& step) { intake_.submit(event, epoch_ - 1, step); }
  void on(JournalWritten& event, Step& step);
  void on(CancelRequested& event, Step& step);
  void on(WorkerConnected& event, Step& step) { replicas_.connected(event, step.now); }
  void on(WorkerReported& event, Step& step) { replicas_.reported(event, step); }
  void on(WorkerLost& event, Step& step) { replicas_.lost(event, step); }
  void on(DeviceSampled& event, Step& step);
  void on(StrategyChanged& event, Step&) { setup_.strategy = event.strategy; }
  void on(ConcurrencyChanged& event, Step& step);
  void on(LimitsChanged& event, Step& step);
  void on(DrainRequested&, Step&) { stage_.draining = true; }
  void on(Started& event, Step& step);
  void on(TasksRestored& event, Step& step);
  void on(StopRequested& event, Step& step);
  void on(Tick&, Step&) {}
  void on(AdapterLoadRequested& event, Step& step);
  void on(AdapterUnloadRequested& event, Step& step);
  void on(ScaleRequested& event, Step& step);
  void scale(const Autoscalers::Change& change, Step& step);
  void on_time(Step& step);
  void expire(Step& step);
  void limits_changed();
  Result<uint32_t> named_deployment(const std::string& name) const;  // Errors: kNotFound.
  Result<uint32_t> adapter_deployment(const std::string& name) const;
  static auto saved(auto& self);
  // Calls `visit` with each part that has a state of its own.
  static void visit_parts(auto& self, auto visit);

  CoreSetup setup_;  // With what LimitsChanged and others changed since.
  Stage stage_;
  TimeUs now_ = 0;
  uint64_t epoch_ = 0;
  TimeUs expire_at_ = 0;  // Deadlines are not looked at before.

  ChangeSet changed_devices_;
  MemoryLedger ledger_;
  Fleet fleet_;
  TaskTable tasks_;
  WaitingTasks waiting_;
  Admissions admissions_;
  JournalQueue journal_;
  Adapters adapters_;
  Autoscalers autoscalers_;
  PlacementView view_;

  TaskLife life_;
  Dispatcher dispatcher_;
  Intake intake_;
  ReplicaLife replicas_;
};

}  // namespace altlas::control
