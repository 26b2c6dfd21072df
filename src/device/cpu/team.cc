#include "device/cpu/team.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>

#include "base/check.h"
#include "device/cpu/topology.h"

namespace altlas::device {
namespace {
constexpr int kSpins = 2000;  // About 20 µs: longer than any phase's imbalance on an idle machine.
constexpr int kYields = 50;   // A yield lets a peer that shares this core run.

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The CPUs that this process began with. Its first thread may be pinned by now, as a team's leader.
const std::vector<int>& own_cpus() {
  static const std::vector<int> cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof(set), &set);
    std::vector<int> allowed;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) allowed.push_back(cpu);
    return cpu_order(allowed);
  }();
  return cpus;
}

// Pins the calling thread to the CPU at `index` of those that this process may use. A failure costs
// only speed.
void pin_to(uint32_t index) {
  const std::vector<int>& cpus = own_cpus();
  if (cpus.empty()) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(cpus[index % cpus.size()]), &one);
  ::sched_setaffinity(0, sizeof(one), &one);
}

void settle(const TeamOptions& options, uint32_t index) {
  if (options.pin) pin_to(options.cpu_first + index);
  // Lowers a thread's priority below the process' own, and only once: a leader may serve several
  // teams in turn.
  thread_local bool lowered = false;
  if (options.nice == 0 || std::exchange(lowered, true)) return;
  const auto id = static_cast<id_t>(::syscall(SYS_gettid));
  ::setpriority(PRIO_PROCESS, id, ::getpriority(PRIO_PROCESS, id) + options.nice);
}
}  // namespace

void Gate::advance() {
  value_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0)
    ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
              nullptr, 0);
}

void Gate::wait_while(uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    if (value() != seen) return;
    relax();
  }
  for (int i = 0; i < kYields; ++i) {
    if (value() != seen) return;
    ::sched_yield();
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == seen)
    ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value_), FUTEX_WAIT_PRIVATE, seen, nullptr,
              nullptr, 0);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void Barrier::meet() {
  if (threads_ == 1) return;
  const uint32_t seen = met_.value();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    met_.advance();
  } else {
    met_.wait_while(seen);
  }
}

Team::Team(const TeamOptions& options) : options_(options), barrier_(options.threads) {
  ALTLAS_CHECK(options.threads >= 1, "a team has at least its leader");
  for (uint32_t i = 1; i < options.threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

Team::~Team() {
  stop_ = true;
  start_.advance();
}

void Team::adopt_caller() { settle(options_, 0); }

void Team::work(uint32_t index) {
  settle(options_, index);
  // Every thread takes part in every run, so each can count the rounds for itself.
  for (uint32_t round = 0;; ++round) {
    start_.wait_while(round);
    if (stop_) return;
    call_(fn_, index);
    barrier();
  }
}

void Team::run_erased(void (*call)(void*, uint32_t), void* fn) {
  const int64_t begin = now_ns();
  if (options_.threads == 1) {
    call(fn, 0);
  } else {
    call_ = call;
    fn_ = fn;
    start_.advance();
    call(fn, 0);
    barrier();
  }
  busy_ns_.fetch_add(now_ns() - begin, std::memory_order_relaxed);
}

}  // namespace altlas::device
