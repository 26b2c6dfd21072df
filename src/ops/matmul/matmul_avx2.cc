// The products for AVX2 with FMA and F16C. Compiled for it function by function: the rest of the
// binary needs no AVX.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX2)

namespace altlas::ops {
namespace {

#include "ops/matmul/fields-inl.h"

// 16 lanes as two registers: rows 0-7 and 8-15.
struct Simd : NarrowFields<Simd> {
  struct Codes {
    __m256i lo, hi;
  };
  using Ints = Codes;
  using Partial = Codes;  // 16-bit sums of products.
  struct Floats {
    __m256 lo, hi;
  };
  static constexpr bool kSignedBytes = true;
  static constexpr size_t kRawColumns = kSmallTiles ? 2 : 4;
  static constexpr size_t kUnpackedPanels = 1;
  static constexpr size_t kUnpackedColumns = 2;
  static constexpr size_t kUnpackedColumnsOfHalves = kSmallTiles ? 2 : 4;
  static constexpr size_t kFloatColumns = kSmallTiles ? 2 : 3;
  // Up to here raw tiles are faster: five bits and six-bit scales take longest to unpack.
  static constexpr size_t raw_tokens(const PanelFormat& f) {
    return f.high == 1 || f.scales == PanelScales::kSixBit ? 10 : 16;
  }

  // Each VPMADDUBSW adds up to 2 * max_code * 127 to a 16-bit sum.
  static constexpr size_t run_length(unsigned max_code) {
    if (max_code == 255) return 1;
    return max_code <= 15 ? 8 : max_code == 31 ? 4 : 2;
  }

  static __m256i load_32(const std::byte* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  static Codes load_codes(const std::byte* at) { return {load_32(at), load_32(at + 32)}; }
  static void store_codes(std::byte* at, Codes v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + 32), v.hi);
  }
  // Biased bytes made signed.
  static Codes bytes(Codes v) {
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
    return {_mm256_xor_si256(v.lo, sign), _mm256_xor_si256(v.hi, sign)};
  }
  static Codes bit_and(Codes v, int mask) {
    const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
    return {_mm256_and_si256(v.lo, m), _mm256_and_si256(v.hi, m)};
  }
  static Codes bit_or(Codes a, Codes b) {
    return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
  }
  template <int N>
  static Codes shift_right(Codes v) {
    return {_mm256_srli_epi16(v.lo, N), _mm256_srli_epi16(v.hi, N)};
  }
  template <int N>
  static Codes shift_left(Codes v) {
    return {_mm256_slli_epi16(v.lo, N), _mm256_slli_epi16(v.hi, N)};
  }
  static Codes set1_quad(const int8_t* quants) {
    int quad;
    __builtin_memcpy(&quad, quants, sizeof quad);
    const __m256i v = _mm256_set1_epi32(quad);
    return {v, v};
  }
  // Signed bytes: |w| * (a with w's sign), up to 2 * 128 * 127. |-128| is 128 as an unsigned byte.
  template <bool kBytes>
  static __m256i pairs(__m256i codes, __m256i quants) {
    if constexpr (!kBytes)
      return _mm256_maddubs_epi16(codes, quants);
    else
      return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(quants, codes));
  }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial& partial, Codes codes, Codes quants) {
    const __m256i lo = pairs<kBytes>(codes.lo, quants.lo), hi = pairs<kBytes>(codes.hi, quants.hi);
    partial.lo = kFirst ? lo : _mm256_add_epi16(partial.lo, lo);
    partial.hi = kFirst ? hi : _mm256_add_epi16(partial.hi, hi);
    if constexpr (kLast) {
      const __m256i ones = _mm256_set1_epi16(1);
      sum.lo = _mm256_add_epi32(sum.lo, _mm256_madd_epi16(partial.lo, ones));
      sum.hi = _mm256_add_epi32(sum.hi, _mm256_madd_epi16(partial.hi, ones));
    }
  }

  static Ints zero_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Ints set1_int(const int32_t* at) {
    const __m256i v = _mm256_set1_epi32(*at);
    return {v, v};
  }
  template <int N>
  static Ints halve(Ints v) {
    return {_mm256_srai_epi32(v.lo, N), _mm256_srai_epi32(v.hi, N)};
  }
  static Floats to_floats(Ints v) { return {_mm256_cvtepi32_ps(v.lo), _mm256_cvtepi32_ps(v.hi)}; }

  static Floats zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Floats set1(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
  static Floats load(const float* at) { return {_mm256_load_ps(at), _mm256_load_ps(at + 8)}; }
  static Floats loadu(const float* at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
  static void store(float* at, Floats v) {
    _mm256_store_ps(at, v.lo);
    _mm256_store_ps(at + 8, v.hi);
  }
  static void store_rows(float* at, Floats v, size_t rows) {
    if (rows == 16) {
      _mm256_storeu_ps(at, v.lo);
      _mm256_storeu_ps(at + 8, v.hi);
      return;
    }
    alignas(32) float all[16];
    store(all, v);
    for (size_t r = 0; r < rows; ++r) at[r] = all[r];
  }
  static Floats add(Floats a, Floats b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  static Floats mul(Floats a, Floats b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  static Floats fma(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static Floats negate(Floats v) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_xor_ps(v.lo, sign), _mm256_xor_ps(v.hi, sign)};
  }

  static Floats load_f16(const std::byte* at) {
    return {_mm256_cvtph_ps(load_16(at)), _mm256_cvtph_ps(load_16(at + 16))};
  }
  static Floats load_i8(const std::byte* at) {
    const __m128i v = load_16(at);
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v)))};
  }
  static Floats widen_u8(__m128i v) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(v, v)))};
  }

  static __m256 widen_bf16(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
  }
  template <DType T>
  static Floats load_weights(const std::byte* at) {
    if constexpr (T == DType::kF32)
      return loadu(reinterpret_cast<const float*>(at));
    else if constexpr (T == DType::kF16)
      return load_f16(at);
    else
      return {widen_bf16(load_16(at)), widen_bf16(load_16(at + 16))};
  }
};

#include "ops/matmul/kernels-inl.h"

}  // namespace

MatmulKernel matmul_kernel_avx2() { return matmul_simd; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
