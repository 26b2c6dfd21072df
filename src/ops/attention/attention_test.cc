#include "ops/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/math/scalar.h"
#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

struct Fixture {
  AttentionShape shape;
  size_t length;
  std::vector<std::byte> blocks;
  std::vector<uint32_t> table;
  std::vector<float> q;

  Fixture(const AttentionShape& s, size_t n) : shape(s), length(n) {
    const KvLayout& kv = shape.layout;
    const size_t count = (length + kv.block_tokens - 1) / kv.block_tokens;
    // Blocks lie in reverse order, between foreign blocks that hold NaN.
    blocks.assign((2 * count + 1) * kv.block_bytes(), std::byte{0xff});
    for (size_t b = 0; b < count; ++b) table.push_back(static_cast<uint32_t>(2 * (count - b) - 1));
    const size_t width = kv.kv_heads * kv.head_dim;
    const auto k = testing::normals(length * width, 11), v = testing::normals(length * width, 12);
    for (size_t t = 0; t < length; ++t)
      kv_write_cpu(kv, {blocks.data(), kv.block_bytes(), table.data(), t}, &k[t * width],
                   &v[t * width]);
    q = testing::normals(length * shape.q_heads * kv.head_dim, 13);
  }

  // Calls `fn` for queries [begin, length), in chunks of `chunk` tokens.
  template <class Fn>
  std::vector<float> run(size_t begin, size_t chunk, Fn&& attend) const {
    const size_t stride = shape.q_heads * shape.layout.head_dim;
    std::vector<float> out((length - begin) * stride);
    for (size_t t = begin; t < length; t += chunk)
      for (uint32_t h = 0; h < shape.layout.kv_heads; ++h) {
        const AttentionCall call{.blocks = blocks.data(),
                                 .block_stride = shape.layout.block_bytes(),
                                 .table = table.data(),
                                 .position = t,
                                 .tokens = std::min(chunk, length - t),
                                 .kv_head = h,
                                 .q = &q[t * stride],
                                 .q_stride = stride,
                                 .out = &out[(t - begin) * stride],
                                 .out_stride = stride};
        attend(call);
      }
    return out;
  }
};

AttentionShape shape_of(uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim,
                        DType type = DType::kF16) {
  AttentionShape shape{.q_heads = q_heads, .scale = 0.2f};
  shape.layout = {.type = type, .block_tokens = 16, .kv_heads = kv_heads, .head_dim = head_dim};
  return shape;
}

// Goal: every target is near the reference and all give the same bits, for every chunking of the
// queries. Method: shapes of real models (groups 1, 2, 7; head sizes 16 to 256), windows, softcaps,
// types; foreign blocks hold NaN.
TEST(Attention, EveryTargetAndChunking) {
  std::vector<AttentionShape> shapes = {shape_of(14, 2, 64),
                                        shape_of(4, 4, 16),
                                        shape_of(4, 2, 80),
                                        shape_of(4, 1, 256),
                                        shape_of(2, 1, 128, DType::kBF16),
                                        shape_of(3, 1, 32, DType::kF32),
                                        shape_of(40, 1, 16),
                                        shape_of(14, 2, 64, DType::kQ8_0),
                                        shape_of(4, 1, 256, DType::kQ8_0),
                                        shape_of(4, 2, 80, DType::kQ8_0)};
  shapes.push_back(shape_of(4, 2, 32));
  shapes.back().window = 40;
  shapes.push_back(shape_of(4, 2, 32));
  shapes.back().window = 200;
  shapes.back().softcap = 5;
  shapes.back().layout.block_tokens = 48;
  for (const AttentionShape& shape : shapes)
    for (const size_t length : {1, 2, 33, 300}) {
      const Fixture fixture(shape, length);
      const size_t begin = length > 100 ? length - 40 : 0;
      const auto want = fixture.run(begin, shape.tokens_max(),
                                    [&](const AttentionCall& call) { attention_ref(shape, call); });
      std::vector<float> first;
      for_each_target([&](const std::string& target) {
        for (const size_t chunk : {size_t{1}, size_t{3}, shape.tokens_max()}) {
          if (chunk > shape.tokens_max()) continue;
          SCOPED_TRACE(target + " length=" + std::to_string(length) + " chunk=" +
                       std::to_string(chunk) + " heads=" + std::to_string(shape.q_heads) +
                       " window=" + std::to_string(shape.window));
          std::vector<std::byte> memory(attention_scratch_bytes(shape) + 64, std::byte{0xff});
          std::byte* scratch =
              memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
          const auto got = fixture.run(begin, chunk, [&](const AttentionCall& call) {
            attention_cpu(shape, call, scratch);
          });
          ASSERT_TRUE(testing::near_all(got, want, 2e-3f));
          if (first.empty()) first = got;
          ASSERT_TRUE(testing::same_bits(got, first));
        }
      });
    }
}

