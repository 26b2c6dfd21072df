// From the logits of one row to a token, by one thread. Each piece is copied into its cache, as a
// product leaves it there. `bytes` are those of the logits, read once.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <vector>

#include "ops/roof/bench_counters.h"
#include "ops/sample/sample.h"
#include "ops/sample/test_row.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

size_t vocabulary() { return bench_tiny() ? 1000 : 151'936; }

void greedy(benchmark::State& state) {
  const auto logits = testing::normals(vocabulary(), 1);
  for (auto _ : state) benchmark::DoNotOptimize(argmax_cpu(logits.data(), logits.size()));
  report_rates(state, 4.0 * static_cast<double>(logits.size()), 0);
}

void draw(benchmark::State& state, const SampleParams& params, int32_t likely = -1) {
  auto logits = testing::normals(vocabulary(), 1);
  for (float& logit : logits) logit *= 3;
  TestRow row(logits.size());
  uint64_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        row.sample(logits, {.params = params, .position = position++, .likely = likely}));
    if (likely < 0) continue;
    std::array<TokenLogit, kTopLogprobsMax> found;
    benchmark::DoNotOptimize(row.sampler().log_sum());
    benchmark::DoNotOptimize(row.sampler().likeliest(found));
  }
  report_rates(state, 4.0 * static_cast<double>(logits.size()), 0);
}

int register_all() {
  using State = benchmark::State;
  register_for_targets("sample/greedy", greedy);
  register_for_targets("sample/all",
                       [](State& state) { draw(state, {.temperature = 0.8f, .seed = 1}); });
  register_for_targets("sample/top_k:40", [](State& state) {
    draw(state, {.temperature = 0.8f, .top_k = 40, .seed = 1});
  });
  register_for_targets("sample/top_p:0.9", [](State& state) {
    draw(state, {.temperature = 0.8f, .top_p = 0.9f, .seed = 1});
  });
  register_for_targets("sample/top_k:40,top_p:0.9", [](State& state) {
    draw(state, {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .seed = 1});
  });
  register_for_targets("sample/min_p:0.05", [](State& state) {
    draw(state, {.temperature = 0.8f, .min_p = 0.05f, .seed = 1});
  });
  register_for_targets("sample/logprobs:5",
                       [](State& state) { draw(state, {.temperature = 0.8f, .seed = 1}, 5); });
  register_for_targets("sample/logprobs:20,greedy", [](State& state) { draw(state, {}, 20); });
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace altlas::ops
