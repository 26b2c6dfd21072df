// TaskLife: the steps of a task's life, each in one place: accepted, waiting, running, back from a
// lost replica, ended, over. It owns no state; it moves a task between the parts that do.
//
// Promises: each accepted task ends exactly once; a durable task's end is in the journal before
// anybody is told; published deltas have no gap and no repetition, whatever replica they come from.
#pragma once

#include <string>
#include <vector>

#include "control/core/adapters.h"
#include "control/core/admissions.h"
#include "control/core/fleet.h"
#include "control/core/journal_queue.h"
#include "control/core/memory_ledger.h"
#include "control/core/step.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"
#include "control/core_setup.h"

namespace altlas::control {

// What placement is asked for a task that is there already.
scheduler::PlacementRequest request_of(const Task& task);

// Why a task moves that waits where its deployment has no replica any more.
inline constexpr std::string_view kNotWantedHere = "no replica is wanted where it waited";

class TaskLife {
 public:
  struct Parts {
    const CoreSetup& setup;
    const Stage& stage;
    TaskTable& tasks;
    WaitingTasks& waiting;
    Fleet& fleet;
    MemoryLedger& ledger;
    JournalQueue& journal;
    Admissions& admissions;
    Adapters& adapters;
  };
  explicit TaskLife(const Parts& parts) : in_(parts) {}

  // A new task of a site. `promised`: it starts at once, so it does not count as waiting.
  Task& add(TaskSpec spec, uint32_t site, std::string note, bool promised, TimeUs now);
  void take_back(Task& task);  // Takes back a task of a submission that was refused.
  // In the queue of its site; of another one, where replicas are wanted only there.
  void wait(Task& task, bool front, TimeUs now);
  // To another site of its deployment, where it waits. `reason`: for those who ask.
  void move(Task& task, uint32_t site, std::string reason, TimeUs now);
  void start(Task& task, uint32_t slot, Step& step);
  // Its replica is gone: it waits again, before all others, with the tokens it has. A task that ran
  // at crashes_max crashes fails instead; crashed: the end was not asked for.
  void come_back(Task& task, const std::string& why, bool crashed, Step& step);
  void end(Task& task, TaskStatus end, Step& step);
  void fail(Task& task, ErrorCode code, std::string message, Step& step);
  // A task that was over when the journal was read.
  void restore_over(Task& task, Step& step);
  void forget_old(Step& step);

  // What a replica says of a run.  Errors: kInternal, the replica's: it is not to be trusted.
  Result<void> tokens(uint32_t slot, engine::SequenceTokens& report, Step& step);
  void finished(uint32_t slot, engine::SequenceFinished& report, Step& step);
  // The replica is done with a run; its task, null if it was given up or is not known.
  Task* run_over(uint32_t slot, SequenceId sequence, TimeUs now);

  // Tokens and starts that wait for the journal are written.
  void flush(Step& step);
  void end_written(const std::vector<uint64_t>& tasks, Step& step);
  void tokens_written(const std::vector<uint64_t>& tasks, Step& step);
  void tokens_not_written(const std::vector<uint64_t>& tasks, TimeUs now);
  void write_end(Task& task, Step& step);

  // Reservations: the task's, where there is room; and those that replicas and running tasks need.
  void reserve_if_room(Task& task);
  void give_up_reservations(uint32_t slot);

 private:
  DeviceId device_of(const Task& task) const { return in_.fleet.site(task.site).device; }
  void hold(Task& task, bool held);
  void reserve(Task& task);
  void unreserve(Task& task);
  void leave_phase(Task& task, Step& step);
  void over(Task& task, Step& step);
  void show(Task& task, TaskStatus status, Step& step);
  void publish(Task& task, TokenDelta delta, Step& step);
  void publish_durable(Task& task, Step& step);
  void add_tokens_to_journal(Task& task, TimeUs now);

  const Parts in_;
};

}  // namespace altlas::control
