// Attention of one layer by one thread: a whole prefill, one token at a long context, whole texts
// of an encoder. MAC counts what queries see, scores and values together; `bytes` are those of keys
// and values.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ops/attention/attention.h"
#include "ops/roof/bench_counters.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

struct Model {
  std::string name;
  uint32_t q_heads, kv_heads, head_dim, window;
};

AttentionShape shape_of(const Model& model, DType type) {
  AttentionShape shape{.q_heads = model.q_heads, .scale = 0.1f, .window = model.window};
  shape.layout = {
      .type = type, .block_tokens = 16, .kv_heads = model.kv_heads, .head_dim = model.head_dim};
  return shape;
}

// The layers of one sequence of `length` tokens. Blocks of keys and values lie in order.
struct Sequence {
  Sequence(const AttentionShape& s, size_t length, size_t layer_count)
      : shape(s), layers(layer_count), blocks((length + 15) / 16) {
    const KvLayout& kv = shape.layout;
    const size_t width = kv.kv_heads * kv.head_dim;
    data.resize(layers * blocks * kv.block_bytes());
    for (size_t b = 0; b < blocks; ++b) table.push_back(static_cast<uint32_t>(b));
    const auto k = testing::normals(width, 1), v = testing::normals(width, 2);
    for (size_t t = 0; t < length; ++t)
      kv_write_cpu(kv, {layer(0), kv.block_bytes(), table.data(), t}, k.data(), v.data());
    for (size_t l = 1; l < layers; ++l) std::copy(layer(0), layer(1), layer(l));
  }
  std::byte* layer(size_t index) { return &data[index * blocks * shape.layout.block_bytes()]; }

  AttentionShape shape;
  size_t layers, blocks;
  std::vector<std::byte> data;
  std::vector<uint32_t> table;
};

AttentionCall call_of(Sequence& sequence, size_t layer, const std::vector<float>& q, size_t first,
                      std::vector<float>& out) {
  const size_t width = sequence.shape.q_heads * sequence.shape.layout.head_dim;
  return {.blocks = sequence.layer(layer),
          .block_stride = sequence.shape.layout.block_bytes(),
          .table = sequence.table.data(),
          .position = first,
          .q = &q[first * width],
          .q_stride = width,
          .out = &out[first * width],
          .out_stride = width};
}

void prefill(benchmark::State& state, const Model& model, DType type) {
  const AttentionShape shape = shape_of(model, type);
  const size_t tokens = bench_tiny() ? 40 : 512, width = shape.q_heads * shape.layout.head_dim;
  Sequence sequence(shape, tokens, 1);
  const auto q = testing::normals(tokens * width, 3);
  std::vector<float> out(tokens * width);
  BenchBytes scratch(attention_scratch_bytes(shape));
  for (auto _ : state) {
    for (uint32_t head = 0; head < model.kv_heads; ++head)
      for (size_t t = 0; t < tokens; t += shape.tokens_max()) {
        AttentionCall call = call_of(sequence, 0, q, t, out);
        call.tokens = std::min(shape.tokens_max(), tokens - t);
        call.kv_head = head;
        attention_cpu(shape, call, scratch.data);
      }
    benchmark::ClobberMemory();
  }
  const double pairs = static_cast<double>(tokens) * static_cast<double>(tokens + 1) / 2;
  report_rates(state, 0, 2 * pairs * static_cast<double>(width));
}

void decode(benchmark::State& state, const Model& model, DType type) {
  const AttentionShape shape = shape_of(model, type);
  const size_t length = bench_tiny() ? 200 : 4096, layers = bench_tiny() ? 1 : 24;
  Sequence sequence(shape, length, layers);  // Together the layers hold more than the caches.
  const size_t width = shape.q_heads * shape.layout.head_dim;
  const auto q = testing::normals(width, 3);
  std::vector<float> out(width);
  BenchBytes scratch(attention_scratch_bytes(shape));
  size_t turn = 0;
  for (auto _ : state) {
    AttentionCall call = call_of(sequence, turn++ % layers, q, 0, out);
    call.position = length - 1;
    call.tokens = 1;
    for (call.kv_head = 0; call.kv_head < model.kv_heads; ++call.kv_head)
      attention_cpu(shape, call, scratch.data);
    benchmark::ClobberMemory();
  }
  const auto seen = static_cast<double>(model.window == 0 ? length : model.window);
  report_rates(state, static_cast<double>(shape.layout.block_bytes()) / 16 * seen,
               2 * seen * static_cast<double>(width));
}

void write(benchmark::State& state, const Model& model, DType type) {
  const AttentionShape shape = shape_of(model, type);
  const size_t tokens = bench_tiny() ? 20 : 512,
               width = shape.layout.kv_heads * shape.layout.head_dim;
  Sequence sequence(shape, tokens, 1);
  const auto k = testing::normals(tokens * width, 1), v = testing::normals(tokens * width, 2);
  for (auto _ : state) {
    for (size_t t = 0; t < tokens; ++t)
      kv_write_cpu(shape.layout,
                   {sequence.layer(0), shape.layout.block_bytes(), sequence.table.data(), t},
                   &k[t * width], &v[t * width]);
    benchmark::ClobberMemory();
  }
  report_rates(state, 2.0 * static_cast<double>(tokens * width) * sizeof(float), 0);
}

int register_all() {
  const Model models[] = {{"qwen2-0.5b", 14, 2, 64, 0}, {"gemma3-270m", 4, 1, 256, 512}};
  for (const Model& model : models)
    for (const DType type : {DType::kF16, DType::kBF16, DType::kF32, DType::kQ8_0}) {
      const std::string name = model.name + "/" + std::string(dtype_info(type).name);
      register_for_targets("attention/prefill/" + name,
                           [model, type](benchmark::State& state) { prefill(state, model, type); });
      register_for_targets("attention/decode/" + name,
                           [model, type](benchmark::State& state) { decode(state, model, type); });
      register_for_targets("kv_write/" + name,
                           [model, type](benchmark::State& state) { write(state, model, type); });
    }
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace altlas::ops
