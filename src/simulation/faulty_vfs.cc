#include "simulation/faulty_vfs.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <new>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "base/philox.h"

namespace altlas::simulation {
namespace {

constexpr int kSectorBytes = 512;

// A change that is not synchronised yet: bytes at an offset, or a new size.
struct Change {
  bool resize = false;
  uint64_t offset = 0;  // The place of the bytes, or the new size.
  std::string bytes;
};

void apply_change(const Change& change, std::string& content) {
  if (change.resize) return content.resize(change.offset);
  if (content.size() < change.offset + change.bytes.size())
    content.resize(change.offset + change.bytes.size());
  std::memcpy(content.data() + change.offset, change.bytes.data(), change.bytes.size());
}

struct File {
  std::string content;          // The content that programs see.
  std::string durable;          // The content at the last synchronisation.
  bool exists_durably = false;  // Whether its name was synchronised, with its first content.
  std::vector<Change> changes;  // The changes from `durable` to `content`, in order.
  // The locks: who holds RESERVED or more, and who SHARED or more.
  uint64_t writer = 0;              // A handle's number; 0: nobody.
  std::map<uint64_t, int> lock_of;  // By the number of the handle.
};

}  // namespace

class FaultyVfs::Disk {
 public:
  explicit Disk(uint64_t seed);
  ~Disk();

  bool chance(double probability) { return probability > 0 && random_.uniform() < probability; }
  // Counts a call that changes the disk. Returns true if the power goes in it.
  bool power_goes();
  void lose_power();
  int open(const char* path, sqlite3_file* file, int flags, int* out_flags);
  int remove(const std::string& path, bool synchronised);
  uint64_t bytes_used() const;
  uint64_t hash() const;

  sqlite3_vfs vfs = {};
  std::string name;
  DiskFaults faults;
  TimeUs now = 0;
  uint64_t generation = 0;  // Counts power losses: handles of an earlier generation are dead.
  uint64_t errors = 0;
  uint64_t calls_left = 0;  // The calls until power_goes(); 0: it never goes.
  int handles = 0;
  uint64_t handle_last = 0;
  PhiloxStream random_;
  std::map<std::string, std::shared_ptr<File>> files;
  // Durable contents of files that are removed, but not durably.
  std::map<std::string, std::string> removed;
};

namespace {

// What SQLite allocates for an open file; it is constructed in place.
struct Handle {
  sqlite3_file base;
  FaultyVfs::Disk* disk;
  std::shared_ptr<File> file;
  std::string path;
  uint64_t number;  // It counts from 1 and is never used again.
  uint64_t generation;
  bool delete_on_close;
  bool is_log;  // The file is a rollback journal or a WAL.

