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

#include "ops/matmul/avx2-inl.h"

struct Simd : Avx2 {
  using Partial = Codes;  // 16-bit sums of products.
  static constexpr bool kSignedBytes = true;
  static constexpr size_t kRawColumns = kSmallTiles ? 2 : 4;
  static constexpr size_t kUnpackedPanels = 1;
  static constexpr size_t kUnpackedColumns = 2;
  static constexpr size_t kUnpackedColumnsOfHalves = kSmallTiles ? 2 : 4;
  // Up to this number of tokens raw tiles are faster: five-bit codes and six-bit scales take
  // longest to unpack.
  static constexpr size_t raw_tokens(const PanelFormat& f) {
    return f.high == 1 || f.scales == PanelScales::kSixBit ? 10 : 16;
  }

  // Each VPMADDUBSW adds up to 2 * max_code * 127 to a 16-bit sum.
  static constexpr size_t run_length(unsigned max_code) {
    if (max_code == 255) return 1;
    return max_code <= 15 ? 8 : max_code == 31 ? 4 : 2;
  }

  // Turns biased bytes into signed ones.
  static Codes bytes(Codes v) {
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
    return {_mm256_xor_si256(v.lo, sign), _mm256_xor_si256(v.hi, sign)};
  }
  // For signed bytes it computes |w| * (a with w's sign), up to 2 * 128 * 127; |-128| is 128 as an
  // unsigned byte.
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
};

#include "ops/matmul/kernels-inl.h"

}  // namespace

MatmulKernel matmul_kernel_avx2() { return matmul_simd; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
