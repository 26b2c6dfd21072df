// Small owners for SQLite's connection and statements; only the journal's .cc files include this.
#pragma once

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::journal {

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// What SQLite last complained of, as an Error: kConflict for a lock, kInvalid for a damaged file or
// another kind of file, otherwise kIo.
inline Error sqlite_error(sqlite3* database, std::string_view doing) {
  const int code = database != nullptr ? sqlite3_extended_errcode(database) : SQLITE_NOMEM;
  const char* text = database != nullptr ? sqlite3_errmsg(database) : "out of memory";
  ErrorCode kind = ErrorCode::kIo;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      kind = ErrorCode::kConflict;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      kind = ErrorCode::kInvalid;
      break;
    default:
      break;
  }
  return Error(kind, fmt::format("{}: {} (SQLite code {})", doing, text, code));
}

inline Result<void> execute(sqlite3* database, const char* sql, std::string_view doing) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return sqlite_error(database, doing);
  return {};
}

inline Result<Statement> prepare(sqlite3* database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK)
    return sqlite_error(database, fmt::format("while preparing '{}'", sql));
  return Statement(statement);
}

// Resets the statement at the end of a scope, so that it holds no lock and can run again.
class ScopedReset {
 public:
  explicit ScopedReset(const Statement& statement) : statement_(statement.get()) {}
  ~ScopedReset() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  ScopedReset(const ScopedReset&) = delete;
  ScopedReset& operator=(const ScopedReset&) = delete;

 private:
  sqlite3_stmt* statement_;
};

// The text must outlive the step.
inline void bind_blob(const Statement& statement, int index, std::string_view bytes) {
  sqlite3_bind_blob64(statement.get(), index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                      SQLITE_STATIC);
}
inline std::string_view column_blob(const Statement& statement, int column) {
  const void* data = sqlite3_column_blob(statement.get(), column);
  const int size = sqlite3_column_bytes(statement.get(), column);
  return data == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace altlas::journal
