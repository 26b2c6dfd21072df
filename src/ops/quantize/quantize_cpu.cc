#include "ops/quantize/quantize.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "ops/matmul/activation.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/quantize/quantize_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/elementwise/gate-inl.h"
#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {
constexpr size_t kVectors = kActivationBlock / kLanes;
constexpr size_t kBlocksAtOnce = 16;

// The intermediate values of up to kBlocksAtOnce blocks of a row: each step is done for all of
// them.
struct Batch {
  HWY_ALIGN float x[kBlocksAtOnce][kActivationBlock];
  HWY_ALIGN int32_t largest[kBlocksAtOnce] = {};  // The bits of each block's largest magnitude.
  HWY_ALIGN float scale[kBlocksAtOnce];
  HWY_ALIGN float inverse[kBlocksAtOnce];
};

HWY_INLINE int32_t largest_bits(const Vec16 (&x)[kVectors]) {
  const hn::RebindToSigned<F32x16> di;
  auto largest = hn::BitCast(di, hn::Abs(x[0]));
  for (size_t v = 1; v < kVectors; ++v) largest = hn::Max(largest, hn::BitCast(di, hn::Abs(x[v])));
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  HWY_ALIGN int32_t lanes[16];
  hn::Store(largest, di, lanes);
  return *std::max_element(lanes, lanes + kLanes);
#else
  return hn::GetLane(hn::MaxOfLanes(di, largest));
#endif
}

// Sums quants 0-15 and 16-31.
HWY_INLINE void sum_quants(const int8_t* quants, int32_t (&sums)[2]) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  for (size_t half = 0; half < 2; ++half) {
    sums[half] = 0;
    for (size_t k = 0; k < 16; ++k) sums[half] += quants[half * 16 + k];
  }
#else
  const hn::CappedTag<uint8_t, 32> bytes;
  const hn::Repartition<uint64_t, decltype(bytes)> eights;
  constexpr size_t kBytes = hn::MaxLanes(bytes);
  HWY_ALIGN uint64_t eight[4];
  // The bytes are read as unsigned, so each is 128 more.
  for (size_t k = 0; k < 32; k += kBytes)
    hn::Store(hn::SumsOf8(hn::Xor(hn::LoadU(bytes, reinterpret_cast<const uint8_t*>(quants) + k),
                                  hn::Set(bytes, 0x80))),
              eights, eight + k / 8);
  sums[0] = static_cast<int32_t>(eight[0] + eight[1]) - 16 * 128;
  sums[1] = static_cast<int32_t>(eight[2] + eight[3]) - 16 * 128;
#endif
}

// Does what quantize_block() does for each block; it calls that for zero and non-finite blocks.
HWY_INLINE void quantize(Batch& batch, size_t count, ActivationBlock* out) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const hn::Rebind<int8_t, F32x16> bytes;
  for (size_t b = 0; b < count; b += kLanes) {
    const Vec16 amax = hn::BitCast(d, hn::Load(di, batch.largest + b));
    hn::Store(hn::Div(amax, hn::Set(d, 127.0f)), d, batch.scale + b);
    hn::Store(hn::Div(hn::Set(d, 127.0f), amax), d, batch.inverse + b);
  }
  const auto is_odd = [&](size_t b) {
    return batch.largest[b] >= 0x7f800000 ||
           batch.largest[b] < std::bit_cast<int32_t>(kSmallestAmax);
  };
  for (size_t b = 0; b < count; ++b) {
    if (is_odd(b)) {
      quantize_block(batch.x[b], out[b]);
      continue;
    }
    const Vec16 inverse = hn::Set(d, batch.inverse[b]);
    for (size_t v = 0; v < kVectors; ++v)
      hn::StoreU(hn::DemoteTo(
                     bytes, hn::NearestInt(hn::Mul(hn::Load(d, batch.x[b] + v * kLanes), inverse))),
                 bytes, out[b].quants + v * kLanes);
  }
  for (size_t b = 0; b < count; ++b) {
    if (is_odd(b)) continue;
    int32_t sums[2];
    sum_quants(out[b].quants, sums);
    const int32_t sum = sums[0] + sums[1];
    out[b].scale = batch.scale[b];
    out[b].scaled_sum = batch.scale[b] * static_cast<float>(sum);
    out[b].minus_16_sum = -16 * sum;
    out[b].minus_128_sum = -128 * sum;
    out[b].minus_32_sum[0] = -32 * sums[0];
    out[b].minus_32_sum[1] = -32 * sums[1];
    out[b].unused[0] = out[b].unused[1] = 0;
  }
}

