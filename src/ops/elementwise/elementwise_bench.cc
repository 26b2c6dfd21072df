// The operations between products on 64 rows, by one thread: norms, rope, gates, quantising.
// `bytes` are those of the floats read and written, as if each came from memory once.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "ops/elementwise/elementwise.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/matmul/matmul.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/roof/bench_counters.h"
#include "ops/rope/rope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

struct Sizes {
  size_t count = bench_tiny() ? 2 : 64;
  size_t hidden = bench_tiny() ? 64 : 896;
  size_t wide = bench_tiny() ? 96 : 4864;
};

void rms_norm(benchmark::State& state) {
  const Sizes sizes;
  const auto x = testing::normals(sizes.count * sizes.hidden, 1),
             gamma = testing::normals(sizes.hidden, 2);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    rms_norm_cpu(x, gamma, 1e-6f, y);
    benchmark::ClobberMemory();
  }
  report_rates(state, 8.0 * static_cast<double>(x.size()), 2.0 * static_cast<double>(x.size()));
}

void layer_norm(benchmark::State& state) {
  const Sizes sizes;
  const auto x = testing::normals(sizes.count * sizes.hidden, 1),
             gamma = testing::normals(sizes.hidden, 2), beta = testing::normals(sizes.hidden, 3);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    layer_norm_cpu(x, gamma, beta, 1e-6f, y);
    benchmark::ClobberMemory();
  }
  report_rates(state, 8.0 * static_cast<double>(x.size()), 4.0 * static_cast<double>(x.size()));
}

void rope(benchmark::State& state, RopeStyle style) {
  constexpr size_t kHeads = 16, kDim = 64;
  const Sizes sizes;
  auto x = testing::normals(sizes.count * kHeads * kDim, 1);
  std::vector<float> angles(kDim);
  const std::vector<double> frequency(kDim / 2, 0.01);
  const uint32_t position[] = {5};
  rope_angles(position, frequency, angles.data());
  for (auto _ : state) {
    for (size_t r = 0; r < sizes.count; ++r)
      rope_cpu(&x[r * kHeads * kDim], {kHeads, kDim, kDim / 2, style}, angles.data());
    benchmark::ClobberMemory();
  }
  report_rates(state, 8.0 * static_cast<double>(x.size()), 2.0 * static_cast<double>(x.size()));
}

void angles(benchmark::State& state) {
  const Sizes sizes;
  const std::vector<double> frequency(32, 0.01);
  std::vector<uint32_t> positions(sizes.count);
  for (size_t i = 0; i < sizes.count; ++i) positions[i] = static_cast<uint32_t>(i * 7);
  std::vector<float> out(sizes.count * 64);
  for (auto _ : state) {
    rope_angles(positions, frequency, out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(out.size()));
}

using GateMul = void (*)(const float* gate, const float* up, size_t count, float* y);

void gate(benchmark::State& state, GateMul gate_mul) {
  const Sizes sizes;
  const auto a = testing::normals(sizes.count * sizes.wide, 1),
             b = testing::normals(sizes.count * sizes.wide, 2);
  std::vector<float> y(a.size());
  for (auto _ : state) {
    gate_mul(a.data(), b.data(), a.size(), y.data());
    benchmark::ClobberMemory();
  }
  report_rates(state, 12.0 * static_cast<double>(a.size()), 0);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(a.size()));
}

void gate_at_once(benchmark::State& state, GateAct act) {
  const Sizes sizes;
  const auto a = testing::normals(sizes.count * sizes.wide, 1),
             b = testing::normals(sizes.count * sizes.wide, 2);
  BenchBytes out(quantized_bytes(sizes.count, sizes.wide));
  for (auto _ : state) {
    gate_quantize_cpu(act, {a.data(), sizes.count, sizes.wide}, {b.data(), sizes.count, sizes.wide},
                      {.out = out.data, .cols = sizes.wide, .width = sizes.wide});
    benchmark::ClobberMemory();
  }
  report_rates(state, 10.0 * static_cast<double>(a.size()), 0);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(a.size()));
}

void quantize_part(benchmark::State& state) {
  const Sizes sizes;
  const auto x = testing::normals(sizes.count * sizes.hidden, 1);
  BenchBytes out(quantized_bytes(sizes.count, sizes.hidden));
  for (auto _ : state) {
    quantize_part_cpu({x.data(), sizes.count, sizes.hidden},
                      {.out = out.data, .cols = sizes.hidden, .width = sizes.hidden});
    benchmark::ClobberMemory();
  }
  report_rates(state, 6.0 * static_cast<double>(x.size()), 0);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(x.size()));
}

int register_all() {
  using State = benchmark::State;
  register_for_targets("rms_norm", rms_norm);
  register_for_targets("layer_norm", layer_norm);
  register_for_targets("rope/neox", [](State& state) { rope(state, RopeStyle::kNeox); });
  register_for_targets("rope/adjacent", [](State& state) { rope(state, RopeStyle::kAdjacent); });
  register_for_targets("rope/angles", angles);
  register_for_targets("gate/silu", [](State& state) { gate(state, silu_mul_cpu); });
  register_for_targets("gate/gelu", [](State& state) { gate(state, gelu_mul_cpu); });
  register_for_targets("gate_quantize/silu",
                       [](State& state) { gate_at_once(state, GateAct::kSilu); });
  register_for_targets("gate_quantize/gelu",
                       [](State& state) { gate_at_once(state, GateAct::kGelu); });
  register_for_targets("quantize_part", quantize_part);
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace altlas::ops
