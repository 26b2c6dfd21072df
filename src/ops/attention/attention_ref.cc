#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "ops/attention/attention.h"

namespace altlas::ops {
namespace {
double half_value(uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  return sign *
         (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

double load(const KvLayout& layout, const std::byte* base, size_t index) {
  if (layout.type == DType::kF32) {
    float value;
    std::memcpy(&value, base + 4 * index, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, base + 2 * index, 2);
  return layout.type == DType::kF16 ? half_value(bits) : std::bit_cast<float>(uint32_t{bits} << 16);
}

// Returns element [token, c] of a half, times its scale.
double load_scaled(const KvLayout& layout, const std::byte* half, bool keys, size_t token,
                   size_t c) {
  const size_t dim = layout.head_dim, scales = layout.scales(), group = c / kKvScaleValues;
  const size_t at = keys ? (token / 16 * dim + c) * 16 + token % 16 : token * dim + c;
  const size_t scale_at =
      keys ? (token / 16 * scales + group) * 16 + token % 16 : token * scales + group;
  uint16_t bits;
  std::memcpy(&bits, half + layout.block_tokens * dim + 2 * scale_at, 2);
  return static_cast<double>(static_cast<int8_t>(half[at])) * half_value(bits);
}

// Returns element [token, c] of a head's keys or values.
double element(const KvLayout& layout, const std::byte* head, bool keys, size_t token, size_t c) {
  const std::byte* half = head + (keys ? 0 : layout.half_bytes());
  if (layout.type == DType::kQ8_0) return load_scaled(layout, half, keys, token, c);
  const size_t dim = layout.head_dim;
  return load(layout, half, keys ? (token / 16 * dim + c) * 16 + token % 16 : token * dim + c);
}

struct Position {
  const std::byte* head;  // The keys of this block and head; the values follow.
  size_t token;           // The token's place in the block.
};
}  // namespace

void attention_ref(const AttentionShape& shape, const AttentionCall& call) {
  const KvLayout& kv = shape.layout;
  const size_t dim = kv.head_dim, group = shape.group();
  const auto find = [&](size_t position) {
    const std::byte* block =
        call.blocks + call.table[position / kv.block_tokens] * call.block_stride;
    return Position{block + call.kv_head * kv.head_bytes(), position % kv.block_tokens};
  };
  for (size_t t = 0; t < call.tokens; ++t)
    for (size_t h = 0; h < group; ++h) {
      const float* q = call.q + t * call.q_stride + (call.kv_head * group + h) * dim;
      float* out = call.out + t * call.out_stride + (call.kv_head * group + h) * dim;
      const size_t last = call.position_of(t);
      const size_t first =
          shape.window == 0 || last + 1 <= shape.window ? 0 : last + 1 - shape.window;
      std::vector<double> score, sum(dim, 0.0);
      double largest = -INFINITY, total = 0;
      for (size_t j = first; j <= last; ++j) {
        const Position at = find(j);
        double dot = 0;
        for (size_t c = 0; c < dim; ++c) dot += q[c] * element(kv, at.head, true, at.token, c);
        dot *= shape.scale;
        if (shape.softcap > 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
        score.push_back(dot);
        largest = std::max(largest, dot);
      }
      for (size_t j = first; j <= last; ++j) {
        const Position at = find(j);
        const double weight = std::exp(score[j - first] - largest);
        total += weight;
        for (size_t c = 0; c < dim; ++c)
          sum[c] += weight * element(kv, at.head, false, at.token, c);
      }
      for (size_t c = 0; c < dim; ++c) out[c] = static_cast<float>(sum[c] / total);
    }
}

}  // namespace altlas::ops
