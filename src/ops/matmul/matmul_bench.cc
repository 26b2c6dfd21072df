// Products of the default model's shapes. Counters are the weight bytes read per second (which
// limit batch 1) and the multiply-adds per second. read_roof is what one thread can read, measured
// in the same run. Weights cycle through more memory than the caches hold. ALTLAS_BENCH_TINY
// chooses small shapes, for the test suite.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "ops/matmul/matmul.h"
#include "ops/quantize/quantize.h"
#include "ops/roof/bench_counters.h"
#include "ops/roof/roof.h"
#include "ops/simd.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

struct Shape {
  DType type;
  size_t rows, cols;
};

// Copies of one packed random matrix, together larger than any cache. Scales are random bits,
// masked so that they are finite.
struct Weights {
  explicit Weights(const Shape& shape) : bytes(packed_bytes(shape.type, shape.rows, shape.cols)) {
    copies = bench_tiny() ? 1 : 1 + 200'000'000 / bytes;
    const size_t raw = shape.rows * row_bytes(shape.type, shape.cols);
    std::vector<uint8_t> row_major = testing::bytes(raw, 1);
    for (uint8_t& byte : row_major) byte &= 0x3b;
    for (size_t i = 0; i < copies; ++i) {
      all.push_back(std::make_unique<BenchBytes>(bytes));
      if (i == 0) {
        pack_panels({shape.type, shape.rows, shape.cols,
                     reinterpret_cast<const std::byte*>(row_major.data())},
                    {0, panel_count(shape.rows)}, all[0]->data);
      } else {
        std::copy_n(all[0]->data, bytes, all[i]->data);
      }
    }
  }
  size_t bytes, copies;
  std::vector<std::unique_ptr<BenchBytes>> all;
};

void product(benchmark::State& state, SimdTarget target, Shape shape, size_t tokens) {
  if (auto set = set_simd_target(target); !set.ok())
    return state.SkipWithError(set.error().message().c_str());
  if (bench_tiny()) shape = {shape.type, 40, 512};
  const Weights weights(shape);
  const std::vector<float> x = testing::normals(tokens * shape.cols, 2);
  BenchBytes quantized(quantized_bytes(tokens, shape.cols)),
      scratch(matmul_scratch_bytes(shape.type));
  if (takes_quantized_activations(shape.type)) {
    quantize_rows({x.data(), tokens, shape.cols}, shape.cols, {0, tokens}, quantized.data);
  }
  std::vector<float> y(tokens * shape.rows);
  size_t turn = 0;
  for (auto _ : state) {
    const PackedMatrix w{shape.type, static_cast<uint32_t>(shape.rows),
                         static_cast<uint32_t>(shape.cols),
                         weights.all[turn++ % weights.copies]->data};
    matmul(w, {tokens, quantized.data, x.data(), shape.cols}, {0, panel_count(shape.rows)},
           {y.data(), tokens, shape.rows}, scratch.data);
    benchmark::ClobberMemory();
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["weights"] =
      benchmark::Counter(runs * static_cast<double>(weights.bytes), benchmark::Counter::kIsRate);
  state.counters["MAC"] = benchmark::Counter(
      runs * static_cast<double>(tokens * shape.rows * shape.cols), benchmark::Counter::kIsRate);
  state.counters["y0"] = y[0];
}

// The roof of batch 1: one thread reading 256 MB once.
void read_roof(benchmark::State& state) {
  const std::vector<uint64_t> words(bench_tiny() ? 1 << 10 : 1 << 25, 1);
  for (auto _ : state) {
    uint64_t sum[16] = {};
    for (size_t i = 0; i < words.size(); i += 16) {
      for (size_t j = 0; j < 16; ++j) sum[j] += words[i + j];
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(words.size() * 8));
}

// The roof of many tokens if the target is avx512_bf16.
void bf16_roof(benchmark::State& state) {
  uint64_t done = 0, sink = 0;
  for (auto _ : state) done += roof_bf16(bench_tiny() ? 1 : 1000, sink);
  benchmark::DoNotOptimize(sink);
  state.counters["MAC"] =
      benchmark::Counter(static_cast<double>(done), benchmark::Counter::kIsRate);
}

void pack(benchmark::State& state, DType type) {
  const size_t rows = bench_tiny() ? 16 : 256, cols = 1024;
  const std::vector<uint8_t> raw = testing::bytes(rows * row_bytes(type, cols), 1);
  BenchBytes packed(packed_bytes(type, rows, cols));
  for (auto _ : state) {
    pack_panels({type, rows, cols, reinterpret_cast<const std::byte*>(raw.data())},
                {0, panel_count(rows)}, packed.data);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(raw.size()));
}

// Embeddings out of a packed head: rows from all over a matrix that is larger than the caches.
void unpack(benchmark::State& state, DType type) {
  const Shape shape{type, bench_tiny() ? 16u : 65'536u, 1024};
  const size_t rows = bench_tiny() ? 1 : 512;
  BenchBytes packed(packed_bytes(type, shape.rows, shape.cols));
  std::fill_n(packed.data, packed_bytes(type, shape.rows, shape.cols), std::byte{0x21});
  const PackedMatrix matrix{type, static_cast<uint32_t>(shape.rows),
                            static_cast<uint32_t>(shape.cols), packed.data};
  std::vector<float> out(shape.cols);
  size_t row = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < rows; ++i, row = (row + 40'503) % shape.rows)
      unpack_row(matrix, row, out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(rows * shape.cols));
}

int register_all() {
  benchmark::RegisterBenchmark("read_roof", read_roof);
  if (simd_supported(SimdTarget::kAvx512Bf16)) benchmark::RegisterBenchmark("bf16_roof", bf16_roof);
  const Shape shapes[] = {
      {DType::kQ5_0, 4864, 896}, {DType::kQ8_0, 4864, 896}, {DType::kQ4_K, 896, 4864},
      {DType::kQ6_K, 896, 4864}, {DType::kQ4_0, 4864, 896}, {DType::kQ5_K, 896, 4864},
      {DType::kQ2_K, 896, 4864}, {DType::kQ3_K, 896, 4864}, {DType::kQ4_1, 4864, 896},
      {DType::kQ5_1, 4864, 896}, {DType::kBF16, 4864, 896}, {DType::kF16, 4864, 896},
      {DType::kF32, 4864, 896}};
  for (const SimdTarget target : simd_targets()) {
    if (target == SimdTarget::kScalar || !simd_supported(target)) continue;
    const std::string simd(to_string(target));
    for (const Shape& shape : shapes) {
      if (!simd_keeps_bits(target) && shape.type != DType::kBF16) continue;
      for (const size_t tokens : {1, 4, 8, 16, 24, 32, 64, 512}) {
        benchmark::RegisterBenchmark(
            ("matmul/" + simd + "/" + std::string(dtype_info(shape.type).name) + "/" +
             std::to_string(shape.rows) + "x" + std::to_string(shape.cols) +
             "/batch:" + std::to_string(tokens))
                .c_str(),
            product, target, shape, tokens);
      }
    }
  }
  for (const DType type : {DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kF16}) {
    benchmark::RegisterBenchmark(("pack/" + std::string(dtype_info(type).name)).c_str(), pack,
                                 type);
    benchmark::RegisterBenchmark(("unpack_row/" + std::string(dtype_info(type).name)).c_str(),
                                 unpack, type);
  }
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace altlas::ops
