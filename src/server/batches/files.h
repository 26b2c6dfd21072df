// Files: what /v1/files keeps, in a folder: ID.json says what ID.data is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "server/batches/durable_file.h"

namespace altlas::server {

struct FileInfo {
  std::string id;     // "file-…".
  std::string owner;  // Name of the key that sent it.
  std::string filename;
  std::string purpose;  // "batch", "batch_output".
  uint64_t bytes = 0;
  TimeUs created = 0;
  TimeUs expires = 0;  // 0: never.
};

struct FileLimits {
  uint64_t file_bytes_max = 64 << 20;
  uint64_t files_max = 1000;
  uint64_t total_bytes_max = uint64_t{4} << 30;
};

// Blocks on the disk; one thread at a time. What a call returned is there after a crash.
class Files {
 public:
  // Reads what is in `folder`, which is made if absent; leftovers of a crash are removed.
  // Errors: kIo.
  static Result<std::unique_ptr<Files>> open(std::string folder, FileLimits limits);

  // Errors: kTooLarge over file_bytes_max, kBusy over the other limits or the owner's share of them
  // (base/share.h), kIo.
  Result<FileInfo> create(FileInfo info, std::string_view content);
  // Takes the file at `path` over, content and all; info.id is given. Doing it again after a crash
  // half-way is right. Errors: kIo.
  Result<FileInfo> adopt(FileInfo info, const std::string& path);
  Result<FileInfo> find(std::string_view id) const;  // Errors: kNotFound.
  // Newest first.
  std::vector<FileInfo> list() const;
  Result<std::string> read(std::string_view id, uint64_t offset, uint64_t count) const;
  // To be read piece by piece, to its end also when it is removed meanwhile.
  Result<std::shared_ptr<const OpenFile>> open_content(std::string_view id) const;
  Result<void> remove(std::string_view id);
  // Removes what has expired by `now`, but for files in use, which wait for the next call.
  void expire(TimeUs now, const std::function<bool(std::string_view id)>& in_use);
  // When the first of those that are to expire does; INT64_MAX: none.
  TimeUs next_expiry() const;
  uint64_t bytes() const { return bytes_; }
  uint64_t bytes_of(const std::string& owner) const;
  const FileLimits& limits() const { return limits_; }

 private:
  Files(std::string folder, FileLimits limits) : folder_(std::move(folder)), limits_(limits) {}
  std::string path_of(std::string_view id, std::string_view ending) const;
  void keep(const FileInfo& info);
  void count_out(const FileInfo& info);
  Result<void> check_room(const std::string& owner, uint64_t bytes) const;

  std::string folder_;
  FileLimits limits_;
  struct Held {
    uint64_t files = 0, bytes = 0;
  };
  std::map<std::string, FileInfo, std::less<>> files_;
  std::map<std::string, Held> of_owner_;
  uint64_t bytes_ = 0;
};

}  // namespace altlas::server
