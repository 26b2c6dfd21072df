// The products for AVX2 with the VEX-coded VPDPBUSD (AVX-VNNI). Compiled for it function by
// function: the rest of the binary needs no AVX.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX_VNNI)

namespace altlas::ops {
namespace {

#include "ops/matmul/avx2-inl.h"

struct Simd : Avx2 {
  struct Partial {};  // VPDPBUSD needs no narrow sums.
  static constexpr bool kSignedBytes = false;
  static constexpr size_t kRawColumns = kSmallTiles ? 2 : 4;
  static constexpr size_t kUnpackedPanels = 1;
  static constexpr size_t kUnpackedColumns = kSmallTiles ? 2 : 6;
  static constexpr size_t kUnpackedColumnsOfHalves = kSmallTiles ? 2 : 4;
  // Up to this number of tokens raw tiles are faster: bytes gain nothing from being unpacked.
  static constexpr size_t raw_tokens(const PanelFormat& f) { return f.base == 8 ? 48 : 28; }

  static constexpr size_t run_length(unsigned) { return 8; }

  static Codes bytes(Codes v) { return v; }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial&, Codes codes, Codes quants) {
    sum.lo = _mm256_dpbusd_avx_epi32(sum.lo, codes.lo, quants.lo);
    sum.hi = _mm256_dpbusd_avx_epi32(sum.hi, codes.hi, quants.hi);
  }
};

#include "ops/matmul/kernels-inl.h"

}  // namespace

MatmulKernel matmul_kernel_avx_vnni() { return matmul_simd; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
