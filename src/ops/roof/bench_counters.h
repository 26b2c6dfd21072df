// Counters of this room's benches: what a run did per second, beside what one thread can do.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "ops/roof/roof.h"
#include "ops/simd.h"

namespace altlas::ops {

// True in the test suite: every bench takes a small shape then.
inline bool bench_tiny() { return std::getenv("ALTLAS_BENCH_TINY") != nullptr; }

// 64-byte aligned memory, not initialised.
struct BenchBytes {
  explicit BenchBytes(size_t size)
      : data(static_cast<std::byte*>(std::aligned_alloc(64, (size + 63) / 64 * 64))) {}
  ~BenchBytes() { std::free(data); }
  BenchBytes(const BenchBytes&) = delete;
  BenchBytes& operator=(const BenchBytes&) = delete;
  std::byte* data;
};

// What one thread does with the chosen SIMD target, the best of some short runs.
struct BenchRoofs {
  double read = 0;  // Bytes per second.
  double mac = 0;   // Multiply-adds of float per second.
};

inline const BenchRoofs& bench_roofs() {
  static std::map<SimdTarget, BenchRoofs> known;
  const auto [at, is_new] = known.try_emplace(simd_target());
  if (!is_new) return at->second;
  const std::vector<std::byte> memory(bench_tiny() ? 1 << 16 : 1 << 27, std::byte{1});
  uint64_t sink = 0;
  const auto rate = [](auto&& work) {
    const auto start = std::chrono::steady_clock::now();
    const auto amount = static_cast<double>(work());
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    return amount / std::max(time.count(), 1e-9);
  };
  for (int i = 0; i < 5; ++i) {
    at->second.read = std::max(at->second.read, rate([&] { return roof_read(memory, sink); }));
    at->second.mac = std::max(at->second.mac,
                              rate([&] { return roof_float(bench_tiny() ? 10 : 20'000, sink); }));
  }
  benchmark::DoNotOptimize(sink);
  return at->second;
}

// What one run moved and computed; 0 leaves that counter out.
inline void report_rates(benchmark::State& state, double bytes, double macs) {
  using benchmark::Counter;
  const auto runs = static_cast<double>(state.iterations());
  if (bytes > 0) {
    state.counters["bytes"] = Counter(runs * bytes, Counter::kIsRate, Counter::kIs1000);
    state.counters["read_roof/s"] =
        Counter(bench_roofs().read, Counter::kDefaults, Counter::kIs1000);
  }
  if (macs > 0) {
    state.counters["MAC"] = Counter(runs * macs, Counter::kIsRate, Counter::kIs1000);
    state.counters["MAC_roof/s"] = Counter(bench_roofs().mac, Counter::kDefaults, Counter::kIs1000);
  }
}

// registers fn(state) as name/target for every vector target; a run without the target is skipped.
template <class Fn>
void register_for_targets(const std::string& name, Fn fn) {
  for (const SimdTarget target : {SimdTarget::kAvx512Vnni, SimdTarget::kAvx2})
    benchmark::RegisterBenchmark((name + "/" + std::string(to_string(target))).c_str(),
                                 [target, fn](benchmark::State& state) {
                                   if (auto set = set_simd_target(target); !set.ok())
                                     return state.SkipWithError(set.error().message().c_str());
                                   fn(state);
                                 });
}

}  // namespace altlas::ops
