// Team: persistent pinned threads that carry out one function together, with barriers inside.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/range.h"

namespace altlas::device {

// A counter that threads wait on: spin a little, then yield, then sleep in the kernel, so that a
// descheduled peer costs no more than its own delay.
class Gate {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void advance();
  // Returns when value() is no longer `seen`.
  void wait_while(uint32_t seen);

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

// A fixed number of threads that meet again and again; writes before are seen after it.
// Threads: meet() from exactly as many as it was made for.
class Barrier {
 public:
  explicit Barrier(uint32_t threads) : threads_(threads) {}
  void meet();

 private:
  const uint32_t threads_;
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) Gate met_;
};

struct TeamOptions {
  uint32_t threads = 1;  // The caller of run() is one of them.
  // Thread i runs on CPU cpu_first + i of cpu_order(), modulo the CPUs this process may use.
  uint32_t cpu_first = 0;
  bool pin = true;
  int nice = 1;  // io threads come first; more would starve the team beside other programs.
};

// Threads: run() and adopt_caller() from one thread, the leader; barrier() from inside run's
// function; busy_ns() any.
class Team {
 public:
  explicit Team(const TeamOptions& options);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  uint32_t size() const { return options_.threads; }
  // Pins the calling thread as the team's thread 0 and lowers its priority. Call it once from the
  // leader.
  void adopt_caller();

  // Calls fn(i) for every i < size() at once, fn(0) in the caller, and returns when all have.
  template <class Fn>
  void run(Fn&& fn) {
    run_erased([](void* f, uint32_t i) { (*static_cast<std::remove_reference_t<Fn>*>(f))(i); },
               const_cast<void*>(static_cast<const void*>(&fn)));
  }
  // All threads of the team meet here; writes before it are seen after it.
  void barrier() { barrier_.meet(); }

  // Time inside run() since the team began.
  int64_t busy_ns() const { return busy_ns_.load(std::memory_order_relaxed); }

 private:
  void run_erased(void (*call)(void*, uint32_t), void* fn);
  void work(uint32_t index);

  const TeamOptions options_;
  void (*call_)(void*, uint32_t) = nullptr;  // Written by the leader before start_ advances.
  void* fn_ = nullptr;
  bool stop_ = false;
  Gate start_;
  Barrier barrier_;
  std::atomic<int64_t> busy_ns_{0};
  std::vector<std::jthread> threads_;
};

// [begin, end) of `count` items for thread `index` of `threads`: contiguous, sizes differ by at
// most one.
constexpr Range split(size_t count, uint32_t index, uint32_t threads) {
  return {count * index / threads, count * (index + 1) / threads};
}

}  // namespace altlas::device
