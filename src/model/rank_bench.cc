// Steps of a whole model: decode of n sequences at some length, and prefill. The counters are
// tokens per second, and for decode the weight bytes read per second. ALTLAS_TEST_MODEL names the
// model; otherwise a tiny one shows that the bench runs.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "model/rank.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

struct Setup {
  std::unique_ptr<device::CpuDevice> device;
  std::unique_ptr<Rank> rank;
};

// Returns the rank for a number of threads; each is loaded once.
Rank* rank_of(uint32_t threads, benchmark::State& state) {
  static Setup setups[3];
  Setup& setup = setups[threads];
  if (setup.rank) return setup.rank.get();
  const char* real = std::getenv("ALTLAS_TEST_MODEL");
  const device::DeviceSpec spec = testing_support::cpu(uint64_t{2} << 30, threads);
  setup.device = std::make_unique<device::CpuDevice>(DeviceId{0}, spec);
  auto rank =
      load_rank({{.model_path = real ? real : testing_support::write_tiny_gguf("qwen2_tied"),
                  .model_len_max = 512,
                  .sequences_max = 64,
                  .kv_tokens_max = 64 * 512}},
                *setup.device);
  if (!rank.ok()) {
    state.SkipWithError(rank.error().message().c_str());
    return nullptr;
  }
  setup.rank = std::move(*rank);
  return setup.rank.get();
}

StepPlan start(Rank& rank, int32_t sequences, size_t length) {
  StepPlan plan;
  const uint32_t blocks = rank.shape().model_len_max / rank.shape().block_tokens;
  for (int32_t s = 0; s < sequences; ++s) {
    auto request = std::make_shared<SequenceRequest>();
    request->sampling.temperature = 0;
    for (size_t i = 0; i < length; ++i)
      request->prompt.push_back(static_cast<int32_t>((i * 7 + 3) % 60));
    plan.starts.push_back({s, request});
    kv::TableChange table;
    for (uint32_t b = 0; b < blocks; ++b)
      table.blocks.push_back(BlockId{static_cast<uint32_t>(s) * blocks + b});
    plan.tables.push_back({.slot = s, .changes = {table}});
  }
  return plan;
}

// The arguments are threads, sequences, and the tokens before.
void decode(benchmark::State& state) {
  Rank* rank = rank_of(static_cast<uint32_t>(state.range(0)), state);
  if (rank == nullptr) return;
  const auto sequences = static_cast<int32_t>(state.range(1));
  const auto length = static_cast<uint32_t>(state.range(2));
  if (!rank->run(start(*rank, sequences, length)).ok()) return state.SkipWithError("start");
  StepPlan step;
  for (int32_t s = 0; s < sequences; ++s)
    step.entries.push_back({.slot = s, .position = length, .tokens = {5}, .samples = true});
  for (auto _ : state)
    if (!rank->run(step).ok()) return state.SkipWithError("step");
  const auto runs = static_cast<double>(state.iterations());
  state.counters["tokens"] = benchmark::Counter(runs * sequences, benchmark::Counter::kIsRate);
  state.counters["weights"] = benchmark::Counter(
      runs * static_cast<double>(rank->shape().weight_bytes), benchmark::Counter::kIsRate);
}
BENCHMARK(decode)
    ->ArgsProduct({{1, 2}, {1}, {128}})
    ->Args({2, 16, 128})
    ->Args({2, 64, 128})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// The arguments are threads and tokens.
void prefill(benchmark::State& state) {
  Rank* rank = rank_of(static_cast<uint32_t>(state.range(0)), state);
  if (rank == nullptr) return;
  const auto length = static_cast<size_t>(state.range(1));
  StepPlan step = start(*rank, 1, length);
  step.entries.push_back(
      {.slot = 0, .tokens = step.starts[0].request->prompt.tokens(), .samples = true});
  for (auto _ : state)
    if (!rank->run(step).ok()) return state.SkipWithError("step");
  state.counters["tokens"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(length),
                         benchmark::Counter::kIsRate);
}
BENCHMARK(prefill)->ArgsProduct({{1, 2}, {512}})->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace altlas::model
