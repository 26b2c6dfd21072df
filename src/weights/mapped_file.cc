#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"

namespace altlas::weights {

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK keeps a pipe of that name from hanging us; on regular files it has no effect.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    const ErrorCode code =
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error(code, fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0)
    return io_error(fmt::format("{}: cannot read its size: {}", path, std::strerror(errno)));
  if (!S_ISREG(info.st_mode))
    return invalid(fmt::format("{}: is {}, not a regular file", path,
                               S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  MappedFile file;
  const size_t size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (start == MAP_FAILED)
      return io_error(fmt::format("{}: cannot map {} bytes: {}", path, size, std::strerror(errno)));
    file.bytes_ = {static_cast<const uint8_t*>(start), size};
  }
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace altlas::weights
