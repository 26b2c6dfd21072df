#include "base/scratch_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/private_file.h"
#include "base/random.h"

namespace altlas {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "altlas-";
constexpr size_t kDigits = 16;
constexpr const char* kLock = "/.lock";
// The most entries of the temporary folder that are looked at.
constexpr size_t kEntriesMax = 65536;
constexpr int kTries = 8;

bool is_scratch_name(std::string_view name) {
  return name.size() == kPrefix.size() + kDigits && name.starts_with(kPrefix) &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

// Takes the folder's lock. Returns its descriptor, or -1 if somebody else holds it.
int lock_of(const std::string& folder, int flags) {
  const Result<int> file = open_private_file(folder + kLock, O_RDWR | flags);
  if (!file.ok()) return -1;
  struct stat info = {};
  // A lock file that is deleted by now belonged to a folder that another process removes.
  if (::flock(*file, LOCK_EX | LOCK_NB) == 0 && ::fstat(*file, &info) == 0 && info.st_nlink == 1)
    return *file;
  ::close(*file);
  return -1;
}

// Removes folders whose process was killed: it could not remove them, and its locks went with it.
void remove_abandoned(const fs::path& above) {
  std::vector<std::string> found;
  std::error_code error;
  size_t seen = 0;
  for (fs::directory_iterator at(above, error), end; !error && at != end && ++seen <= kEntriesMax;
       at.increment(error))
    if (is_scratch_name(at->path().filename().string())) found.push_back(at->path().string());
  for (const std::string& path : found) {
    struct stat info = {};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid())
      continue;
    const int lock = lock_of(path, 0);
    if (lock < 0) continue;
    fs::remove_all(path, error);
    ::close(lock);
  }
}

}  // namespace

Result<ScratchFolder> ScratchFolder::make() {
  std::error_code error;
  const fs::path above = fs::temp_directory_path(error);
  if (error)
    return invalid(fmt::format("TMPDIR: '{}' is no folder that can be used: {}", above.string(),
                               error.message()));
  remove_abandoned(above);
  for (int i = 0; i < kTries; ++i) {
    const std::string path = (above / fmt::format("{}{:016x}", kPrefix, random_bits())).string();
    if (::mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return io_error(
          fmt::format("can't make a temporary folder '{}': {}", path, std::strerror(errno)));
    }
    // Between the two calls another process may have taken the folder for an abandoned one.
    if (const int lock = lock_of(path, O_CREAT | O_EXCL); lock >= 0)
      return ScratchFolder(path, lock);
    fs::remove_all(path, error);
  }
  return io_error(fmt::format("can't make a temporary folder in '{}'", above.string()));
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::exchange(other.path_, "")), lock_(std::exchange(other.lock_, -1)) {}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace altlas
