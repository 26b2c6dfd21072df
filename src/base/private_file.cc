#include "base/private_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace altlas {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;

Error failed(std::string_view what, std::string_view doing, const std::string& path) {
  return io_error(fmt::format("{}: can't {} '{}': {}", what, doing, path, std::strerror(errno)));
}

// Whether everybody may write to the folder, and so rename what others made in it.
bool is_open_to_all(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0 && (info.st_mode & S_IWOTH) != 0 &&
         (info.st_mode & S_ISVTX) == 0;
}

std::string folder_above(const std::string& path) {
  std::error_code ignored;
  fs::path whole = fs::absolute(path, ignored).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return whole.parent_path().string();
}

// Makes the folders above one that is to be made. They are never open to all, whatever the umask.
Result<void> make_above(const std::string& path, std::string_view what) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0) return {};
  const std::string above = folder_above(path);
  if (above != path) ALTLAS_TRY_VOID(make_above(above, what));
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return failed(what, "make", path);
  return {};
}

}  // namespace

Result<void> check_private_folder(const std::string& path, std::string_view what) {
  struct stat link = {}, info = {};
  if (::lstat(path.c_str(), &link) != 0) {
    if (errno == ENOENT) return {};
    return failed(what, "look at", path);
  }
  if (S_ISLNK(link.st_mode) && link.st_uid != ::geteuid() && link.st_uid != 0)
    return invalid(fmt::format("{}: '{}' is a link that user {} made: name the folder itself", what,
                               path, link.st_uid));
  if (::stat(path.c_str(), &info) != 0) return failed(what, "look at", path);
  if (!S_ISDIR(info.st_mode))
    return invalid(
        fmt::format("{}: '{}' is no folder: name a folder, or a path where one can be "
                    "made",
                    what, path));
  if (info.st_uid != ::geteuid())
    return invalid(
        fmt::format("{}: the folder '{}' belongs to user {}, this process runs as user "
                    "{}: name a folder of its own, or one that is not there yet",
                    what, path, info.st_uid, ::geteuid()));
  if ((info.st_mode & kOthersWrite) != 0)
    return invalid(
        fmt::format("{}: others may write to the folder '{}' (mode {:04o}): close it "
                    "with `chmod go-w`, or name one that is not there yet",
                    what, path, info.st_mode & 07777));
  if (const std::string above = folder_above(path); is_open_to_all(above))
    return invalid(
        fmt::format("{}: anybody may replace '{}', since all may write to '{}': close "
                    "that with `chmod o-w`, or name a folder elsewhere",
                    what, path, above));
  return {};
}

Result<void> make_private_folder(const std::string& path, std::string_view what) {
  ALTLAS_TRY_VOID(make_above(folder_above(path), what));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed(what, "make", path);
  return check_private_folder(path, what);
}

Result<int> open_private_file(const std::string& path, int flags) {
  // Without O_NONBLOCK, opening a pipe that stands where a file belongs would wait for its reader.
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) {
    const int reason = errno;
    if (reason == ELOOP)
      return invalid(fmt::format("'{}' is a link, where a file is expected: remove it", path));
    return Error(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                 fmt::format("can't open '{}': {}", path, std::strerror(reason)));
  }
  struct stat info = {};
  std::string wrong;
  if (::fstat(fd, &info) != 0)
    wrong = std::strerror(errno);
  else if (!S_ISREG(info.st_mode))
    wrong = "is no regular file";
  else if (info.st_uid != ::geteuid())
    wrong = fmt::format("belongs to user {}", info.st_uid);
  else if (info.st_nlink > 1)
    wrong = "has a second name (a hard link)";
  if (wrong.empty() && (info.st_mode & 077) != 0 && ::fchmod(fd, 0600) != 0)
    wrong = "is open to others and can't be closed to them";
  if (wrong.empty()) return fd;
  ::close(fd);
  return invalid(fmt::format("'{}' {}: remove it", path, wrong));
}

Result<void> check_secret_file(const std::string& path, std::string_view what) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return {};
  if (info.st_uid != ::geteuid() && info.st_uid != 0)
    return invalid(
        fmt::format("{}: '{}' belongs to user {}, who may change it: it must be this "
                    "user's or root's",
                    what, path, info.st_uid));
  if ((info.st_mode & kOthersWrite) != 0)
    return invalid(
        fmt::format("{}: others may write to '{}' (mode {:04o}): close it with "
                    "`chmod 600`",
                    what, path, info.st_mode & 07777));
  return {};
}

}  // namespace altlas
