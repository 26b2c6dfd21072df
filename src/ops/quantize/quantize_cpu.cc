#include "ops/quantize/quantize.h"

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

#if HWY_TARGET == HWY_EMU128
HWY_INLINE void quantize(const Vec16 (&x)[kVectors], ActivationBlock& out) {
  HWY_ALIGN float values[kActivationBlock];
  for (size_t v = 0; v < kVectors; ++v) hn::Store(x[v], F32x16(), values + v * kLanes);
  quantize_block(values, out);
}
#else
// As quantize_block; zero and non-finite blocks go there.
HWY_INLINE void quantize(const Vec16 (&x)[kVectors], ActivationBlock& out) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  const hn::Rebind<int8_t, F32x16> bytes;
  auto largest = hn::BitCast(di, hn::Abs(x[0]));
  for (size_t v = 1; v < kVectors; ++v) largest = hn::Max(largest, hn::BitCast(di, hn::Abs(x[v])));
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
  const float amax = std::bit_cast<float>(bits);
  if (bits >= 0x7f800000 || amax < kSmallestAmax) {
    HWY_ALIGN float values[kActivationBlock];
    for (size_t v = 0; v < kVectors; ++v) hn::Store(x[v], d, values + v * kLanes);
    return quantize_block(values, out);
  }
  const Vec16 inverse = hn::Set(d, 127.0f / amax);
  int32_t sums[2];
  for (size_t half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (size_t v = half * kVectors / 2; v < (half + 1) * kVectors / 2; ++v) {
      const auto quants = hn::NearestInt(hn::Mul(x[v], inverse));
      hn::StoreU(hn::DemoteTo(bytes, quants), bytes, out.quants + v * kLanes);
      sum = hn::Add(sum, quants);
    }
    sums[half] = hn::GetLane(hn::SumOfLanes(di, sum));
  }
  const int32_t sum = sums[0] + sums[1];
  out.scale = amax / 127.0f;
  out.scaled_sum = out.scale * static_cast<float>(sum);
  out.minus_16_sum = -16 * sum;
  out.minus_128_sum = -128 * sum;
  out.minus_32_sum[0] = -32 * sums[0];
  out.minus_32_sum[1] = -32 * sums[1];
  out.unused[0] = out.unused[1] = 0;
}
#endif

// value(row, column) gives a vector of the part.
template <class Value>
HWY_INLINE void quantize_rows_of(size_t rows, const QuantizedPart& part, const Value& value) {
  const size_t stride = activation_stride(part.cols);
  const size_t padding = part.column + part.width == part.cols
                             ? activation_blocks(part.cols) - part.cols / kActivationBlock
                             : 0;
  auto* row_out = reinterpret_cast<ActivationBlock*>(part.out) + part.column / kActivationBlock;
  for (size_t row = 0; row < rows; ++row, row_out += stride) {
    ActivationBlock* out = row_out;
    for (size_t c = 0; c < part.width; c += kActivationBlock, ++out) {
      Vec16 x[kVectors];
      for (size_t v = 0; v < kVectors; ++v) x[v] = value(row, c + v * kLanes);
      quantize(x, *out);
    }
    for (size_t i = 0; i < padding; ++i) out[i] = {};
  }
}

template <class Gate>
HWY_INLINE void gate_rows(const Gate& act, const float* gate, const float* up, size_t stride,
                          size_t rows, const QuantizedPart& part) {
  const F32x16 d;
  quantize_rows_of(rows, part, [&](size_t row, size_t column) HWY_ATTR {
    const size_t at = row * stride + column;
    return hn::Mul(act(hn::LoadU(d, gate + at)), hn::LoadU(d, up + at));
  });
}
}  // namespace

void quantize_part(const float* x, size_t stride, size_t rows, const QuantizedPart& part) {
  quantize_rows_of(rows, part, [&](size_t row, size_t column) HWY_ATTR {
    return hn::LoadU(F32x16(), x + row * stride + column);
  });
}

void gate_quantize(GateAct act, const float* gate, const float* up, size_t stride, size_t rows,
                   const QuantizedPart& part) {
  if (act == GateAct::kSilu)
    gate_rows(Silu(), gate, up, stride, rows, part);
  else
    gate_rows(Gelu(), gate, up, stride, rows, part);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(quantize_part);
HWY_EXPORT(gate_quantize);
namespace {
void check(const QuantizedPart& part) {
  ALTLAS_DCHECK(part.cols % kActivationBlock == 0 && part.column % kActivationBlock == 0 &&
                    part.width % kActivationBlock == 0 && part.column + part.width <= part.cols,
                "whole blocks of 32 within the row");
}
}  // namespace
void quantize_part_cpu(const float* x, size_t stride, size_t rows, const QuantizedPart& part) {
  check(part);
  HWY_DYNAMIC_DISPATCH(quantize_part)(x, stride, rows, part);
}
void gate_quantize_cpu(GateAct act, const float* gate, const float* up, size_t stride, size_t rows,
                       const QuantizedPart& part) {
  check(part);
  HWY_DYNAMIC_DISPATCH(gate_quantize)(act, gate, up, stride, rows, part);
}
}  // namespace altlas::ops
#endif
