// FileDesk: files and batches on a thread of their own, so that no io thread waits on the disk.
// Files that have expired go before anybody can ask for them.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/scratch_folder.h"
#include "config/server_config.h"
#include "server/batches/batches.h"
#include "server/batches/files.h"

namespace altlas::server {

// Any thread.
class FileDesk {
 public:
  // Below `folder`; empty: in a temporary folder that goes with the desk.  Errors: kIo.
  static Result<std::unique_ptr<FileDesk>> open(const std::string& folder,
                                                const config::ServerConfig& config);
  ~FileDesk();
  FileDesk(const FileDesk&) = delete;
  FileDesk& operator=(const FileDesk&) = delete;

  // Runs work(files, batches) -> Result<T> on the desk's thread, one after another; the answer
  // comes back on the caller's executor.
  template <class T, class Work>
  boost::asio::awaitable<Result<T>> run(Work work) {
    // co_spawn wants a type that can be made empty.
    const auto job = [](FileDesk* desk,
                        Work todo) -> boost::asio::awaitable<std::optional<Result<T>>> {
      desk->expire_files();
      auto out = todo(*desk->files_, *desk->batches_);
      desk->watch_expiry();
      co_return out;
    };
    auto result = co_await boost::asio::co_spawn(thread_, job(this, std::move(work)),
                                                 boost::asio::use_awaitable);
    co_return *std::move(result);
  }

 private:
  FileDesk() = default;
  // Both on the desk's thread.
  void expire_files();
  void watch_expiry();

  std::optional<ScratchFolder> temporary_;  // Removed at the end.
  std::unique_ptr<Files> files_;
  std::unique_ptr<Batches> batches_;
  boost::asio::thread_pool thread_{1};
  boost::asio::steady_timer expiry_{thread_};
  TimeUs watched_ = INT64_MAX;  // What expiry_ waits for.
};

}  // namespace altlas::server
