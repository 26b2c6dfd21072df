// TaskTable: every task that the core knows, from its submission until it is forgotten, and the
// ways to find one: by number, id, idempotency key, batch group, deadline, owner and status.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "control/kept_tasks.h"
#include "control/key_book.h"
#include "control/views.h"
#include "task/task.h"

namespace altlas::control {

inline constexpr size_t kExplanationsMax = 10'000;  // Choices of the latest tasks that are kept.
inline constexpr size_t kMovesMax = 8;              // Moves of one task that are kept, the latest.
// Tasks that are over and not durable, still readable.
inline constexpr size_t kPassingTasksMax = 256;
// The limit of their texts and log-probabilities.
inline constexpr uint64_t kPassingBytesMax = 4 << 20;
inline constexpr size_t kForgottenAtOnceMax = 1000;  // Durable tasks forgotten in one step.
inline constexpr size_t kKeysMax = 100'000;  // Idempotency keys of tasks that are forgotten.

// A task's way: journaling -> waiting (on its site) -> running -> ending (its end is being
// journalled) -> over.
enum class TaskPhase : uint8_t { kJournaling, kWaiting, kRunning, kEnding, kOver };

struct Task {
  uint64_t number = 0;  // In the order of submission; the key of everything inside the core.
  TaskSpec spec;        // Its prompt is dropped when the task is over.
  TaskPhase phase = TaskPhase::kJournaling;
  TaskStatus status = TaskStatus::kQueued;  // As shown.
  uint32_t site = 0;                        // Where it waits, runs or ran (fleet.h).
  TimeUs created = 0;
  std::optional<TimeUs> started, finished, first_token;
  std::vector<int32_t> generated;  // As seen, also if not yet published (tokens: sync).
  std::string text;                // Published.
  // Published, where asked for; those of a durable task are dropped when it is over.
  std::vector<TokenLogprobs> logprobs;
  std::vector<TokenLogprobs> prompt_logprobs;  // Published, where asked for.
  uint64_t text_seen = 0;                      // Bytes seen, published or not.
  // The text of a restored task's first tokens was said before this server started.
  bool text_unknown = false;
  uint32_t prompt_tokens = 0;
  uint32_t tokens_end = 0;              // Generated, once over.
  uint32_t journaled = 0;               // Tokens that are durable …
  uint32_t flushing_to = 0;             // … or on their way, when above it.
  std::vector<TokenDelta> unpublished;  // With tokens: sync, until they are durable.
  SequenceId sequence;                  // Its latest run.
  uint32_t slot = 0;                    // Where its latest run is.
  uint32_t crashes = 0;                 // Crashes of replicas that it ran on.
  uint64_t tokens_ahead = 0;            // Counted in the site's tokens_ahead.
  bool reserved = false;                // Its estimated_memory is in the device's ledger.
  bool cancel_asked = false;            // While journaling.
  bool held = false;    // Counted by the queue bound: it was not promised a start at once.
  bool pinned = false;  // Stays on its device: asked for, mapped, or of an unsplit batch.
  TaskStatus end = TaskStatus::kCompleted;  // From kEnding on.
  TaskResult result;
  ErrorCode error_code = ErrorCode::kInternal;
  std::string error;
  std::string note;
  std::vector<Move> moves;            // Between devices, while it waited.
  std::vector<uint64_t> submissions;  // Tickets that wait for its acceptance.
};

// Whether the task is not decided yet: it can still be cancelled, and can still fail.
inline bool is_open(const Task& task) { return task.phase < TaskPhase::kEnding; }

// Threads: one. References to tasks stay valid until the task is removed. Saved are tasks without
// what they said once they are over, and no explanations: these decide nothing, and the event log
// has them.
class TaskTable {
 public:
  // A new task in phase journaling, with the next number. Its id is not in the table yet.
  Task& add(TaskSpec spec, TimeUs now);
  // Takes a task out that was never accepted, or that is over.
  void remove(Task& task);

  Task& at(uint64_t number) { return tasks_.at(number); }
  const Task& at(uint64_t number) const { return tasks_.at(number); }
  Task* find(uint64_t number);  // Null: unknown.
  const Task* find(const TaskId& id) const;
  Task* find(const TaskId& id);
  // The task that the spec repeats, by owner and idempotency key: its number, or what is left of a
  // forgotten one; neither where it repeats none. A key stands for its task while the task goes on
  // and `key_ttl_us` from its acceptance on.
  // Errors: kConflict where the key stands for another body, kInternal for an id that is taken.
  struct Known {
    uint64_t number = 0;
    const KeyRecord* left = nullptr;  // Valid until the table changes.
  };
  Result<Known> known(const TaskSpec& spec, TimeUs now, int64_t key_ttl_us) const;
  const std::map<uint64_t, Task>& all() const { return tasks_; }
  size_t unfinished() const { return unfinished_; }

  // The unfinished tasks of a batch group, in the order of submission.
  std::span<const uint64_t> group(uint64_t batch_group) const;
  void leave_group(const Task& task);

  // Deadlines of running tasks.
  void watch_deadline(const Task& task);
  void unwatch_deadline(const Task& task);
  TimeUs next_deadline() const {
    return deadlines_.empty() ? INT64_MAX : deadlines_.begin()->first;
  }
  Task* past_deadline(TimeUs now);  // The one longest past; null: none is.

  // Changes what is shown. False: it was shown already.
  bool show(Task& task, TaskStatus status);
  // The task is over; from now on it may be forgotten.
  void keep(Task& task);
  // Removes tasks that are over beyond the number and the bytes kept, the oldest of whoever has
  // most first. Keys that still stand outlive their tasks. device_of: where a task ran.
  struct Kept {
    uint64_t tasks_max = 0;
    uint64_t bytes_max = 0;
    int64_t key_ttl_us = 0;
  };
  struct Forgotten {
    std::vector<TaskId> tasks;     // Durable ones, whose keys stand no more.
    std::vector<TaskId> with_key;  // Whose keys still stand.
  };
  Forgotten forget_old(const Kept& kept, TimeUs now,
                       const std::function<DeviceId(const Task&)>& device_of);

  // Why a task's device was chosen; the choices of the latest kExplanationsMax tasks are kept.
  void keep_explanation(const Task& task, Explanation explanation);
  const Explanation* explanation(const Task& task) const;  // Null: it is not kept any more.

  // The numbers of durable tasks that match, newest first, and how many match in all.
  std::pair<std::vector<uint64_t>, uint64_t> list(const TaskFilter& filter) const;

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  void enter(const Task& task);
  bool holds_key(const Task& task, TimeUs now, int64_t key_ttl_us) const;
  using Listing = std::array<std::set<uint64_t>, 5>;  // By status.
  std::map<uint64_t, Task> tasks_;
  std::map<TaskId, uint64_t> number_of_;
  std::map<std::pair<std::string, std::string>, uint64_t> by_key_;  // (owner, idempotency_key).
  std::map<std::string, Listing> listing_;                          // Owner to durable tasks.
  std::map<uint64_t, std::vector<uint64_t>> groups_;                // By batch group.
  std::set<std::pair<TimeUs, uint64_t>> deadlines_;                 // Deadlines of running tasks.
  std::map<uint64_t, Explanation> explanations_;
  KeptTasks kept_, passing_;  // Over: durable tasks, other tasks.
  KeyBook keys_;              // The keys of durable tasks that are forgotten.
  TimeUs keys_trimmed_ = 0;
  uint64_t next_task_ = 1;
  size_t unfinished_ = 0;
};

}  // namespace altlas::control
