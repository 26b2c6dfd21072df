// The kernel of matmul_amx.cc with all but its tiles real, for the tests of matmul_amx_test.cc.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"
#include "ops/matmul/test_tiles.h"

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC's own _mm512_undefined_*.
#endif

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

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
