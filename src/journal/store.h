// Store: where journal events live. Synchronous; one thread at a time. JournalWriter (writer.h)
// puts a thread before it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "journal/events.h"

namespace altlas::journal {

class Store {
 public:
  virtual ~Store() = default;
  // All of `events` or none, durable when it returns ok (SQLite: synchronous=FULL).  Errors: kIo
  // (disk full, …): nothing was written and a later call may succeed; kInvalid: the file is
  // damaged.
  virtual Result<void> append(std::span<const TaskEvent> events) = 0;
  // Every event that was not forgotten, in the order written.  Errors: kIo, kInvalid for an
  // entry that can't be read, and what `visit` returns.
  virtual Result<void> replay(const std::function<Result<void>(TaskEvent)>& visit) = 0;
  // Forgets every event of these tasks (over, and beyond the number kept).
  virtual Result<void> forget(std::span<const TaskId> tasks) = 0;
  // Named small values that survive (counters, checkpoints).
  virtual Result<void> put_value(std::string_view name, std::string_view value) = 0;
  virtual Result<std::string> get_value(std::string_view name) = 0;  // Errors: kNotFound.
  // Whether its disk is nearly full: the next append may fail.
  virtual bool room_is_low() const { return false; }
};

// Keeps everything in memory: `--data-dir none`, and tests.
std::unique_ptr<Store> open_memory_store();
// A SQLite file, locked against a second process.  `vfs`: name of a registered SQLite VFS, empty
// for the default. Errors: kConflict if another process has it, kIo also when events that were
// durable are gone (mark.h), kInvalid for a file of another version or kind.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path,
                                                 const std::string& vfs = "");

}  // namespace altlas::journal
