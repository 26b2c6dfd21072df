#include "journal/lock_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/private_file.h"

namespace altlas::journal {

LockFile::LockFile(LockFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

LockFile& LockFile::operator=(LockFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

LockFile::~LockFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<LockFile> LockFile::acquire(const std::string& path) {
  Result<int> opened = open_private_file(path, O_RDWR | O_CREAT);
  if (!opened.ok()) {
    if (opened.error().code() == ErrorCode::kInvalid)
      return Error(opened.error()).with_context("lock file");
    return io_error("lock file: " + opened.error().message());
  }
  LockFile lock(*opened);
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return io_error(fmt::format("can't lock '{}': {}", path, std::strerror(errno)));
    char text[32] = {};
    const ssize_t size = ::pread(lock.fd_, text, sizeof text - 1, 0);
    std::string pid;
    for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; ++i) pid += text[i];
    return Error(ErrorCode::kConflict, fmt::format("data directory in use by pid {} (lock file "
                                                   "'{}'): stop it, or choose another --data-dir",
                                                   pid.empty() ? "?" : pid, path));
  }
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock.fd_, 0) != 0 || ::pwrite(lock.fd_, text.data(), text.size(), 0) < 0) {
    // A full disk must not keep the journal from opening: the lock holds, and only the process id
    // is not shown.
    return lock;
  }
  return lock;
}

}  // namespace altlas::journal
