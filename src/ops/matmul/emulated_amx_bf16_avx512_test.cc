// The kernel of matmul_amx_bf16.cc with all but its tiles real, for the tests of
// matmul_amx_bf16_test.cc.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/bf16.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/test_tiles.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",avx512bf16")

namespace altlas::ops {
namespace {
using Tiles = EmulatedTiles;
#include "ops/matmul/bf16_avx512-inl.h"
//
#include "ops/matmul/bf16-inl.h"
//
#include "ops/matmul/amx_bf16-inl.h"
}  // namespace

MatmulKernel matmul_kernel_emulated_amx_bf16_avx512() { return matmul_bf16_tiles; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