// Goal: every target stores the bits of the scalar conversions, also for ties, subnormals, too
// large values and NaN; an infinity becomes NaN, where finite values that are too large saturate.
// Method: keys and values of two heads at positions of two groups.
TEST(Attention, EveryTargetStoresTheSameBits) {
  for (const DType type : {DType::kF16, DType::kBF16}) {
    const KvLayout kv{.type = type, .block_tokens = 32, .kv_heads = 2, .head_dim = 48};
    auto k = testing::normals(96, 5), v = testing::normals(96, 6);
    const float odd[] = {
        0.0f,    -0.0f,     1e-8f, -3e-8f, 6.1e-5f,         65504.0f,        65519.0f, -65520.0f,
        3.0e38f, -INFINITY, NAN,   -NAN,   1.0f + 0x1p-11f, 1.0f + 0x3p-11f, 0x1p-24f, 0x1p-25f};
    std::copy(std::begin(odd), std::end(odd), &k[40]);
    std::copy(std::begin(odd), std::end(odd), &v[60]);
    const auto convert = [&](float x) {
      if (type == DType::kBF16) return bf16_from_f32(x);
      return f16_from_f32(std::isinf(x) ? std::copysign(NAN, x) : x);
    };
    for_each_target([&](const std::string& target) {
      const uint32_t table[] = {0};
      std::vector<std::byte> block(kv.block_bytes());
      for (const size_t position : {3, 17}) {
        SCOPED_TRACE(target + " " + std::to_string(position));
        kv_write_cpu(kv, {block.data(), kv.block_bytes(), table, position}, k.data(), v.data());
        for (size_t h = 0; h < 2; ++h) {
          const auto* keys = reinterpret_cast<const uint16_t*>(block.data() + h * kv.head_bytes());
          const uint16_t* values = keys + 32 * 48 + position * 48;
          for (size_t c = 0; c < 48; ++c) {
            EXPECT_EQ(keys[(position / 16 * 48 + c) * 16 + position % 16], convert(k[h * 48 + c]));
            EXPECT_EQ(values[c], convert(v[h * 48 + c])) << v[h * 48 + c];
          }
        }
      }
    });
  }
}

// Goal: queries that see the same keys get the answers that each gets alone.
TEST(Attention, QueriesThatSeeTheSame) {
  const AttentionShape shape = shape_of(6, 3, 32);
  const Fixture fixture(shape, 200);
  const size_t width = 6 * 32;
  std::vector<std::byte> memory(attention_scratch_bytes(shape) + 64);
  std::byte* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  for_each_target([&](const std::string& target) {
    SCOPED_TRACE(target);
    const auto answers = [&](size_t tokens) {
      std::vector<float> out(12 * width);
      for (size_t t = 0; t < 12; t += tokens)
        for (uint32_t head = 0; head < 3; ++head)
          attention_cpu(shape,
                        {.blocks = fixture.blocks.data(),
                         .block_stride = shape.layout.block_bytes(),
                         .table = fixture.table.data(),
                         .position = 199,
                         .tokens = tokens,
                         .sees_same = true,
                         .kv_head = head,
                         .q = &fixture.q[t * width],
                         .q_stride = width,
                         .out = &out[t * width],
                         .out_stride = width},
                        scratch);
      return out;
    };
    EXPECT_TRUE(testing::same_bits(answers(12), answers(1)));
  });
}

