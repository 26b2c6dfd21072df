#include "cli/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <thread>

namespace altlas::cli {
namespace {

constexpr size_t kChunkWords = size_t{1} << 17;  // 1 MiB between two looks at the clock.

uint64_t read_words(const uint64_t* words, size_t count) {
  uint64_t sums[16] = {};
  for (size_t i = 0; i + 16 <= count; i += 16)
    for (size_t k = 0; k < 16; ++k) sums[k] += words[i + k];
  uint64_t sum = 0;
  for (const uint64_t one : sums) sum += one;
  return sum;
}

Bandwidth measure(const std::vector<uint64_t>& memory, double seconds, uint32_t threads) {
  using Clock = std::chrono::steady_clock;
  std::atomic<uint64_t> words_read{0}, sink{0};
  std::barrier start(static_cast<std::ptrdiff_t>(threads) + 1);
  Clock::time_point end;
  std::vector<std::jthread> team;
  for (uint32_t t = 0; t < threads; ++t) {
    team.emplace_back([&, t] {
      const size_t begin = memory.size() * t / threads,
                   count = memory.size() * (t + 1) / threads - begin;
      const size_t chunk = std::min(kChunkWords, count);
      start.arrive_and_wait();
      uint64_t sum = 0, done = 0;
      for (size_t at = 0; Clock::now() < end; at = at + 2 * chunk <= count ? at + chunk : 0) {
        sum += read_words(memory.data() + begin + at, chunk);
        done += chunk;
      }
      words_read += done;
      sink += sum;  // Using the sum keeps the compiler from leaving the reads out.
    });
  }
  const auto from = Clock::now();
  end = from + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  start.arrive_and_wait();
  team.clear();
  const double took = std::chrono::duration<double>(Clock::now() - from).count();
  return {threads, static_cast<double>(words_read * sizeof(uint64_t)) / took};
}

}  // namespace

std::vector<Bandwidth> measure_read_bandwidth(uint64_t bytes, double seconds,
                                              uint32_t threads_max) {
  std::vector<uint64_t> memory(std::max<uint64_t>(bytes / sizeof(uint64_t), kChunkWords));
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = i;
  std::vector<Bandwidth> out;
  for (uint32_t threads = 1; threads < threads_max; threads *= 2)
    out.push_back(measure(memory, seconds, threads));
  out.push_back(measure(memory, seconds, std::max(1u, threads_max)));
  return out;
}

}  // namespace altlas::cli
