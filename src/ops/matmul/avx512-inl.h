// The vector operations of the products for AVX-512 with VNNI. A target's .cc includes this inside
// its namespace and its compiler attributes, after immintrin.h.
#pragma once

#include "ops/matmul/fields-inl.h"

struct Simd : NarrowFields<Simd> {
  using Codes = __m512i;  // 16 rows x 4 bytes.
  using Ints = __m512i;
  using Floats = __m512;
  struct Partial {};  // VPDPBUSD needs no narrow sums.
  static constexpr bool kSignedBytes = false;
  static constexpr size_t kRawColumns = kSmallTiles ? 2 : 8;
  static constexpr size_t kUnpackedPanels = 2;
  static constexpr size_t kUnpackedColumns = kSmallTiles ? 2 : 6;
  static constexpr size_t kUnpackedColumnsOfHalves = kSmallTiles ? 2 : 4;
  static constexpr size_t kFloatColumns = kSmallTiles ? 2 : 12;
  // Up to here raw tiles are faster.
  static constexpr size_t raw_tokens(const PanelFormat&) { return 40; }

  static constexpr size_t run_length(unsigned) { return 8; }

  static Codes load_codes(const std::byte* at) { return _mm512_loadu_si512(at); }
  static void store_codes(std::byte* at, Codes v) { _mm512_storeu_si512(at, v); }
  static Codes bytes(Codes v) { return v; }
  static Codes bit_and(Codes v, int mask) {
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static Codes bit_or(Codes a, Codes b) { return _mm512_or_si512(a, b); }
  template <int N>
  static Codes shift_right(Codes v) {
    return _mm512_srli_epi16(v, N);
  }
  template <int N>
  static Codes shift_left(Codes v) {
    return _mm512_slli_epi16(v, N);
  }
  static Codes set1_quad(const int8_t* quants) {
    int quad;
    __builtin_memcpy(&quad, quants, sizeof quad);
    return _mm512_set1_epi32(quad);
  }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial&, Codes codes, Codes quants) {
    sum = _mm512_dpbusd_epi32(sum, codes, quants);
  }

  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Ints set1_int(const int32_t* at) { return _mm512_set1_epi32(*at); }
  static Ints load_ints(const int32_t* at) { return _mm512_load_si512(at); }
  static Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  template <int N>
  static Ints halve(Ints v) {
    return _mm512_srai_epi32(v, N);
  }
  static Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats set1(float v) { return _mm512_set1_ps(v); }
  static Floats load(const float* at) { return _mm512_load_ps(at); }
  static Floats loadu(const float* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, Floats v) { _mm512_store_ps(at, v); }
  static void store_rows(float* at, Floats v, size_t rows) {
    if (rows == 16)
      _mm512_storeu_ps(at, v);
    else
      _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << rows) - 1), v);
  }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats negate(Floats v) { return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f)); }

  static Floats load_f16(const std::byte* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  }
  static Floats load_i8(const std::byte* at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(at)));
  }
  static Floats widen_u8(__m128i v) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v)); }

  template <DType T>
  static Floats load_weights(const std::byte* at) {
    if constexpr (T == DType::kF32)
      return _mm512_loadu_ps(at);
    else if constexpr (T == DType::kF16)
      return load_f16(at);
    else {
      const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
    }
  }
};
