// What carries a group's calls: the seam behind Group. NCCL comes here, as one more Transport.
#pragma once

#include <chrono>
#include <string>

#include "collective/types.h"

namespace altlas::collective {

// Steady: only differences matter.
using Deadline = std::chrono::steady_clock::time_point;

// Carries the calls of one rank. Threads: run() from one at a time, abort() from any.
class Transport {
 public:
  virtual ~Transport() = default;
  // Carries out `call`, which Group has checked; returns when this rank's buffers are free to use.
  // What fails once has failed for good, on every rank. Errors: kUnavailable (a rank died or left),
  // kDeadline (a rank stalled), kConflict (ranks made different calls), kCanceled (abort), kIo.
  virtual Result<void> run(const Call& call, Deadline deadline) = 0;
  // Ends the group on every rank with `why`; who waits in run() wakes.
  virtual void abort(const Error& why) = 0;
  // The algorithm that kAuto means for an all_reduce of `bytes`; the same on every rank.
  virtual Algorithm choose(uint64_t bytes) const = 0;
  // Seconds as this transport counts them: the machine's steady clock, or virtual time.
  virtual double seconds() const = 0;
  // For people: "threads", "shared memory", "TCP with TLS, 2 sockets".
  virtual std::string describe() const = 0;
};

// Moves bytes between two ranks: what the algorithms of algorithms.h are made of.
class Wire {
 public:
  // Sends `out` to rank `to` and receives `in` from rank `from`, both at once; kNobody leaves one
  // out. A message has exactly the size its receiver expects. Ranks that exchange nothing but an
  // empty message still wait for it.
  struct Exchange {
    int to = kNobody;
    std::span<const std::byte> out;
    int from = kNobody;
    std::span<std::byte> in;
  };
  virtual ~Wire() = default;
  virtual Result<void> exchange(const Exchange& move) = 0;
};

double steady_seconds();

}  // namespace altlas::collective