  bool dead() const { return generation != disk->generation; }
};

Handle& handle_of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }

int file_close(sqlite3_file* base) {
  Handle& handle = handle_of(base);
  handle.file->lock_of.erase(handle.number);
  if (handle.file->writer == handle.number) handle.file->writer = 0;
  if (handle.delete_on_close && !handle.dead()) handle.disk->remove(handle.path, false);
  --handle.disk->handles;
  handle.~Handle();
  return SQLITE_OK;
}

int file_read(sqlite3_file* base, void* to, int size, sqlite3_int64 offset) {
  Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_READ;
  if (handle.disk->chance(handle.disk->faults.read_error)) {
    ++handle.disk->errors;
    return SQLITE_IOERR_READ;
  }
  const std::string& content = handle.file->content;
  const auto begin = std::min<uint64_t>(static_cast<uint64_t>(offset), content.size());
  const auto got = std::min<uint64_t>(static_cast<uint64_t>(size), content.size() - begin);
  std::memcpy(to, content.data() + begin, got);
  if (got == static_cast<uint64_t>(size)) return SQLITE_OK;
  std::memset(static_cast<char*>(to) + got, 0, static_cast<size_t>(size) - got);
  return SQLITE_IOERR_SHORT_READ;
}

void change(File& file, Change what) {
  apply_change(what, file.content);
  file.changes.push_back(std::move(what));
}

int file_write(sqlite3_file* base, const void* from, int size, sqlite3_int64 offset) {
  Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_WRITE;
  FaultyVfs::Disk& disk = *handle.disk;
  Change what{false, static_cast<uint64_t>(offset),
              std::string(static_cast<const char*>(from), static_cast<size_t>(size))};
  const uint64_t end = what.offset + what.bytes.size(), old = handle.file->content.size();
  if (disk.faults.bytes_max > 0 && end > old &&
      disk.bytes_used() + (end - old) > disk.faults.bytes_max) {
    ++disk.errors;
    return SQLITE_FULL;
  }
  if (disk.chance(disk.faults.write_error)) {
    ++disk.errors;
    what.bytes.resize(disk.random_.below(what.bytes.size() + 1));
    if (!what.bytes.empty()) change(*handle.file, std::move(what));
    return SQLITE_IOERR_WRITE;
  }
  change(*handle.file, std::move(what));
  if (disk.power_goes()) {
    disk.lose_power();
    return SQLITE_IOERR_WRITE;
  }
  return SQLITE_OK;
}

int file_truncate(sqlite3_file* base, sqlite3_int64 size) {
  Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_TRUNCATE;
  change(*handle.file, Change{true, static_cast<uint64_t>(size), {}});
  if (handle.disk->power_goes()) {
    handle.disk->lose_power();
    return SQLITE_IOERR_TRUNCATE;
  }
  return SQLITE_OK;
}

int file_sync(sqlite3_file* base, int) {
  Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_FSYNC;
  FaultyVfs::Disk& disk = *handle.disk;
  if (disk.power_goes()) {
    disk.lose_power();
    return SQLITE_IOERR_FSYNC;
  }
  File& file = *handle.file;
  if (disk.chance(disk.faults.sync_error)) {
    ++disk.errors;
    // As on Linux, the pages count as clean afterwards, whether they reached the disk or not.
    std::erase_if(file.changes, [&](const Change& what) {
      if (disk.random_.below(2) == 0) apply_change(what, file.durable);
      return true;
    });
    return SQLITE_IOERR_FSYNC;
  }
  for (const Change& what : file.changes) apply_change(what, file.durable);
  file.changes.clear();
  // As in SQLite's own VFS, a new log is synchronised together with its folder, so earlier removals
  // are durable too.
  if (!file.exists_durably && handle.is_log) disk.removed.clear();
  file.exists_durably = true;
  disk.removed.erase(handle.path);
  return SQLITE_OK;
}

int file_size(sqlite3_file* base, sqlite3_int64* size) {
  const Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(handle.file->content.size());
  return SQLITE_OK;
}

// SQLite's levels: any number of handles hold SHARED; one holds RESERVED beside them; EXCLUSIVE is
// alone.
int file_lock(sqlite3_file* base, int level) {
  Handle& handle = handle_of(base);
  if (handle.dead()) return SQLITE_IOERR_LOCK;
  File& file = *handle.file;
  int& mine = file.lock_of[handle.number];
  if (mine >= level) return SQLITE_OK;
  const bool other_writer = file.writer != 0 && file.writer != handle.number;
  if (level >= SQLITE_LOCK_RESERVED && other_writer) return SQLITE_BUSY;
  for (const auto& [owner, held] : file.lock_of) {
    if (owner == handle.number) continue;
    if (held >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
    if (level == SQLITE_LOCK_EXCLUSIVE && held >= SQLITE_LOCK_SHARED) return SQLITE_BUSY;
  }
  mine = level;
  if (level >= SQLITE_LOCK_RESERVED) file.writer = handle.number;
  return SQLITE_OK;
}

int file_unlock(sqlite3_file* base, int level) {
  Handle& handle = handle_of(base);
  handle.file->lock_of[handle.number] = level;
  if (level < SQLITE_LOCK_RESERVED && handle.file->writer == handle.number) handle.file->writer = 0;
  return SQLITE_OK;
}

int file_reserved(sqlite3_file* base, int* out) {
  *out = handle_of(base).file->writer != 0;
  return SQLITE_OK;
}
int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int file_sector_size(sqlite3_file*) { return kSectorBytes; }
// SQLite assumes this of every disk by default: a write does not harm the bytes beside it.
int file_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

constexpr sqlite3_io_methods kMethods = {
    1,
    file_close,
    file_read,
    file_write,
    file_truncate,
    file_sync,
    file_size,
    file_lock,
    file_unlock,
    file_reserved,
    file_control,
    file_sector_size,
    file_characteristics,
};

FaultyVfs::Disk& disk_of(sqlite3_vfs* vfs) { return *static_cast<FaultyVfs::Disk*>(vfs->pAppData); }

int vfs_open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  return disk_of(vfs).open(path, file, flags, out_flags);
}
int vfs_delete(sqlite3_vfs* vfs, const char* path, int synchronised) {
  return disk_of(vfs).remove(path, synchronised != 0);
}
int vfs_access(sqlite3_vfs* vfs, const char* path, int, int* out) {
  *out = disk_of(vfs).files.contains(path);
  return SQLITE_OK;
}
int vfs_full_pathname(sqlite3_vfs*, const char* path, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", path);
  return SQLITE_OK;
}
int vfs_randomness(sqlite3_vfs* vfs, int size, char* out) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(disk_of(vfs).random_.next());
  return size;
}
int vfs_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
int vfs_current_time_ms(sqlite3_vfs* vfs, sqlite3_int64* out) {
  // SQLite counts milliseconds since noon of 24 November 4714 BC.
  *out = 210'866'760'000'000 + disk_of(vfs).now / kMillisecond;
  return SQLITE_OK;
}
int vfs_current_time(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 milliseconds = 0;
  vfs_current_time_ms(vfs, &milliseconds);
  *out = static_cast<double>(milliseconds) / 86'400'000.0;
  return SQLITE_OK;
}
int vfs_last_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

