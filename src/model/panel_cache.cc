#include "model/panel_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/integers.h"
#include "base/private_file.h"
#include "weights/model_source.h"
#include "weights/tensor_source.h"

namespace altlas::model {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kHeaderBytes = 4096;  // One page, so that the data after it can be mapped.
constexpr uint64_t kHashChunk = uint64_t{1} << 20;
constexpr std::string_view kSuffix = ".panels";
constexpr auto kLockPatience = std::chrono::minutes(5);
constexpr auto kLockPeriod = std::chrono::milliseconds(10);
constexpr size_t kSamples = 16;
constexpr uint64_t kSampleBytes = 4096;
constexpr uint64_t kBeginningBytes = uint64_t{1} << 20;

// The beginning of the file; the rest of its page is zero.
struct Header {
  char magic[8] = {'A', 'L', 'T', 'L', 'P', 'A', 'N', 'L'};
  uint32_t version = kPanelVersion;
  uint32_t header_bytes = kHeaderBytes;
  uint64_t identity = 0;
  uint64_t bytes = 0;
  uint64_t data_hash = 0;
};

Error failed(std::string_view what, const std::string& path) {
  return io_error(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

// Four multiplications are in flight, so that hashing is as fast as reading memory.
uint64_t hash_chunk(const std::byte* data, uint64_t bytes) {
  uint64_t state[4] = {1, 2, 3, 4};
  uint64_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    uint64_t words[4];
    std::memcpy(words, data + at, 32);
    for (int i = 0; i < 4; ++i) state[i] = (state[i] ^ words[i]) * 0x9e3779b97f4a7c15ULL;
  }
  Hasher hasher;
  for (const uint64_t one : state) hasher.add(one ^ one >> 32);
  hasher.add(std::string_view(reinterpret_cast<const char*>(data + at), bytes - at));
  return hasher.value();
}

uint64_t hash_data(const std::byte* data, uint64_t bytes, device::Team& team) {
  std::vector<uint64_t> chunks(ceil_div(bytes, kHashChunk));
  team.run([&](uint32_t thread) {
    const auto own = device::split(chunks.size(), thread, team.size());
    for (size_t i = own.begin; i < own.end; ++i)
      chunks[i] = hash_chunk(data + i * kHashChunk, std::min(kHashChunk, bytes - i * kHashChunk));
  });
  Hasher hasher;
  for (const uint64_t chunk : chunks) hasher.add(chunk);
  return hasher.value();
}

// Adds to `hasher` what tells this state of the file from others.
Result<void> add_file(const std::string& path, Hasher& hasher) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info = {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) return failed("cannot be read", path);
  if (!S_ISREG(info.st_mode)) return invalid(path + ": is no regular file");
  const auto size = static_cast<uint64_t>(info.st_size);
  hasher.add(size).add(int64_t{info.st_mtim.tv_sec}).add(int64_t{info.st_mtim.tv_nsec});
  std::string buffer(std::min(size, kBeginningBytes), '\0');
  const auto add = [&](uint64_t at, uint64_t count) {
    const ssize_t got = ::pread(file.get(), buffer.data(), count, static_cast<off_t>(at));
    if (got > 0) hasher.add(std::string_view(buffer.data(), static_cast<size_t>(got)));
    return got >= 0;
  };
  bool read = add(0, buffer.size());
  for (size_t i = 1; i <= kSamples && size > 2 * kBeginningBytes; ++i)
    read = read && add((size - kSampleBytes) / kSamples * i, kSampleBytes);
  if (!read) return failed("cannot be read", path);
  return {};
}

// Returns the names of the files that make up a model.
std::vector<std::string> files_of(const std::string& model) {
  std::vector<std::string> files;
  std::error_code error;
  if (fs::is_directory(model, error)) {
    for (fs::directory_iterator at(model, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (name == "config.json" || name.ends_with(".safetensors")) files.push_back(at->path());
      if (files.size() > weights::kShardsMax) break;
    }
  } else {
    uint32_t number = 0, count = 0;
    if (weights::parse_shard_name(model, number, count) && count <= weights::kShardsMax) {
      const std::string stem =
          model.substr(0, model.size() - std::string_view("00001-of-00001.gguf").size());
      for (uint32_t i = 1; i <= count; ++i)
        files.push_back(fmt::format("{}{:05}-of-{:05}.gguf", stem, i, count));
    } else {
      files.push_back(model);
    }
  }
  std::ranges::sort(files);
  return files;
}

nlink_t links_of(int fd) {
  struct stat info = {};
  return ::fstat(fd, &info) == 0 ? info.st_nlink : 0;
}

// Takes the lock, and waits while somebody else holds it.
Result<int> take_lock(const std::string& path) {
  const auto end = std::chrono::steady_clock::now() + kLockPatience;
  while (true) {
    Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (lock.get() < 0) return failed("cannot be opened", path);
    while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) return failed("cannot be locked", path);
      if (std::chrono::steady_clock::now() > end)
        return Error(ErrorCode::kBusy, path + ": another process has held it for minutes");
      std::this_thread::sleep_for(kLockPeriod);
    }
    // The last holder may have deleted the file: its name is then free, or another file's.
    if (links_of(lock.get()) > 0) return lock.release();
  }
}

