// The products for AVX-512 with VNNI. Compiled for it function by function: the rest of the binary
// needs no AVX.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

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

#include "ops/matmul/avx512-inl.h"
#include "ops/matmul/kernels-inl.h"

}  // namespace

MatmulKernel matmul_kernel_avx512() { return matmul_simd; }

}  // namespace altlas::ops

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
