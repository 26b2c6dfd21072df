// EventLog: every event that entered the core, with its time: a ring in memory and, with a data
// directory, two files.
//
// A file is a header (magic, fingerprint of this build's types), the CoreSetup, a snapshot of the
// core (the first file of a run has none), then frames of (length, hash, time, event). When a file
// is full it becomes the older one, `path`.1, and a new one begins with a snapshot of the core as
// it is then; so the newest events can always be replayed, within file_bytes_max for both files.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "control/core_setup.h"
#include "control/events.h"
#include "control/views.h"

namespace altlas::control {

class Core;

// Binary, of this build's event types only: the fingerprint of their layout is in the file's
// header.
std::string encode(const Event& event);
Result<Event> decode_event(std::string_view bytes);  // Errors: kInvalid.
std::string encode(const CoreSetup& setup);
Result<CoreSetup> decode_setup(std::string_view bytes);
uint64_t event_fingerprint();

struct LoggedEvent {
  TimeUs time = 0;
  Event event;
};

// Threads: one.
class EventLog {
 public:
  struct Options {
    std::string path;                    // Empty: no file. What is there is moved to `path`.1.
    uint64_t file_bytes_max = 64 << 20;  // The limit of both files together; each gets half.
    size_t ring_bytes_max = 4 << 20;
  };
  // Errors: kIo.
  static Result<std::unique_ptr<EventLog>> open(Options options, const CoreSetup& setup);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Never fails: what the file does not take (the disk is full, or there was no snapshot to begin a
  // new file with) is counted in dropped().
  void append(TimeUs time, const Event& event);
  // True: the file is full, and the next append needs rotate() before it.
  bool wants_snapshot() const { return wants_snapshot_; }
  // The latest rotate() said kTooLarge.
  bool rests() const { return refused_bytes_ > 0; }
  // Begins a new file with the core's state after all events so far; the file so far becomes the
  // older one.  Errors: kIo, and kTooLarge where the snapshot would take more than half of a file:
  // rotations would then follow each other so soon that the caller did little else. The next try is
  // due after as many bytes of events as a file or that snapshot has.
  Result<void> rotate(const Core& core);

  // For all events so far, in order: equal in two runs with equal events.
  uint64_t hash() const { return hash_; }
  uint64_t appended() const { return appended_; }
  uint64_t dropped() const { return dropped_; }
  uint64_t rotations() const { return rotations_; }
  // The latest events still in the ring, oldest first.
  Result<void> visit_ring(const std::function<void(LoggedEvent)>& visit) const;
  void flush();
  const std::string& path() const { return options_.path; }  // Empty: there is no file.

 private:
  EventLog(Options options, std::string setup)
      : options_(std::move(options)), setup_(std::move(setup)) {}
  // The most bytes that one file takes.
  uint64_t file_most() const { return options_.file_bytes_max / 2; }
  Result<void> begin_file(std::string_view snapshot);
  // hash: of the bytes.
  void write_event(const std::string& bytes, uint64_t hash);

  const Options options_;
  const std::string setup_;  // Encoded.
  std::FILE* file_ = nullptr;
  uint64_t file_bytes_ = 0;
  uint64_t skipped_bytes_ = 0;  // Bytes of events since the file was full.
  uint64_t refused_bytes_ = 0;  // The size of the latest snapshot that was too large.
  uint64_t hash_ = 0, appended_ = 0, dropped_ = 0, rotations_ = 0;
  bool wants_snapshot_ = false;
  bool file_ended_ = false;  // Nothing more goes into it.
  std::deque<std::string> ring_;
  size_t ring_bytes_ = 0;
};

// What a file begins with.
struct EventLogHead {
  CoreSetup setup;
  std::string snapshot;  // What Core::save() gave; empty: the log begins with the core.
};

// The file's head, then each event in order until its end; a frame that was cut off by a crash is
// the end. Errors: kIo, kInvalid for a file of another build or a corrupt frame.
Result<EventLogHead> read_event_log(const std::string& path,
                                    const std::function<void(LoggedEvent)>& visit);

// What a replay has found.
struct Replayed {
  uint64_t hash = 0;    // The hash of the core at the end.
  uint64_t events = 0;  // Stepped.
  std::string path;     // The file that the replay began with.
  std::string damage;   // Why a newer file was not used; empty: the newest was.
};
// Steps the newest file whose start is whole through a core; where that is the older one, only as
// far as it goes.  Errors: those of the newest file where neither can be replayed.
Result<Replayed> replay_event_log(const std::string& path);

// The two files of a log, open: what they say stays readable when the log goes on and is rotated.
struct EventLogFiles {
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  std::string path;
  File newest{nullptr, std::fclose}, before{nullptr, std::fclose};  // Null: there is none.
};
EventLogFiles open_event_log(const std::string& path);

// Why a task's device was chosen, and its moves, as the log tells it: replays the files that
// mention the task. Takes seconds for full files: not for a thread that others wait for. `stop`:
// gives up early.  Errors: kNotFound, kUnavailable after a stop, or those of replay where no file
// can be read.
Result<TaskStory> explain_from_event_log(EventLogFiles files, const TaskId& task,
                                         const std::atomic<bool>& stop);
// The story of `before`, and what `after` adds.
TaskStory joined(TaskStory before, const TaskStory& after);

}  // namespace altlas::control
