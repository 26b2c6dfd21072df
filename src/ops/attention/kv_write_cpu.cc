// Writing keys and values into a KV block.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/attention/kv_layout.h"
#include "ops/math/scalar.h"
#include "tensor/half.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/attention/kv_write_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {
using Halves = hn::Rebind<uint16_t, F32x16>;

// Does what f16_from_f32() does for each lane, except for infinities: what is not finite is to show
// in what follows, so they become NaN.
HWY_INLINE hn::Vec<Halves> to_f16(Vec16 x) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  HWY_ALIGN float in[16];
  HWY_ALIGN uint16_t out[16];
  hn::Store(x, F32x16(), in);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (size_t i = 0; i < kLanes; ++i)
    out[i] = f16_from_f32(std::isfinite(in[i]) ? in[i] : std::copysign(nan, in[i]));
  return hn::Load(Halves(), out);
#else
  const F32x16 d;
  const hn::RebindToUnsigned<F32x16> du;
  const auto most = hn::Set(d, 65504.0f);
  const auto bits = hn::BitCast(du, x);
  const auto is_broken = hn::Not(hn::IsFinite(x));
  // The conversion keeps a NaN's payload; f16_from_f32() makes one NaN of all with a sign.
  const auto nan =
      hn::BitCast(d, hn::Or(hn::And(bits, hn::Set(du, 0x80000000u)), hn::Set(du, 0x7fc00000u)));
  const Vec16 kept = hn::CopySign(hn::Min(hn::Abs(x), most), x);
  const hn::Rebind<hwy::float16_t, F32x16> half;
  return hn::BitCast(Halves(), hn::DemoteTo(half, hn::IfThenElse(is_broken, nan, kept)));
#endif
}

// Does what bf16_from_f32() does, for each lane.
HWY_INLINE hn::Vec<Halves> to_bf16(Vec16 x) {
  const hn::RebindToUnsigned<F32x16> du;
  const auto bits = hn::BitCast(du, x), high = hn::ShiftRight<16>(bits);
  const auto rounded = hn::ShiftRight<16>(
      hn::Add(bits, hn::Add(hn::Set(du, 0x7fff), hn::And(high, hn::Set(du, 1)))));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(x));
  const auto out = hn::IfThenElse(is_nan, hn::Or(high, hn::Set(du, 0x40)), rounded);
  return hn::DemoteTo(Halves(), hn::BitCast(hn::RebindToSigned<F32x16>(), out));
}

// Stores one token's values of one head: element c goes to out[c * step].
template <bool kHalf>
void store_halves(const float* x, size_t dim, size_t step, uint16_t* out) {
  const F32x16 d;
  HWY_ALIGN uint16_t lanes[16];
  for (size_t c = 0; c < dim; c += kLanes) {
    const Vec16 in = hn::LoadU(d, x + c);
    const auto bits = kHalf ? to_f16(in) : to_bf16(in);
    if (step == 1) {
      hn::StoreU(bits, Halves(), out + c);
      continue;
    }
    hn::Store(bits, Halves(), lanes);
    for (size_t i = 0; i < kLanes; ++i) out[(c + i) * step] = lanes[i];
  }
}

// Stores one token's values of one head as int8 and scales: element c goes to quants[c * step].
void store_q8(const float* x, size_t dim, size_t step, int8_t* quants, uint16_t* scales,
              size_t scale_step) {
  const F32x16 d;
  const hn::RebindToSigned<F32x16> di;
  HWY_ALIGN int32_t lanes[16];
  for (size_t begin = 0; begin < dim; begin += kKvScaleValues, scales += scale_step) {
    const size_t end = std::min<size_t>(dim, begin + kKvScaleValues);
    auto bits = hn::Zero(di);
    for (size_t c = begin; c < end; c += kLanes)
      bits = hn::Max(bits, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + c))));
    hn::Store(bits, di, lanes);
    const int32_t largest = *std::max_element(lanes, lanes + kLanes);
    const bool finite = largest < 0x7f800000;
    *scales = f16_from_f32(finite ? std::bit_cast<float>(largest) / 127
                                  : std::numeric_limits<float>::quiet_NaN());
    const float scale = float_from_f16(*scales);
    const Vec16 inverse = hn::Set(d, finite && scale > 0 ? 1 / scale : 0);
    for (size_t c = begin; c < end; c += kLanes) {
      const Vec16 in = finite ? hn::LoadU(d, x + c) : hn::Zero(d);
      const Vec16 most = hn::Set(d, 127.0f), scaled = hn::Mul(in, inverse);
      hn::Store(hn::ConvertTo(di, hn::Round(hn::Min(hn::Max(scaled, hn::Neg(most)), most))), di,
                lanes);
      for (size_t i = 0; i < kLanes; ++i) quants[(c + i) * step] = static_cast<int8_t>(lanes[i]);
    }
  }
}
}  // namespace

void kv_write(const KvLayout& layout, const KvPlace& place, const float* k, const float* v) {
  const size_t dim = layout.head_dim, token = place.position % layout.block_tokens;
  std::byte* block =
      place.blocks + place.table[place.position / layout.block_tokens] * place.block_stride;
  for (size_t h = 0; h < layout.kv_heads; ++h, k += dim, v += dim) {
    std::byte* keys = block + h * layout.head_bytes();
    std::byte* values = keys + layout.half_bytes();
    const size_t key = token / kKvGroup * dim * kKvGroup + token % kKvGroup, value = token * dim;
    if (layout.type == DType::kQ8_0) {
      const size_t quants = layout.block_tokens * dim, scales = layout.scales();
      auto* key_scales = reinterpret_cast<uint16_t*>(keys + quants);
      auto* value_scales = reinterpret_cast<uint16_t*>(values + quants);
      store_q8(k, dim, kKvGroup, reinterpret_cast<int8_t*>(keys) + key,
               key_scales + token / kKvGroup * kKvGroup * scales + token % kKvGroup, kKvGroup);
      store_q8(v, dim, 1, reinterpret_cast<int8_t*>(values) + value, value_scales + token * scales,
               1);
    } else if (layout.type == DType::kF32) {
      float* out = reinterpret_cast<float*>(keys) + key;
      for (size_t c = 0; c < dim; ++c) out[c * kKvGroup] = k[c];
      std::copy(v, v + dim, reinterpret_cast<float*>(values) + value);
    } else {
      const auto store = layout.type == DType::kF16 ? store_halves<true> : store_halves<false>;
      store(k, dim, kKvGroup, reinterpret_cast<uint16_t*>(keys) + key);
      store(v, dim, 1, reinterpret_cast<uint16_t*>(values) + value);
    }
  }
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(kv_write);
void kv_write_cpu(const KvLayout& layout, const KvPlace& place, const float* k, const float* v) {
  HWY_DYNAMIC_DISPATCH(kv_write)(layout, place, k, v);
}
}  // namespace altlas::ops
#endif
