// Narrow fields of panels' scales as bytes, for the targets of x86. Included before their struct
// Simd, inside their namespace and compiler attributes, after immintrin.h.
#pragma once

inline __m128i load_16(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// PanelScales::kNibbleHalves: the two fields of 16 rows.
inline void nibble_fields(const std::byte* at, __m128i& low, __m128i& high) {
  const __m128i both = load_16(at), mask = _mm_set1_epi8(15);
  low = _mm_and_si128(both, mask);
  high = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
}

// PanelScales::kSixBit and kSixBitHalves: the two fields of block `index`, biased as stored.
inline void six_bit_fields(const std::byte* at, size_t index, __m128i& first, __m128i& second) {
  const __m128i low = load_16(at + 16 * index);
  const __m128i high = _mm_srl_epi16(load_16(at + 128 + 16 * (index % 4)),
                                     _mm_cvtsi32_si128(static_cast<int>(index / 4 * 4)));
  const __m128i nibble = _mm_set1_epi8(15), top = _mm_set1_epi8(0x30);
  first = _mm_or_si128(_mm_and_si128(low, nibble), _mm_and_si128(_mm_slli_epi16(high, 4), top));
  second = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(low, 4), nibble),
                        _mm_and_si128(_mm_slli_epi16(high, 2), top));
}

// The same as Simd's floats.
template <class Simd>
struct NarrowFields {
  template <class Floats>
  static void nibbles(const std::byte* at, Floats& low, Floats& high) {
    __m128i a, b;
    nibble_fields(at, a, b);
    low = Simd::widen_u8(a);
    high = Simd::widen_u8(b);
  }
  // Plus kOffset.
  template <int kOffset, class Floats>
  static void six_bits(const std::byte* at, size_t index, Floats& first, Floats& second) {
    __m128i a, b;
    six_bit_fields(at, index, a, b);
    first = Simd::widen_u8(a);
    second = Simd::widen_u8(b);
    if constexpr (kOffset != 0) {
      first = Simd::add(first, Simd::set1(kOffset));
      second = Simd::add(second, Simd::set1(kOffset));
    }
  }
};
