// From the logits of one row to a token, by one thread. bytes: of logits, read once.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "ops/roof/bench_counters.h"
#include "ops/sample/sample.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

size_t vocabulary() { return bench_tiny() ? 1000 : 151'936; }

void greedy(benchmark::State& state) {
  const auto logits = testing::normals(vocabulary(), 1);
  for (auto _ : state) benchmark::DoNotOptimize(argmax_cpu(logits.data(), logits.size()));
  report_rates(state, 4.0 * static_cast<double>(logits.size()), 0);
}

void draw(benchmark::State& state, const SampleParams& params) {
  auto logits = testing::normals(vocabulary(), 1);
  for (float& logit : logits) logit *= 3;
  uint64_t position = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(sample_cpu(logits.data(), logits.size(), params, position++));
  report_rates(state, 4.0 * static_cast<double>(logits.size()), 0);
}

void log_sum(benchmark::State& state) {
  const auto logits = testing::normals(vocabulary(), 1);
  for (auto _ : state) benchmark::DoNotOptimize(log_sum_cpu(logits.data(), logits.size()));
  report_rates(state, 4.0 * static_cast<double>(logits.size()), 0);
}

void likeliest(benchmark::State& state) {
  const auto logits = testing::normals(vocabulary(), 1);
  std::vector<int32_t> ids(kTopLogprobsMax);
  for (auto _ : state) benchmark::DoNotOptimize(top_ids(logits.data(), logits.size(), ids));
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
  register_for_targets("sample/log_sum", log_sum);
  register_for_targets("sample/top_ids:20", likeliest);
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace altlas::ops
