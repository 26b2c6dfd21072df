// The vector operations of the products on arm64: 16 lanes as four registers. With
// ALTLAS_NEON_DOTPROD defined, dot products by SDOT; without, by 16-bit products and sums. A
// target's .cc includes this inside its namespace and its compiler attributes, after arm_neon.h.
#pragma once

#define ALTLAS_EACH for (int i = 0; i < 4; ++i)

struct Simd {
  struct Codes {
    uint8x16_t v[4];
  };
  struct Ints {
    int32x4_t v[4];
  };
  struct Floats {
    float32x4_t v[4];
  };
  static constexpr bool kSignedBytes = true;
  static constexpr size_t kRawColumns = 2;
  static constexpr size_t kUnpackedPanels = 1;
  static constexpr size_t kUnpackedColumns = 2;
  static constexpr size_t kUnpackedColumnsOfHalves = 2;
  static constexpr size_t kFloatColumns = 2;
  static constexpr size_t raw_tokens(const PanelFormat&) { return 16; }  // Up to here raw tiles.

#ifdef ALTLAS_NEON_DOTPROD
  struct Partial {};  // SDOT needs no narrow sums.
  static constexpr size_t run_length(unsigned) { return 8; }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial&, Codes codes, Codes quants) {
    ALTLAS_EACH sum.v[i] =
        vdotq_s32(sum.v[i], vreinterpretq_s8_u8(codes.v[i]), vreinterpretq_s8_u8(quants.v[i]));
  }
#else
  // 16-bit sums: each holds one product of at most max_code * 127 per vector, 128 * 127 of bytes.
  struct Partial {
    int16x8_t low[4], high[4];
  };
  static constexpr size_t run_length(unsigned max_code) {
    if (max_code == 255) return 2;
    return max_code <= 31 ? 8 : 4;
  }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial& partial, Codes codes, Codes quants) {
    ALTLAS_EACH {
      const int8x16_t w = vreinterpretq_s8_u8(codes.v[i]), a = vreinterpretq_s8_u8(quants.v[i]);
      if constexpr (kFirst) {
        partial.low[i] = vmull_s8(vget_low_s8(w), vget_low_s8(a));
        partial.high[i] = vmull_high_s8(w, a);
      } else {
        partial.low[i] = vmlal_s8(partial.low[i], vget_low_s8(w), vget_low_s8(a));
        partial.high[i] = vmlal_high_s8(partial.high[i], w, a);
      }
      if constexpr (kLast) {
        const int32x4_t low = vpaddlq_s16(partial.low[i]), high = vpaddlq_s16(partial.high[i]);
        sum.v[i] = vaddq_s32(sum.v[i], vpaddq_s32(low, high));
      }
    }
  }
