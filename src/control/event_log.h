// EventLog: every event that entered the core, with its time: a ring in memory and, with a data
// directory, a file. A file is a header, the CoreSetup, then frames of (length, hash, time, event);
// replay() steps them through a fresh core.
#pragma once

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

namespace altlas::control {

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
    std::string path;  // Empty: no file. What is there is moved to `path`.1.
    uint64_t file_bytes_max =
        64 << 20;  // Then nothing more is written: a log with its start can be replayed.
    size_t ring_bytes_max = 4 << 20;
  };
  // Errors: kIo.
  static Result<std::unique_ptr<EventLog>> open(Options options, const CoreSetup& setup);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Never fails: what the file does not take (full, or the disk is) is counted in dropped().
  void append(TimeUs time, const Event& event);
  // Of all events so far, in order: equal in two runs with equal events.
  uint64_t hash() const { return hash_; }
  uint64_t appended() const { return appended_; }
  uint64_t dropped() const { return dropped_; }
  // The latest events still in the ring, oldest first.
  Result<void> visit_ring(const std::function<void(LoggedEvent)>& visit) const;
  void flush();

 private:
  EventLog(Options options, std::FILE* file) : options_(std::move(options)), file_(file) {}
  const Options options_;
  std::FILE* file_ = nullptr;
  uint64_t file_bytes_ = 0;
  uint64_t hash_ = 0, appended_ = 0, dropped_ = 0;
  bool file_ended_ = false;
  std::deque<std::string> ring_;
  size_t ring_bytes_ = 0;
};

// The file's setup, then each event in order until its end; a frame that was cut off by a crash is
// the end. Errors: kIo, kInvalid for a file of another build or a corrupt frame.
Result<CoreSetup> read_event_log(const std::string& path,
                                 const std::function<void(LoggedEvent)>& visit);
// Steps the file through a fresh core.  Returns its hash.
Result<uint64_t> replay_event_log(const std::string& path);

}  // namespace altlas::control