struct Kept {
  fs::path path;
  uint64_t bytes;
  fs::file_time_type used;
};

// Whether the name of any panels begins with `prefix`.
bool has_panels(const fs::path& folder, const std::string& prefix) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(prefix + "-") && name.ends_with(kSuffix)) return true;
  }
  return false;
}

// Deletes files that killed processes left half written, and locks whose panels are gone. A lock
// that is held stays, with what belongs to it.
void remove_abandoned(const std::string& folder, const std::string& own_lock) {
  std::vector<fs::path> locks;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().extension() == ".lock" && at->path() != own_lock) locks.push_back(at->path());
  for (const fs::path& path : locks) {
    const Fd lock(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (lock.get() < 0 || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || links_of(lock.get()) == 0)
      continue;
    const std::string prefix = path.stem().string();
    fs::remove(fs::path(folder) / (prefix + ".tmp"), error);
    if (!has_panels(folder, prefix)) fs::remove(path, error);
  }
}

// Deletes the files that were not used for the longest time, until `bytes_max` are left, or half of
// what the disk would have free without them if that is less. Returns the bytes that the folder may
// hold.
uint64_t limit_folder(const std::string& folder, uint64_t bytes_max, uint64_t bytes_new,
                      const std::string& except) {
  std::vector<Kept> all;
  uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code one;
    if (!at->path().string().ends_with(kSuffix) || !at->is_regular_file(one)) continue;
    all.push_back({at->path(), at->file_size(one), at->last_write_time(one)});
    total += all.back().bytes;
  }
  std::ranges::sort(all, {}, &Kept::used);
  const fs::space_info space = fs::space(folder, error);
  if (!error) bytes_max = std::min<uint64_t>(bytes_max, (space.available + total) / 2);
  if (bytes_new > bytes_max) return bytes_max;
  for (const Kept& kept : all) {
    if (total + bytes_new <= bytes_max) break;
    if (kept.path == except) continue;
    fs::remove(kept.path, error);
    total -= kept.bytes;
  }
  return bytes_max;
}

}  // namespace