// Goal: Q8_0 keeps values near what was written, and shows those that are not finite. Method: one
// key and value that only their own token sees; the answer is the value.
TEST(Attention, Q8KeepsValues) {
  const AttentionShape shape = shape_of(1, 1, 80, DType::kQ8_0);
  const KvLayout& kv = shape.layout;
  std::vector<std::byte> block(kv.block_bytes());
  const uint32_t table[] = {0};
  const auto k = testing::normals(80, 3);
  auto v = testing::normals(80, 4);
  for (size_t c = 0; c < 32; ++c) v[c] *= 1e4f;  // Each group has its own scale.
  for (size_t c = 64; c < 80; ++c) v[c] = 0;
  std::vector<std::byte> memory(attention_scratch_bytes(shape) + 64);
  std::byte* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  const auto answer = [&] {
    kv_write_cpu(kv, {block.data(), kv.block_bytes(), table, 0}, k.data(), v.data());
    std::vector<float> out(80);
    attention_cpu(shape,
                  {.blocks = block.data(),
                   .block_stride = kv.block_bytes(),
                   .table = table,
                   .tokens = 1,
                   .q = k.data(),
                   .q_stride = 80,
                   .out = out.data(),
                   .out_stride = 80},
                  scratch);
    return out;
  };
  const auto out = answer();
  for (size_t c = 0; c < 80; ++c) {
    const float group = c < 32 ? 4e4f : 4;  // More than the largest magnitude of the group.
    EXPECT_NEAR(out[c], v[c], group / 127) << c;
  }
  v[40] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(answer()[40]));
}

// Goal: tiles that are computed apart and merged in order give the bits of the whole, however they
// are cut. Method: every target, full and windowed, parts of 1, 2 and 5 tiles, merged in one or
// more calls.
TEST(Attention, PartsGiveTheSameBits) {
  std::vector<AttentionShape> shapes = {shape_of(14, 2, 64), shape_of(4, 1, 256),
                                        shape_of(3, 1, 32, DType::kBF16),
                                        shape_of(6, 2, 64, DType::kQ8_0)};
  shapes.push_back(shape_of(4, 2, 32));
  shapes.back().window = 500;
  shapes.back().softcap = 5;
  for (const AttentionShape& shape : shapes)
    for (const size_t length : {1, 128, 129, 1000}) {
      const Fixture fixture(shape, length);
      const size_t dim = shape.layout.head_dim, stride = attention_partial_floats(shape);
      for_each_target([&](const std::string& target) {
        SCOPED_TRACE(target + " length=" + std::to_string(length));
        std::vector<std::byte> memory(attention_scratch_bytes(shape) + 64, std::byte{0xff});
        std::byte* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
        const auto want = fixture.run(
            length - 1, 1, [&](const AttentionCall& call) { attention_cpu(shape, call, scratch); });
        for (const size_t part : {1, 2, 5}) {
          const auto got = fixture.run(length - 1, 1, [&](const AttentionCall& call) {
            const AttentionTiles tiles = attention_tiles(shape, call.position);
            std::vector<float> partials((tiles.last - tiles.first) * stride);
            for (size_t t = tiles.first; t < tiles.last; t += part)
              attention_partial_cpu(shape, call, {t, std::min(t + part, tiles.last)},
                                    &partials[(t - tiles.first) * stride], scratch);
            std::vector<float> states(dim + 2 + 16);
            float* state =
                states.data() + (64 - reinterpret_cast<uintptr_t>(states.data()) % 64) / 4;
            for (uint32_t row = 0; row < shape.group(); ++row)
              for (size_t t = tiles.first; t < tiles.last; t += part)
                attention_merge_cpu(shape, call,
                                    {.partials = &partials[(t - tiles.first) * stride],
                                     .partial_stride = stride,
                                     .count = std::min(part, tiles.last - t),
                                     .row = row,
                                     .first = t == tiles.first,
                                     .last = t + part >= tiles.last},
                                    state);
          });
          ASSERT_TRUE(testing::same_bits(got, want)) << part;
        }
      });
    }
}

}  // namespace
}  // namespace altlas::ops
