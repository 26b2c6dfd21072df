// The journal in a SQLite file, with the settings that tests and the simulator change.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "journal/store.h"

namespace altlas::journal {

// Written to the file's header: "altj", and the layout of the tables.
inline constexpr int32_t kSqliteApplicationId = 0x616c746a;
inline constexpr int32_t kSqliteSchemaVersion = 1;

struct SqliteOptions {
  std::string path;
  std::string
      vfs;  // A registered SQLite VFS; empty for the default, with a lock file beside the journal.
  bool accept_loss = false;  // Open it also when events that were durable are gone.
  // 0: no limit; otherwise the file's size in pages of 4096 bytes. Full: kIo.
  int64_t pages_max = 0;
};

// As open_sqlite_store(path, vfs).
Result<std::unique_ptr<Store>> open_sqlite_store(const SqliteOptions& options);

}  // namespace altlas::journal
