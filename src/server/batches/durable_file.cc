#include "server/batches/durable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/fd.h"
#include "base/private_file.h"

namespace altlas::server {
namespace {

Error failed(std::string_view what, const std::string& path) {
  return io_error(fmt::format("can't {} '{}': {}", what, path, std::strerror(errno)));
}

Fd open_file(const std::string& path, int flags) {
  return Fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t wrote = ::write(fd, content.data(), content.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return failed("write", path);
    content.remove_prefix(static_cast<size_t>(wrote));
  }
  return {};
}

// Writes the folder to the disk too, since it has the file's name.
Result<void> sync_folder_of(const std::string& path) {
  const Fd folder =
      open_file(std::filesystem::path(path).parent_path().string(), O_RDONLY | O_DIRECTORY);
  if (!folder || ::fsync(folder.get()) != 0) return failed("synchronise the folder of", path);
  return {};
}

Result<void> rename_synced(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("move", from);
  return sync_folder_of(to);
}

}  // namespace

Result<void> write_durable(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  {
    const Fd file = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file) return failed("make", temporary);
    if (auto ok = write_all(file.get(), content, temporary); !ok.ok()) {
      ::unlink(temporary.c_str());  // On a full disk this frees its space.
      return ok;
    }
    if (::fdatasync(file.get()) != 0) return failed("synchronise", temporary);
  }
  return rename_synced(temporary, path);
}

Result<void> move_durable(const std::string& from, const std::string& to) {
  {
    const Fd file = open_file(from, O_RDWR);
    if (!file) return failed("open", from);
    if (::fdatasync(file.get()) != 0) return failed("synchronise", from);
  }
  return rename_synced(from, to);
}

Result<void> append_durable(const std::string& path, std::string_view content) {
  const Fd file = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
  if (!file) return failed("open", path);
  const off_t before = ::lseek(file.get(), 0, SEEK_END);
  if (auto ok = write_all(file.get(), content, path); !ok.ok()) {
    // A half line would become part of the next one.
    if (before >= 0 && ::ftruncate(file.get(), before) != 0) return failed("shorten", path);
    return ok;
  }
  if (::fdatasync(file.get()) != 0) return failed("synchronise", path);
  return before == 0 ? sync_folder_of(path) : Result<void>();
}

Result<std::shared_ptr<const OpenFile>> OpenFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return failed("open", path);
  return std::shared_ptr<const OpenFile>(new OpenFile(path, descriptor));
}

OpenFile::~OpenFile() { ::close(descriptor_); }

Result<std::string> OpenFile::read(uint64_t offset, uint64_t count) const {
  const off_t size = ::lseek(descriptor_, 0, SEEK_END);
  if (size < 0) return failed("read", path_);
  if (offset >= static_cast<uint64_t>(size)) return std::string();
  std::string out(std::min(count, static_cast<uint64_t>(size) - offset), '\0');
  size_t got = 0;
  while (got < out.size()) {
    const ssize_t part =
        ::pread(descriptor_, out.data() + got, out.size() - got, static_cast<off_t>(offset + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return failed("read", path_);
    if (part == 0) break;
    got += static_cast<size_t>(part);
  }
  out.resize(got);
  return out;
}

Result<std::string> read_part(const std::string& path, uint64_t offset, uint64_t count) {
  ALTLAS_TRY(const std::shared_ptr<const OpenFile> file, OpenFile::open(path));
  return file->read(offset, count);
}

Result<void> remove_durable(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("delete", path);
  return sync_folder_of(path);
}

Result<void> make_folder(const std::string& path) { return make_private_folder(path, "files"); }

}  // namespace altlas::server