PanelMapping::PanelMapping(PanelMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
PanelMapping::~PanelMapping() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<uint64_t> model_identity(const std::string& model) {
  Hasher hasher;
  for (const std::string& file : files_of(model)) ALTLAS_TRY_VOID(add_file(file, hasher));
  return hasher.value();
}

Result<PanelFile> PanelFile::open(const PanelCacheOptions& options, const std::string& model,
                                  std::string_view share, uint64_t bytes) {
  ALTLAS_TRY(const uint64_t state, model_identity(model));
  ALTLAS_TRY_VOID(make_private_folder(options.folder, "cache of packed weights"));
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(model, error);
  const std::string prefix =
      fmt::format("{}/{}-{:016x}", options.folder, whole.stem().string().substr(0, 80),
                  Hasher().add(std::string_view(whole.string())).add(share).value());
  ALTLAS_TRY(const int lock, take_lock(prefix + ".lock"));
  const uint64_t identity = Hasher().add(state).add(kPanelVersion).add(bytes).value();
  return PanelFile(options, prefix, identity, bytes, lock);
}

PanelFile::PanelFile(PanelFile&& other) noexcept
    : options_(std::move(other.options_)),
      prefix_(std::move(other.prefix_)),
      identity_(other.identity_),
      bytes_(other.bytes_),
      lock_(std::exchange(other.lock_, -1)),
      file_(std::exchange(other.file_, -1)) {}

PanelFile::~PanelFile() {
  if (file_ >= 0) {
    ::close(file_);
    ::unlink(temporary().c_str());
  }
  if (lock_ >= 0) ::close(lock_);
}

std::string PanelFile::path() const {
  return fmt::format("{}-{:016x}{}", prefix_, identity_, kSuffix);
}

std::optional<PanelMapping> PanelFile::find(device::Team& team) {
  const std::string at = path();
  const Fd file(::open(at.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) return std::nullopt;
  struct stat info = {};
  Header header;
  const Header wanted{.identity = identity_, .bytes = bytes_};
  const bool whole =
      ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == ::geteuid() &&
      static_cast<uint64_t>(info.st_size) == kHeaderBytes + bytes_ &&
      ::pread(file.get(), &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header) &&
      std::memcmp(&header, &wanted, offsetof(Header, data_hash)) == 0;
  void* data = MAP_FAILED;
  if (whole) data = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, file.get(), kHeaderBytes);
  if (data == MAP_FAILED) {
    ::unlink(at.c_str());
    return std::nullopt;
  }
  PanelMapping mapping(data, bytes_);
  if (hash_data(mapping.data(), bytes_, team) != header.data_hash) {
    ::unlink(at.c_str());
    return std::nullopt;
  }
  // It marks the file as used now; if that fails, the file only looks older.
  ::futimens(file.get(), nullptr);
  return mapping;
}

Result<PanelMapping> PanelFile::create() {
  ALTLAS_CHECK(file_ < 0, "created once");
  const std::string at = temporary();
  // A process that ended while it filled the file left it: this one holds the lock.
  ::unlink(at.c_str());
  const Fd file(::open(at.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) return failed("cannot be made", at);
  // The file must have no holes: if the disk filled up, writing to one would end the process.
  const uint64_t whole = kHeaderBytes + bytes_;
  remove_abandoned(options_.folder, prefix_ + ".lock");
  const uint64_t possible = limit_folder(options_.folder, options_.bytes_max, whole, path());
  errno = whole > possible ? ENOSPC : ::posix_fallocate(file.get(), 0, static_cast<off_t>(whole));
  void* data = MAP_FAILED;
  if (errno == 0)
    data = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), kHeaderBytes);
  if (data == MAP_FAILED) {
    Error error = failed(fmt::format("{} bytes", whole), at);
    ::unlink(at.c_str());
    return error;
  }
  file_ = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
  return PanelMapping(data, bytes_);
}

Result<void> PanelFile::publish(const PanelMapping& filled, device::Team& team) {
  ALTLAS_CHECK(file_ >= 0 && filled.bytes() == bytes_, "what create() gave");
  const Header header{
      .identity = identity_, .bytes = bytes_, .data_hash = hash_data(filled.data(), bytes_, team)};
  ::mprotect(filled.data(), bytes_, PROT_READ);
  const std::string from = temporary(), to = path();
  const bool written =
      ::pwrite(file_, &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header);
  if (!written || ::rename(from.c_str(), to.c_str()) != 0) return failed("cannot be kept", to);
  ::close(std::exchange(file_, -1));
  remove_others();
  limit_folder(options_.folder, options_.bytes_max, 0, to);
  return {};
}

// Deletes panels of earlier states of the model.
void PanelFile::remove_others() const {
  const std::string own = path();
  std::error_code error;
  for (fs::directory_iterator at(options_.folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().string();
    std::error_code one;
    if (name != own && name.starts_with(prefix_ + "-") && name.ends_with(kSuffix))
      fs::remove(name, one);
  }
}

}  // namespace altlas::model