// value(row, column) returns a vector of the part.
template <class Value>
HWY_INLINE void quantize_rows_of(size_t rows, const QuantizedPart& part, const Value& value) {
  const F32x16 d;
  const size_t stride = activation_stride(part.cols), blocks = part.width / kActivationBlock;
  const size_t padding = part.column + part.width == part.cols
                             ? activation_blocks(part.cols) - part.cols / kActivationBlock
                             : 0;
  auto* out = reinterpret_cast<ActivationBlock*>(part.out) + part.column / kActivationBlock;
  Batch batch;
  for (size_t row = 0; row < rows; ++row, out += stride) {
    for (size_t first = 0; first < blocks; first += kBlocksAtOnce) {
      const size_t count = std::min(kBlocksAtOnce, blocks - first);
      for (size_t b = 0; b < count; ++b) {
        Vec16 x[kVectors];
        for (size_t v = 0; v < kVectors; ++v) {
          x[v] = value(row, (first + b) * kActivationBlock + v * kLanes);
          hn::Store(x[v], d, batch.x[b] + v * kLanes);
        }
        batch.largest[b] = largest_bits(x);
      }
      quantize(batch, count, out + first);
    }
    for (size_t i = 0; i < padding; ++i) out[blocks + i] = {};
  }
}

template <class Gate>
HWY_INLINE void gate_rows(const Gate& act, Rows<const float> gate, Rows<const float> up,
                          const QuantizedPart& part) {
  const F32x16 d;
  quantize_rows_of(gate.count, part, [&](size_t row, size_t column) HWY_ATTR {
    const size_t at = row * gate.stride + column;
    return hn::Mul(act(hn::LoadU(d, gate.data + at)), hn::LoadU(d, up.data + at));
  });
}
}  // namespace

void quantize_part(Rows<const float> x, const QuantizedPart& part) {
  quantize_rows_of(x.count, part, [&](size_t row, size_t column) HWY_ATTR {
    return hn::LoadU(F32x16(), x.data + row * x.stride + column);
  });
}

void gate_quantize(GateAct act, Rows<const float> gate, Rows<const float> up,
                   const QuantizedPart& part) {
  if (act == GateAct::kSilu)
    gate_rows(Silu(), gate, up, part);
  else
    gate_rows(Gelu(), gate, up, part);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(quantize_part);
HWY_EXPORT(gate_quantize);
namespace {
void check(const QuantizedPart& part) {
  ALTLAS_CHECK(part.cols % kActivationBlock == 0 && part.column % kActivationBlock == 0 &&
                   part.width % kActivationBlock == 0 && part.column + part.width <= part.cols,
               "whole blocks of 32 within the row");
}
}  // namespace
void quantize_rows(Rows<const float> x, size_t cols, Range rows, std::byte* out) {
  quantize_part_cpu(x.rows(rows.begin, rows.end),
                    {.out = out + quantized_bytes(rows.begin, cols), .cols = cols, .width = cols});
}
void quantize_part_cpu(Rows<const float> x, const QuantizedPart& part) {
  check(part);
  HWY_DYNAMIC_DISPATCH(quantize_part)(x, part);
}
void gate_quantize_cpu(GateAct act, Rows<const float> gate, Rows<const float> up,
                       const QuantizedPart& part) {
  check(part);
  ALTLAS_DCHECK(gate.count == up.count && gate.stride == up.stride, "rows that lie alike");
  HWY_DYNAMIC_DISPATCH(gate_quantize)(act, gate, up, part);
}
}  // namespace altlas::ops
#endif
