// The vector operations of the products for AVX2 with FMA and F16C: all but the dot products of
// bytes and the sizes of tiles, which a target's struct Simd adds. A target's .cc includes this
// inside its namespace and its compiler attributes, after immintrin.h.
#pragma once

#include "ops/matmul/fields-inl.h"

// 16 lanes as two registers: rows 0-7 and 8-15.
struct Avx2 : NarrowFields<Avx2> {
  struct Codes {
    __m256i lo, hi;
  };
  using Ints = Codes;
  struct Floats {
    __m256 lo, hi;
  };
  static constexpr size_t kFloatColumns = kSmallTiles ? 2 : 3;

  static __m256i load_32(const std::byte* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  static Codes load_codes(const std::byte* at) { return {load_32(at), load_32(at + 32)}; }
  static void store_codes(std::byte* at, Codes v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + 32), v.hi);
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
