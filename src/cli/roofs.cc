#include "cli/roofs.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <span>
#include <thread>

#include "ops/roof/roof.h"

namespace altlas::cli {
namespace {

constexpr int kRuns = 5;
constexpr uint64_t kRounds = 4000;  // A few milliseconds.

// Returns the work per second of the whole team: the best of several runs. `work(thread, sink)`
// returns how much it did.
template <class Work>
double best_rate(device::Team& team, Work&& work) {
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::atomic<uint64_t> done{0}, kept{0};
    const auto from = std::chrono::steady_clock::now();
    team.run([&](uint32_t thread) {
      uint64_t sink = thread;
      done += work(thread, sink);
      kept += sink;
    });
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
    best = std::max(best, static_cast<double>(done.load()) / seconds);
  }
  return best;
}

}  // namespace

void Roofs::raise(const Roofs& other) {
  read_bytes_per_s = std::max(read_bytes_per_s, other.read_bytes_per_s);
  int8_macs_per_s = std::max(int8_macs_per_s, other.int8_macs_per_s);
  float_macs_per_s = std::max(float_macs_per_s, other.float_macs_per_s);
}

RoofMeter::RoofMeter(uint32_t threads, uint32_t cpu_first, uint64_t memory_bytes)
    : options_{.threads = threads, .cpu_first = cpu_first}, memory_(memory_bytes / 8, 1) {}

Roofs RoofMeter::measure_in(device::Team& team) {
  team.adopt_caller();
  const std::span<const std::byte> all = std::as_bytes(std::span(memory_));
  Roofs roofs;
  roofs.read_bytes_per_s = best_rate(team, [&](uint32_t thread, uint64_t& sink) {
    const auto own = device::split(all.size() / 4096, thread, team.size());
    return ops::roof_read(all.subspan(own.begin * 4096, (own.end - own.begin) * 4096), sink);
  });
  roofs.int8_macs_per_s =
      best_rate(team, [](uint32_t, uint64_t& sink) { return ops::roof_int8(kRounds, sink); });
  roofs.float_macs_per_s =
      best_rate(team, [](uint32_t, uint64_t& sink) { return ops::roof_float(kRounds, sink); });
  return roofs;
}

Roofs RoofMeter::measure() {
  Roofs roofs;
  if (memory_.empty()) return roofs;
  // The team pins its leader, and the calling thread must stay free.
  std::thread leader([&] {
    device::Team team(options_);
    roofs = measure_in(team);
  });
  leader.join();
  return roofs;
}

}  // namespace altlas::cli
