#include "server/http/request_memory.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <chrono>
#include <utility>

#include "base/share.h"

namespace altlas::server {

int64_t RequestMemory::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

int64_t RequestMemory::take_returned() {
  const std::lock_guard lock(mutex_);
  return std::exchange(returned_, 0);
}

// The caller holds the lock.
void MemoryLease::move_to(int64_t bytes) {
  const int64_t more = bytes - std::exchange(bytes_, bytes);
  memory_->held_ += more;
  memory_->returned_ += std::max<int64_t>(0, -more);
  if (owner_.empty() || more == 0) return;
  if ((memory_->of_owner_[owner_] += more) == 0) memory_->of_owner_.erase(owner_);
}

MemoryLease::~MemoryLease() {
  const std::lock_guard lock(memory_->mutex_);
  move_to(0);
}

Result<void> MemoryLease::hold(int64_t bytes) {
  RequestMemory& all = *memory_;
  const int64_t most = owner_.empty() ? all.bytes_max_ : all.bytes_max_ / 4 * 3;
  const std::lock_guard lock(all.mutex_);
  if (bytes > bytes_) {
    if (bytes > most)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("this request takes {} bytes of memory, one may take {} of "
                               "server.request_bytes_max: send less at a time",
                               bytes, most));
    const auto own = all.of_owner_.find(owner_);
    const int64_t of_owner = own == all.of_owner_.end() ? 0 : own->second;
    const int64_t more = bytes - bytes_;
    const auto bytes_of = [](int64_t count) { return static_cast<uint64_t>(count); };
    if (!has_room(owner_, bytes_of(of_owner), bytes_of(all.held_), bytes_of(more),
                  bytes_of(all.bytes_max_)))
      return Error(ErrorCode::kBusy,
                   fmt::format("the requests in hand take {} bytes of memory, {} of them this "
                               "key's, of at most {} (server.request_bytes_max; {}): try "
                               "later",
                               all.held_, of_owner, all.bytes_max_, kShareRule));
  }
  move_to(bytes);
  return {};
}

boost::asio::awaitable<void> trim_memory(std::shared_ptr<RequestMemory> memory) {
  constexpr int64_t kWorthIt = 4 << 20;
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  for (int left = 0;;) {
    timer.expires_after(std::chrono::seconds(2));
    co_await timer.async_wait(boost::asio::use_awaitable);
    // The heap is trimmed four times, since tasks and answers end a little later than requests.
    if (memory->take_returned() >= kWorthIt) left = 4;
    if (left == 0) continue;
    --left;
    ::malloc_trim(0);
  }
}

int64_t request_bytes_max(int64_t configured, int64_t memory_bytes) {
  constexpr int64_t kUsual = int64_t{512} << 20, kLeast = int64_t{32} << 20;
  if (configured > 0) return configured;
  return memory_bytes > 0 ? std::clamp(memory_bytes / 4, kLeast, kUsual) : kUsual;
}

}  // namespace altlas::server
