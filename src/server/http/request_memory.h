// RequestMemory: one bound on what all requests in hand hold: their bodies while they are read, the
// JSON made of them, prompts, answers.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"

namespace altlas::server {

// Any thread. Owned by the server; leases keep it.
class RequestMemory {
 public:
  explicit RequestMemory(int64_t bytes_max) : bytes_max_(bytes_max) {}
  int64_t bytes_max() const { return bytes_max_; }
  int64_t held() const;
  // Bytes that were given back since the last call.
  int64_t take_returned();

 private:
  friend class MemoryLease;
  const int64_t bytes_max_;
  mutable std::mutex mutex_;
  int64_t held_ = 0, returned_ = 0;
  std::map<std::string, int64_t> of_owner_;
};

// One request's part; given back at its end. One thread at a time.
class MemoryLease {
 public:
  explicit MemoryLease(std::shared_ptr<RequestMemory> memory) : memory_(std::move(memory)) {}
  MemoryLease(const MemoryLease&) = delete;
  MemoryLease& operator=(const MemoryLease&) = delete;
  ~MemoryLease();

  // Whose request it is, before anything is held; of one owner's share see base/share.h.
  void set_owner(std::string owner) { owner_ = std::move(owner); }
  int64_t bytes() const { return bytes_; }
  // Holds `bytes` in all from now on. Errors, with what is held unchanged: kBusy while others hold
  // the rest, kTooLarge when it is more than one may ever hold.
  Result<void> hold(int64_t bytes);
  Result<void> add(int64_t bytes) { return hold(bytes_ + bytes); }

 private:
  void move_to(int64_t bytes);

  const std::shared_ptr<RequestMemory> memory_;
  std::string owner_;
  int64_t bytes_ = 0;
};

// Gives what large requests have left behind back to the system: every two seconds, where they gave
// back enough that it is worth it. On the caller's executor, until that ends.
boost::asio::awaitable<void> trim_memory(std::shared_ptr<RequestMemory> memory);

// server.request_bytes_max, or what stands for 0 on a machine with so much memory.
int64_t request_bytes_max(int64_t configured, int64_t memory_bytes);

}  // namespace altlas::server
