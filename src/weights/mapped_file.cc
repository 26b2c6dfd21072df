#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace altlas::weights {

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: a pipe of that name must not hang us; it has no effect on regular files.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const ErrorCode code =
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error(code, fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  }
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const int saved = errno;
    ::close(fd);
    return io_error(fmt::format("{}: cannot read its size: {}", path, std::strerror(saved)));
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid(fmt::format("{}: is {}, not a regular file", path,
                               S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  }
  MappedFile file;
  const size_t size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    const int saved = errno;
    if (start == MAP_FAILED) {
      ::close(fd);
      return io_error(fmt::format("{}: cannot map {} bytes: {}", path, size, std::strerror(saved)));
    }
    file.bytes_ = {static_cast<const uint8_t*>(start), size};
  }
  ::close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace altlas::weights
