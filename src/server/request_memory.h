// RequestMemory: one bound on what all requests in hand hold: their bodies while they are read, the
// JSON made of them, prompts, answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace altlas::server {

// Any thread. Owned by the server; leases keep it.
class RequestMemory {
 public:
  explicit RequestMemory(int64_t bytes_max) : bytes_max_(bytes_max) {}
  int64_t bytes_max() const { return bytes_max_; }
  int64_t held() const { return held_; }

 private:
  friend class MemoryLease;
  const int64_t bytes_max_;
  std::atomic<int64_t> held_{0};
};

// One request's part; given back at its end. One thread at a time.
class MemoryLease {
 public:
  explicit MemoryLease(std::shared_ptr<RequestMemory> memory) : memory_(std::move(memory)) {}
  MemoryLease(const MemoryLease&) = delete;
  MemoryLease& operator=(const MemoryLease&) = delete;
  ~MemoryLease() { memory_->held_ -= bytes_; }

  int64_t bytes() const { return bytes_; }
  // Holds `bytes` in all from now on. Errors, with what is held unchanged: kBusy while others
  // hold the rest, kTooLarge when it is more than all requests together may hold.
  Result<void> hold(int64_t bytes);
  Result<void> add(int64_t bytes) { return hold(bytes_ + bytes); }

 private:
  const std::shared_ptr<RequestMemory> memory_;
  int64_t bytes_ = 0;
};

// server.request_bytes_max, or what stands for 0 on a machine with so much memory.
int64_t request_bytes_max(int64_t configured, int64_t memory_bytes);

}  // namespace altlas::server