#endif

  static const uint8_t* u8(const std::byte* at) { return reinterpret_cast<const uint8_t*>(at); }
  static Codes load_codes(const std::byte* at) {
    Codes out;
    ALTLAS_EACH out.v[i] = vld1q_u8(u8(at + 16 * i));
    return out;
  }
  static void store_codes(std::byte* at, Codes v) {
    ALTLAS_EACH vst1q_u8(reinterpret_cast<uint8_t*>(at + 16 * i), v.v[i]);
  }
  // Biased bytes made signed.
  static Codes bytes(Codes v) {
    ALTLAS_EACH v.v[i] = veorq_u8(v.v[i], vdupq_n_u8(0x80));
    return v;
  }
  static Codes bit_and(Codes v, int mask) {
    ALTLAS_EACH v.v[i] = vandq_u8(v.v[i], vdupq_n_u8(static_cast<uint8_t>(mask)));
    return v;
  }
  static Codes bit_or(Codes a, Codes b) {
    ALTLAS_EACH a.v[i] = vorrq_u8(a.v[i], b.v[i]);
    return a;
  }
  template <int N>
  static Codes shift_right(Codes v) {
    ALTLAS_EACH v.v[i] = vshrq_n_u8(v.v[i], N);
    return v;
  }
  template <int N>
  static Codes shift_left(Codes v) {
    ALTLAS_EACH v.v[i] = vshlq_n_u8(v.v[i], N);
    return v;
  }
  static Codes set1_quad(const int8_t* quants) {
    int32_t quad;
    __builtin_memcpy(&quad, quants, sizeof quad);
    const uint8x16_t v = vreinterpretq_u8_s32(vdupq_n_s32(quad));
    return {{v, v, v, v}};
  }

  static Ints zero_ints() {
    const int32x4_t v = vdupq_n_s32(0);
    return {{v, v, v, v}};
  }
  static Ints set1_int(const int32_t* at) {
    const int32x4_t v = vdupq_n_s32(*at);
    return {{v, v, v, v}};
  }
  template <int N>
  static Ints halve(Ints v) {
    ALTLAS_EACH v.v[i] = vshrq_n_s32(v.v[i], N);
    return v;
  }
  static Floats to_floats(Ints v) {
    Floats out;
    ALTLAS_EACH out.v[i] = vcvtq_f32_s32(v.v[i]);
    return out;
  }

  static Floats zero() { return set1(0.0f); }
  static Floats set1(float value) {
    const float32x4_t v = vdupq_n_f32(value);
    return {{v, v, v, v}};
  }
  static Floats load(const float* at) {
    Floats out;
    ALTLAS_EACH out.v[i] = vld1q_f32(at + 4 * i);
    return out;
  }
  static Floats loadu(const float* at) { return load(at); }
  static void store(float* at, Floats v) { ALTLAS_EACH vst1q_f32(at + 4 * i, v.v[i]); }
  static void store_rows(float* at, Floats v, size_t rows) {
    if (rows == 16) return store(at, v);
    float all[16];
    store(all, v);
    for (size_t r = 0; r < rows; ++r) at[r] = all[r];
  }
  static Floats add(Floats a, Floats b) {
    ALTLAS_EACH a.v[i] = vaddq_f32(a.v[i], b.v[i]);
    return a;
  }
  static Floats mul(Floats a, Floats b) {
    ALTLAS_EACH a.v[i] = vmulq_f32(a.v[i], b.v[i]);
    return a;
  }
  static Floats fma(Floats a, Floats b, Floats c) {
    ALTLAS_EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]);
    return c;
  }
  static Floats negate(Floats v) {
    ALTLAS_EACH v.v[i] = vnegq_f32(v.v[i]);
    return v;
  }

  static const uint16_t* u16(const std::byte* at) { return reinterpret_cast<const uint16_t*>(at); }
  static Floats load_f16(const std::byte* at) {
    Floats out;
    ALTLAS_EACH out.v[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(u16(at) + 4 * i)));
    return out;
  }
  static Floats load_i8(const std::byte* at) {
    const int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(u8(at)));
    const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
    return to_floats({{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                       vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}});
  }
  static Floats widen_u8(uint8x16_t v) {
    const uint16x8_t low = vmovl_u8(vget_low_u8(v)), high = vmovl_high_u8(v);
    return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_high_u16(low)),
             vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_high_u16(high))}};
  }
  static void nibbles(const std::byte* at, Floats& low, Floats& high) {
    const uint8x16_t both = vld1q_u8(u8(at));
    low = widen_u8(vandq_u8(both, vdupq_n_u8(15)));
    high = widen_u8(vshrq_n_u8(both, 4));
  }
  // PanelScales::kSixBit: the two fields of block `index`, plus kOffset.
  template <int kOffset>
  static void six_bits(const std::byte* at, size_t index, Floats& first, Floats& second) {
    const uint8x16_t low = vld1q_u8(u8(at + 16 * index));
    const uint8x16_t high =
        vshlq_u8(vld1q_u8(u8(at + 128 + 16 * (index % 4))),
                 vdupq_n_s8(static_cast<int8_t>(-(static_cast<int>(index) / 4 * 4))));
    const uint8x16_t nibble = vdupq_n_u8(15), top = vdupq_n_u8(0x30);
    first = widen_u8(vorrq_u8(vandq_u8(low, nibble), vandq_u8(vshlq_n_u8(high, 4), top)));
    second = widen_u8(vorrq_u8(vshrq_n_u8(low, 4), vandq_u8(vshlq_n_u8(high, 2), top)));
    if constexpr (kOffset != 0) {
      first = add(first, set1(kOffset));
      second = add(second, set1(kOffset));
    }
  }

  template <DType T>
  static Floats load_weights(const std::byte* at) {
    if constexpr (T == DType::kF32) {
      return load(reinterpret_cast<const float*>(at));
    } else if constexpr (T == DType::kF16) {
      return load_f16(at);
    } else {
      Floats out;
      ALTLAS_EACH out.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(u16(at) + 4 * i), 16));
      return out;
    }
  }
};

#undef ALTLAS_EACH

#include "ops/matmul/kernels-inl.h"
