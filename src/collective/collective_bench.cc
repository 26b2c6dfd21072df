// Collectives between two ranks: 16 KiB as the median of single calls, 64 MiB beside the memory
// bandwidth of the same run, over threads, shared memory and TCP.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "collective/join.h"

namespace altlas::collective {
namespace {

bool tiny() { return std::getenv("ALTLAS_BENCH_TINY") != nullptr; }

Groups groups_of(int kind) {
  if (kind == 0) return make_thread_groups(2, {}).value();
  if (kind == 2) {
    TcpJoin join;
    join.identity = TlsIdentity::make_ephemeral().value();
    return make_tcp_groups(2, std::move(join), {}).value();
  }
  Groups groups(2);
  std::jthread other(
      [&] { groups[1] = join_shared_memory({.rank = 1, .size = 2, .name = "bench"}, {}).value(); });
  groups[0] = join_shared_memory({.rank = 0, .size = 2, .name = "bench"}, {}).value();
  other.join();
  return groups;
}

using Bytes = std::vector<std::byte>;

// One call of rank `rank`. Gathers are in place where ranks share memory: all into one buffer.
Result<void> call(Group& group, bool gather, Bytes& in, Bytes& out) {
  if (!gather) return group.all_reduce(ElementType::kF32, ReduceOp::kSum, in, out);
  const size_t block = out.size() / 2;
  const auto mine = std::span(out).subspan(static_cast<size_t>(group.rank()) * block, block);
  return group.all_gather(ElementType::kF32, mine, out);
}

// Bytes a second that two threads read and write, copying memory that no cache holds.
double copy_bandwidth(uint64_t bytes) {
  std::vector<std::jthread> team;
  Bytes from[2] = {Bytes(bytes), Bytes(bytes)}, to[2] = {Bytes(bytes), Bytes(bytes)};
  const auto begun = std::chrono::steady_clock::now();
  constexpr int kRounds = 4;
  for (int t = 0; t < 2; ++t)
    team.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        std::memcpy(to[t].data(), from[t].data(), bytes);
        benchmark::DoNotOptimize(to[t].data());
      }
    });
  team.clear();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  return 2.0 * 2 * kRounds * static_cast<double>(bytes) / took.count();
}

// The arguments are the transport, gather or reduce, and the bytes of the whole vector.
void pair_of_ranks(benchmark::State& state) {
  const bool gather = state.range(1) != 0;
  const auto bytes =
      static_cast<uint64_t>(tiny() ? std::min<int64_t>(state.range(2), 65536) : state.range(2));
  const int calls = bytes > 1'000'000 ? 8 : 2'000;
  Groups groups = groups_of(static_cast<int>(state.range(0)));
  std::vector<double> times;
  for (auto unused : state) {
    static_cast<void>(unused);
    std::jthread other([&] {
      Bytes in(bytes), out(bytes);
      for (int i = 0; i < calls; ++i)
        if (!call(*groups[1], gather, in, out)) return;
    });
    Bytes in(bytes), out(bytes);
    for (int i = 0; i < calls; ++i) {
      const double from = groups[0]->seconds();
      if (const auto done = call(*groups[0], gather, in, out); !done)
        return state.SkipWithError(done.error().message().c_str());
      times.push_back(groups[0]->seconds() - from);
    }
  }
  std::ranges::sort(times);
  const double median = times[times.size() / 2];
  state.counters["median_us"] = median * 1e6;
  state.counters["p90_us"] = times[times.size() * 9 / 10] * 1e6;
  if (bytes < 1'000'000) return;
  // The bytes that the two ranks must read and write at least: for all_reduce each reads a vector
  // and writes one, for all_gather each reads and writes the other's half.
  const double moved = static_cast<double>(bytes) * (gather ? 2 : 4);
  state.counters["of_memory_bandwidth"] = moved / median / copy_bandwidth(bytes);
}
BENCHMARK(pair_of_ranks)
    ->ArgNames({"transport", "gather", "bytes"})
    ->ArgsProduct({{0, 1, 2}, {0, 1}, {16 << 10, 64 << 20}})
    ->UseRealTime();

}  // namespace
}  // namespace altlas::collective