FaultyVfs::Disk::Disk(uint64_t seed) : random_{seed} {
  static std::atomic<uint64_t> count = 0;
  name = fmt::format("altlas-faulty-{}", ++count);
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = 512;
  vfs.zName = name.c_str();
  vfs.pAppData = this;
  vfs.xOpen = vfs_open;
  vfs.xDelete = vfs_delete;
  vfs.xAccess = vfs_access;
  vfs.xFullPathname = vfs_full_pathname;
  vfs.xRandomness = vfs_randomness;
  vfs.xSleep = vfs_sleep;
  vfs.xCurrentTime = vfs_current_time;
  vfs.xCurrentTimeInt64 = vfs_current_time_ms;
  vfs.xGetLastError = vfs_last_error;
  ALTLAS_CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK, "SQLite takes another VFS");
  // SQLite draws the salts of its WAL from one generator of the process, which it seeds from the
  // default VFS.
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(mix64(seed) >> 33) | 1, nullptr);
}

FaultyVfs::Disk::~Disk() {
  ALTLAS_CHECK(handles == 0, "close every connection before its disk goes");
  sqlite3_vfs_unregister(&vfs);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 0, nullptr);
}

int FaultyVfs::Disk::open(const char* path, sqlite3_file* base, int flags, int* out_flags) {
  base->pMethods = nullptr;
  // A file without a name is temporary.
  const std::string name_of_file =
      path != nullptr ? std::string(path) : fmt::format(":temporary:{}", random_.next());
  auto found = files.find(name_of_file);
  if (found == files.end()) {
    if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
    found = files.emplace(name_of_file, std::make_shared<File>()).first;
  }
  new (base) Handle{{&kMethods},
                    this,
                    found->second,
                    name_of_file,
                    ++handle_last,
                    generation,
                    (flags & SQLITE_OPEN_DELETEONCLOSE) != 0,
                    (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0};
  ++handles;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int FaultyVfs::Disk::remove(const std::string& path, bool synchronised) {
  const auto found = files.find(path);
  if (found == files.end()) return SQLITE_IOERR_DELETE_NOENT;
  if (!synchronised && found->second->exists_durably) removed[path] = found->second->durable;
  if (synchronised) removed.erase(path);
  files.erase(found);
  if (power_goes()) {
    lose_power();
    return SQLITE_IOERR_DELETE;
  }
  return SQLITE_OK;
}

bool FaultyVfs::Disk::power_goes() { return calls_left > 0 && --calls_left == 0; }

void FaultyVfs::Disk::lose_power() {
  ++generation;
  calls_left = 0;
  std::map<std::string, std::shared_ptr<File>> kept;
  for (const auto& [path, file] : files) {
    if (!file->exists_durably && random_.below(2) == 0) continue;
    std::string content = file->durable;
    for (Change what : file->changes) {
      switch (random_.below(4)) {
        case 0:
          continue;
        case 1:
          if (!what.resize)
            what.bytes.resize(random_.below(what.bytes.size() / kSectorBytes + 1) * kSectorBytes);
          break;
        default:
          break;
      }
      if (what.resize || !what.bytes.empty()) apply_change(what, content);
    }
    auto after = std::make_shared<File>();
    after->content = after->durable = std::move(content);
    after->exists_durably = true;
    kept.emplace(path, std::move(after));
  }
  for (auto& [path, content] : removed) {
    if (random_.below(2) == 0 || kept.contains(path)) continue;
    auto after = std::make_shared<File>();
    after->content = after->durable = content;
    after->exists_durably = true;
    kept.emplace(path, std::move(after));
  }
  removed.clear();
  files = std::move(kept);
}

uint64_t FaultyVfs::Disk::bytes_used() const {
  uint64_t bytes = 0;
  for (const auto& [path, file] : files) bytes += file->content.size();
  return bytes;
}

uint64_t FaultyVfs::Disk::hash() const {
  Hasher hash;
  for (const auto& [path, file] : files)
    hash.add(std::string_view(path))
        .add(std::string_view(file->content))
        .add(std::string_view(file->durable));
  for (const auto& [path, content] : removed)
    hash.add(std::string_view(path)).add(std::string_view(content));
  return hash.add(random_.counter).add(errors).add(generation).value();
}

FaultyVfs::FaultyVfs(uint64_t seed) : disk_(std::make_unique<Disk>(seed)) {}
FaultyVfs::~FaultyVfs() = default;
const std::string& FaultyVfs::name() const { return disk_->name; }
void FaultyVfs::set_faults(const DiskFaults& faults) { disk_->faults = faults; }
void FaultyVfs::set_time(TimeUs now) { disk_->now = now; }
void FaultyVfs::power_loss() { disk_->lose_power(); }
void FaultyVfs::power_loss_after(uint64_t calls) { disk_->calls_left = calls; }
uint64_t FaultyVfs::power_losses() const { return disk_->generation; }
uint64_t FaultyVfs::errors() const { return disk_->errors; }
uint64_t FaultyVfs::bytes_used() const { return disk_->bytes_used(); }
uint64_t FaultyVfs::hash() const { return disk_->hash(); }

}  // namespace altlas::simulation
