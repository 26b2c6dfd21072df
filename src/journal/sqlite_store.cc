#include "journal/sqlite_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "base/private_file.h"
#include "journal/codec.h"
#include "journal/lock_file.h"
#include "journal/mark.h"
#include "journal/sqlite_handle.h"

namespace altlas::journal {
namespace {

// Rows of `event` are only appended, at the end of its B-tree. There is no index, so a commit
// writes as few pages as possible. Memory knows which rows a task has (see forget()).
constexpr const char* kSchema =
    "CREATE TABLE event(row INTEGER PRIMARY KEY, task BLOB NOT NULL, payload BLOB NOT NULL);"
    "CREATE TABLE value(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

// FULL means that every commit is synchronised to the disk.
constexpr const char* kSettings =
    "PRAGMA synchronous=FULL;"
    "PRAGMA wal_autocheckpoint=1000;"  // Pages; the writing connection checkpoints in its commit.
    "PRAGMA journal_size_limit=67108864;"  // The WAL file shrinks to 64 MiB after a burst.
    "PRAGMA cell_size_check=ON;"
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA temp_store=MEMORY;";

constexpr uint64_t kLowRoomBytes = uint64_t{16} << 20;

// Returns a hash of the row that is never 0, since 0 stands for no row.
uint64_t row_hash(std::string_view task, std::string_view payload) {
  return Hasher().add(task).add(payload).value() | 1;
}

Result<int64_t> read_pragma(sqlite3* database, const char* sql) {
  ALTLAS_TRY(const Statement statement, prepare(database, sql));
  if (sqlite3_step(statement.get()) != SQLITE_ROW) return sqlite_error(database, sql);
  return sqlite3_column_int64(statement.get(), 0);
}

// EXCLUSIVE comes before WAL: then there is no shared-memory file, and no second process gets in.
// Errors: the VFS has no WAL.
Result<void> use_wal(sqlite3* database, std::string_view doing) {
  ALTLAS_TRY_VOID(execute(database, "PRAGMA locking_mode=EXCLUSIVE", doing));
  ALTLAS_TRY(const Statement statement, prepare(database, "PRAGMA journal_mode=WAL"));
  if (sqlite3_step(statement.get()) != SQLITE_ROW) return sqlite_error(database, doing);
  if (column_blob(statement, 0) != "wal")
    return io_error(fmt::format("{}: its file system has no WAL", doing));
  return {};
}

// A writing transaction, which is rolled back unless commit() succeeded.
class Transaction {
 public:
  explicit Transaction(sqlite3* database) : database_(database) {}
  ~Transaction() {
    // SQLite itself rolls back after some errors; a second rollback is then a harmless error.
    if (open_ && sqlite3_get_autocommit(database_) == 0)
      sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  Result<void> begin() {
    ALTLAS_TRY_VOID(execute(database_, "BEGIN IMMEDIATE", "while starting a transaction"));
    open_ = true;
    return {};
  }
  Result<void> commit() {
    ALTLAS_TRY_VOID(execute(database_, "COMMIT", "while committing"));
    open_ = false;
    return {};
  }

 private:
  sqlite3* database_;
  bool open_ = false;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(SqliteOptions options, LockFile lock)
      : options_(std::move(options)), lock_(std::move(lock)) {}

  Result<void> open();
  Result<void> append(std::span<const TaskEvent> events) override;
  Result<void> replay(const std::function<Result<void>(TaskEvent)>& visit) override;
  Result<void> forget(std::span<const TaskId> tasks) override;
  Result<void> put_value(std::string_view name, std::string_view value) override;
  Result<std::string> get_value(std::string_view name) override;
  bool room_is_low() const override;

 private:
  Result<void> open_mark();
  Result<void> close_to_others() const;
  // Returns true for a file without tables.
  Result<bool> check_file();
  Result<void> make_tables();
  Result<void> check_loss(bool empty);
  // Returns a row's hash, or 0 if there is no such row.
  Result<uint64_t> hash_of_row(int64_t row);
  void move_mark(const Mark& mark);
  Result<void> index_rows();
  // Adds where an error happened. Its code is kIo unless the file is damaged.
  Error failed(std::string_view doing) const;

  SqliteOptions options_;
  LockFile lock_;
  MarkFile mark_;  // There is none for a store with a VFS of its own.
  bool mark_failed_ = false;
  // The highest row ever used, even if its event is forgotten by now.
  int64_t last_row_ = 0;
  Database database_;
  Statement insert_event_, delete_event_, put_value_, get_value_;
  // The rows of each task, which are collected at the first forget(); before that they cost
  // nothing.
  bool rows_known_ = false;
  std::map<TaskId, std::vector<int64_t>> rows_of_;
};

Error SqliteStore::failed(std::string_view doing) const {
  Error error =
      sqlite_error(database_.get(), fmt::format("journal '{}': {}", options_.path, doing));
  if (error.code() == ErrorCode::kInvalid) return error;
  return Error(ErrorCode::kIo, error.message());
}

// Makes the file, and keeps it and the files that SQLite puts beside it from others. SQLite itself
// would make them with the umask's mode, and follow links. The log gets the mode of the file.
Result<void> SqliteStore::close_to_others() const {
  if (!options_.vfs.empty()) return {};
  for (const char* suffix : {"", "-wal", "-journal", "-shm"}) {
    const int make = *suffix == 0 ? O_CREAT : 0;
    const Result<int> file = open_private_file(options_.path + suffix, O_RDWR | make);
    if (file.ok())
      ::close(*file);
    else if (make != 0 || file.error().code() != ErrorCode::kNotFound)
      return Error(
          file.error().code() == ErrorCode::kInvalid ? ErrorCode::kInvalid : ErrorCode::kIo,
          "journal: " + file.error().message());
  }
  return {};
}

// A journal that vanished as a whole must not be made anew unnoticed.
Result<void> SqliteStore::open_mark() {
  if (!options_.vfs.empty()) return {};
  ALTLAS_TRY(mark_, MarkFile::open(options_.path + ".mark"));
  struct stat info = {};
  if (mark_.last() && mark_.last()->row > 0 && ::stat(options_.path.c_str(), &info) != 0)
    return check_loss(/*empty=*/true);
  return {};
}

Result<void> SqliteStore::open() {
  ALTLAS_TRY_VOID(open_mark());
  ALTLAS_TRY_VOID(close_to_others());
  sqlite3* raw = nullptr;
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(options_.path.c_str(), &raw, flags,
                                   options_.vfs.empty() ? nullptr : options_.vfs.c_str());
  database_.reset(raw);
  if (code != SQLITE_OK)
    return sqlite_error(raw, fmt::format("can't open journal '{}'", options_.path));
  const std::string opening = fmt::format("can't open journal '{}'", options_.path);
  sqlite3* database = database_.get();
  // The log of a refused journal stays as it is: the journal may be repaired, or its end may be
  // found elsewhere.
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  ALTLAS_TRY_VOID(use_wal(database, opening));
  ALTLAS_TRY(const bool empty, check_file());
  ALTLAS_TRY_VOID(check_loss(empty));
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  ALTLAS_TRY_VOID(execute(database, kSettings, opening));
  // What an earlier process could not synchronise is readable now but would be lost with the next
  // power cut, so it is written anew.
  ALTLAS_TRY_VOID(execute(database, "PRAGMA wal_checkpoint(TRUNCATE)", opening));
  if (options_.pages_max > 0) {
    const std::string limit = fmt::format("PRAGMA max_page_count={}", options_.pages_max);
    ALTLAS_TRY_VOID(execute(database, limit.c_str(), opening));
  }
  if (empty) ALTLAS_TRY_VOID(make_tables());
  ALTLAS_TRY(insert_event_,
             prepare(database, "INSERT INTO event(row, task, payload) VALUES(?1, ?2, ?3)"));
  ALTLAS_TRY(delete_event_, prepare(database, "DELETE FROM event WHERE row = ?1"));
  ALTLAS_TRY(put_value_,
             prepare(database, "INSERT OR REPLACE INTO value(name, value) VALUES(?1, ?2)"));
  ALTLAS_TRY(get_value_, prepare(database, "SELECT value FROM value WHERE name = ?1"));
  // The checkpoint does not synchronise the log that it cut. A commit does, and it comes before
  // anybody is told what the journal holds.
  ALTLAS_TRY_VOID(put_value("opened", "1"));
  return {};
}

Result<bool> SqliteStore::check_file() {
  sqlite3* database = database_.get();
  ALTLAS_TRY(const int64_t tables, read_pragma(database, "SELECT count(*) FROM sqlite_master"));
  ALTLAS_TRY(const int64_t application, read_pragma(database, "PRAGMA application_id"));
  ALTLAS_TRY(const int64_t version, read_pragma(database, "PRAGMA user_version"));
  if (tables == 0 && application == 0 && version == 0) return true;
  if (application != kSqliteApplicationId)
    return invalid(
        fmt::format("'{}' is a SQLite file, but not a journal of altlas: choose another --data-dir",
                    options_.path));
  if (version != kSqliteSchemaVersion)
    return invalid(fmt::format("journal '{}' has version {}, this altlas reads version {}",
                               options_.path, version, kSqliteSchemaVersion));
  return false;
}

Result<void> SqliteStore::make_tables() {
  Transaction transaction(database_.get());
  ALTLAS_TRY_VOID(transaction.begin());
  ALTLAS_TRY_VOID(execute(database_.get(), kSchema, "while making a new journal"));
  const std::string marks = fmt::format("PRAGMA application_id={}; PRAGMA user_version={}",
                                        kSqliteApplicationId, kSqliteSchemaVersion);
  ALTLAS_TRY_VOID(execute(database_.get(), marks.c_str(), "while making a new journal"));
  return transaction.commit();
}

Result<uint64_t> SqliteStore::hash_of_row(int64_t row) {
  ALTLAS_TRY(const Statement select,
             prepare(database_.get(), "SELECT task, payload FROM event WHERE row = ?1"));
  sqlite3_bind_int64(select.get(), 1, row);
  const int code = sqlite3_step(select.get());
  if (code == SQLITE_DONE) return 0;
  if (code != SQLITE_ROW) return failed(fmt::format("while reading row {}", row));
  return row_hash(column_blob(select, 0), column_blob(select, 1));
}

// Sets last_row_. Errors: an event that the mark knows is neither here nor forgotten.
Result<void> SqliteStore::check_loss(bool empty) {
  uint64_t marked_hash = 0;
  const Mark mark = mark_.last().value_or(Mark{});
  if (!empty) {
    sqlite3* database = database_.get();
    ALTLAS_TRY(const int64_t last,
               read_pragma(database, "SELECT coalesce(max(row), 0) FROM event"));
    ALTLAS_TRY(const int64_t forgotten,
               read_pragma(database,
                           "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM value "
                           "WHERE name = 'forgotten_row'"));
    last_row_ = std::max(last, forgotten);
    ALTLAS_TRY(marked_hash, hash_of_row(mark.row));
  }
  const bool short_of = last_row_ < mark.row;
  if (!short_of && (marked_hash == 0 || marked_hash == mark.hash)) return {};
  const std::string what =
      short_of ? fmt::format(
                     "journal '{}' ends at event {}, but event {} was written: {} events "
                     "are lost (its file or its -wal was cut, changed, removed or "
                     "replaced by an older one)",
                     options_.path, last_row_, mark.row, mark.row - last_row_)
               : fmt::format(
                     "journal '{}' has another event {} than was written last: it was "
                     "replaced by another one",
                     options_.path, mark.row);
  if (!options_.accept_loss)
    return io_error(what +
                    "; put the right files back, or accept that tasks are lost with "
                    "--accept-loss");
  log::error("{}; accepted (--accept-loss)", what);
  ALTLAS_TRY(const uint64_t hash, empty ? Result<uint64_t>(0) : hash_of_row(last_row_));
  return mark_.write({last_row_, hash});
}

// A journal whose mark can't be moved is no worse than one without a mark.
void SqliteStore::move_mark(const Mark& mark) {
  if (!options_.vfs.empty()) return;
  const Result<void> written = mark_.write(mark);
  if (!written.ok() && !mark_failed_) log::warn("{}", written.error().message());
  mark_failed_ = !written.ok();
}

Result<void> SqliteStore::append(std::span<const TaskEvent> events) {
  if (events.empty()) return {};
  Transaction transaction(database_.get());
  if (!transaction.begin().ok()) return failed("while appending");
  Mark mark{last_row_, 0};
  for (const TaskEvent& event : events) {
    const std::string task = encode_task_id(event.task), payload = encode_event(event);
    const ScopedReset reset(insert_event_);
    sqlite3_bind_int64(insert_event_.get(), 1, ++mark.row);
    bind_blob(insert_event_, 2, task);
    bind_blob(insert_event_, 3, payload);
    if (sqlite3_step(insert_event_.get()) != SQLITE_DONE) return failed("while appending");
    if (mark.row == last_row_ + static_cast<int64_t>(events.size()))
      mark.hash = row_hash(task, payload);
  }
  if (!transaction.commit().ok()) return failed("while committing");
  for (const TaskEvent& event : events) {
    ++last_row_;
    if (rows_known_) rows_of_[event.task].push_back(last_row_);
  }
  move_mark(mark);
  return {};
}

Result<void> SqliteStore::replay(const std::function<Result<void>(TaskEvent)>& visit) {
  ALTLAS_TRY(const Statement select,
             prepare(database_.get(), "SELECT row, task, payload FROM event ORDER BY row"));
  int64_t row = 0;
  for (;;) {
    const int code = sqlite3_step(select.get());
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return failed(fmt::format("while reading after row {}", row));
    row = sqlite3_column_int64(select.get(), 0);
    const auto where = [&] { return fmt::format("journal '{}' row {}", options_.path, row); };
    Result<TaskId> task = decode_task_id(column_blob(select, 1));
    if (!task.ok()) return Error(task.error()).with_context(where());
    Result<TaskEvent> event = decode_event(*task, column_blob(select, 2));
    if (!event.ok()) return Error(event.error()).with_context(where());
    ALTLAS_TRY_VOID(visit(std::move(event).value()));
  }
}

Result<void> SqliteStore::index_rows() {
  ALTLAS_TRY(const Statement select,
             prepare(database_.get(), "SELECT row, task FROM event ORDER BY row"));
  rows_of_.clear();
  for (;;) {
    const int code = sqlite3_step(select.get());
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_ROW) return failed("while looking for the rows of tasks");
    ALTLAS_TRY(const TaskId task, decode_task_id(column_blob(select, 1)));
    rows_of_[task].push_back(sqlite3_column_int64(select.get(), 0));
  }
  rows_known_ = true;
  return {};
}

Result<void> SqliteStore::forget(std::span<const TaskId> tasks) {
  if (!rows_known_) ALTLAS_TRY_VOID(index_rows());
  Transaction transaction(database_.get());
  if (!transaction.begin().ok()) return failed("while forgetting");
  bool last_goes = false;
  for (const TaskId& task : tasks) {
    const auto found = rows_of_.find(task);
    if (found == rows_of_.end()) continue;
    for (const int64_t row : found->second) {
      const ScopedReset reset(delete_event_);
      sqlite3_bind_int64(delete_event_.get(), 1, row);
      if (sqlite3_step(delete_event_.get()) != SQLITE_DONE) return failed("while forgetting");
      last_goes |= row == last_row_;
    }
  }
  // Without its last row the journal would look as if its end were lost.
  if (last_goes) ALTLAS_TRY_VOID(put_value("forgotten_row", std::to_string(last_row_)));
  if (!transaction.commit().ok()) return failed("while forgetting");
  for (const TaskId& task : tasks) rows_of_.erase(task);
  return {};
}

Result<void> SqliteStore::put_value(std::string_view name, std::string_view value) {
  const ScopedReset reset(put_value_);
  sqlite3_bind_text64(put_value_.get(), 1, name.data(), name.size(), SQLITE_STATIC, SQLITE_UTF8);
  bind_blob(put_value_, 2, value);
  if (sqlite3_step(put_value_.get()) != SQLITE_DONE)
    return failed(fmt::format("while writing value '{}'", name));
  return {};
}

Result<std::string> SqliteStore::get_value(std::string_view name) {
  const ScopedReset reset(get_value_);
  sqlite3_bind_text64(get_value_.get(), 1, name.data(), name.size(), SQLITE_STATIC, SQLITE_UTF8);
  const int code = sqlite3_step(get_value_.get());
  if (code == SQLITE_DONE)
    return not_found(fmt::format("no value named '{}' in the journal", name));
  if (code != SQLITE_ROW) return failed(fmt::format("while reading value '{}'", name));
  return std::string(column_blob(get_value_, 0));
}

bool SqliteStore::room_is_low() const {
  struct statvfs info = {};
  return options_.vfs.empty() && ::statvfs(options_.path.c_str(), &info) == 0 &&
         uint64_t{info.f_bavail} * info.f_frsize < kLowRoomBytes;
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const SqliteOptions& options) {
  LockFile lock;
  if (options.vfs.empty()) {
    const std::string folder = std::filesystem::path(options.path).parent_path().string();
    ALTLAS_TRY_VOID(check_private_folder(folder.empty() ? "." : folder, "journal"));
    ALTLAS_TRY(lock, LockFile::acquire(options.path + ".lock"));
  }
  auto store = std::make_unique<SqliteStore>(options, std::move(lock));
  ALTLAS_TRY_VOID(store->open());
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, const std::string& vfs) {
  SqliteOptions options;
  options.path = path;
  options.vfs = vfs;
  return open_sqlite_store(options);
}

}  // namespace altlas::journal
