// Rounding and pairing for bf16-inl.h by AVX-512 BF16. Included inside a namespace and compiler
// attributes, before it.
#pragma once

// Two columns of a panel side by side: word 2 r is row r of the first, 2 r + 1 of the second.
struct Pairs {
  Pairs() {
    alignas(64) uint16_t from[32];
    for (uint16_t r = 0; r < 16; ++r) {
      from[2 * r] = r;
      from[2 * r + 1] = static_cast<uint16_t>(16 + r);
    }
    index = _mm512_load_si512(from);
  }
  __m512i load(const std::byte* columns) const {
    return _mm512_permutexvar_epi16(index, _mm512_loadu_si512(columns));
  }
  __m512i index;
};

struct Words {
  // `count` floats (1 to 32) as bfloat16, to nearest even, subnormals as zero; zeros up to 32.
  static void narrow(const float* x, size_t count, uint16_t* out) {
    const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << count) - 1);
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
                 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16);
    _mm512_storeu_si512(out, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
  // Pairs of columns, one after the other: [count][16][2].
  static void pair(const std::byte* columns, size_t count, std::byte* out) {
    const Pairs pairs;
    for (size_t i = 0; i < count; ++i)
      _mm512_store_si512(out + 64 * i, pairs.load(columns + 64 * i));
  }
};
