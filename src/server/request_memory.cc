#include "server/request_memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::server {

Result<void> MemoryLease::hold(int64_t bytes) {
  const int64_t more = bytes - bytes_;
  const int64_t before = memory_->held_.fetch_add(more);
  if (more > 0 && before + more > memory_->bytes_max_) {
    memory_->held_.fetch_sub(more);
    if (bytes > memory_->bytes_max_)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("this request takes {} bytes of memory, all together may take {} "
                               "(server.request_bytes_max): send less at a time",
                               bytes, memory_->bytes_max_));
    return Error(ErrorCode::kBusy,
                 fmt::format("the requests in hand take {} bytes of memory, at most {} "
                             "(server.request_bytes_max): try later",
                             before, memory_->bytes_max_));
  }
  bytes_ = bytes;
  return {};
}

int64_t request_bytes_max(int64_t configured, int64_t memory_bytes) {
  constexpr int64_t kUsual = int64_t{512} << 20, kLeast = int64_t{32} << 20;
  if (configured > 0) return configured;
  return memory_bytes > 0 ? std::clamp(memory_bytes / 4, kLeast, kUsual) : kUsual;
}

}  // namespace altlas::server
