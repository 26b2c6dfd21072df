// The kernel of matmul_amx.cc with all but its tiles real, for the tests of matmul_amx_test.cc.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"
#include "ops/matmul/test_tiles.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI)

namespace altlas::ops {
namespace {
using Tiles = EmulatedTiles;
#include "ops/matmul/avx512-inl.h"
//
#include "ops/matmul/kernels-inl.h"
//
#include "ops/matmul/amx-inl.h"
}  // namespace

MatmulKernel matmul_kernel_emulated_amx_avx512() { return matmul_amx; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
