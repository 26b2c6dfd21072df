#include "server/batches/file_desk.h"

#include <algorithm>
#include <chrono>

namespace altlas::server {

Result<std::unique_ptr<FileDesk>> FileDesk::open(const std::string& folder,
                                                 const config::ServerConfig& config) {
  std::unique_ptr<FileDesk> desk(new FileDesk);
  std::string place = folder;
  if (place.empty()) {
    ALTLAS_TRY(ScratchFolder made, ScratchFolder::make());
    desk->temporary_.emplace(std::move(made));
    place = desk->temporary_->path();
  }
  FileLimits limits;
  limits.file_bytes_max = static_cast<uint64_t>(config.file_bytes_max);
  limits.files_max = static_cast<uint64_t>(config.files_max);
  limits.total_bytes_max = static_cast<uint64_t>(config.files_bytes_max);
  ALTLAS_TRY(desk->files_, Files::open(place + "/files", limits));
  ALTLAS_TRY(desk->batches_, Batches::open(place + "/batches", *desk->files_,
                                           static_cast<size_t>(config.batches_max)));
  return desk;
}

void FileDesk::expire_files() {
  files_->expire(system_clock().now(),
                 [&](std::string_view id) { return batches_->uses_file(id); });
}

// Removes expired files even if nobody asks for them. A file that a batch still reads is looked at
// again after a second; a clock that was set is noticed within an hour.
void FileDesk::watch_expiry() {
  const TimeUs next = files_->next_expiry();
  if (next == watched_) return;
  watched_ = next;
  if (next == INT64_MAX) {
    expiry_.cancel();
    return;
  }
  const TimeUs left = std::clamp<TimeUs>(next - system_clock().now(), kSecond, 3600 * kSecond);
  expiry_.expires_after(std::chrono::microseconds(left));
  expiry_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    watched_ = INT64_MAX;
    expire_files();
    watch_expiry();
  });
}

FileDesk::~FileDesk() {
  thread_.stop();
  thread_.join();
}

}  // namespace altlas::server
