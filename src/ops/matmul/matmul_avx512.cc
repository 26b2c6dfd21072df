// The products for AVX-512 with VNNI. Compiled for it function by function: the rest of the binary
// needs no AVX.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI)

namespace altlas::ops {
namespace {

#include "ops/matmul/avx512-inl.h"
#include "ops/matmul/kernels-inl.h"

}  // namespace

MatmulKernel matmul_kernel_avx512() { return matmul_simd; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
