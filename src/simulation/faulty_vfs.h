// FaultyVfs: a disk for SQLite that lives in memory and fails on purpose: errors by chance, a full
// disk, power loss that takes what was not synchronised. Everything it does follows from its seed
// and the calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"

namespace altlas::simulation {

// Chances per call, 0 … 1.
struct DiskFaults {
  double read_error = 0;
  double write_error = 0;  // A part of the data may have been written.
  double sync_error = 0;   // What it should have synchronised never will be, unless written again.
  uint64_t bytes_max = 0;  // Size of the disk; 0: no limit. Beyond: SQLITE_FULL.
};

// A registered SQLite VFS; give name() to open_sqlite_store. Files need locking_mode=EXCLUSIVE for
// WAL (no shared memory). Seeds SQLite's random numbers while it lives: one at a time, if its hash
// is to follow from its seed. Threads: one, together with every connection that uses it. Lifetime:
// beyond those connections (checked).
class FaultyVfs {
 public:
  explicit FaultyVfs(uint64_t seed);
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  // Unique in the process.
  const std::string& name() const;
  // From the next call on.
  void set_faults(const DiskFaults& faults);
  // What SQLite takes for the time.
  void set_time(TimeUs now);

  // Now: open files fail from here on (close their connections), and each file keeps what was
  // synchronised and, of the writes since, any ones by chance, the last of them perhaps in part.
  // Files that were never synchronised may be gone.
  void power_loss();
  // The same in the middle of the `calls`-th write, synchronisation, truncation or deletion from
  // now; 0: never.
  void power_loss_after(uint64_t calls);

  uint64_t power_losses() const;
  uint64_t errors() const;      // Injected, a full disk included.
  uint64_t bytes_used() const;  // Bytes of all files.
  // The hash of all files' contents, those that would survive a power loss too.
  uint64_t hash() const;

  class Disk;

 private:
  std::unique_ptr<Disk> disk_;
};

}  // namespace altlas::simulation
