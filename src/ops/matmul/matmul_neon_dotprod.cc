// The products for arm64 CPUs with SDOT. Compiled for it function by function: the rest of the
// binary runs without.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("+dotprod")
#endif

namespace altlas::ops {
namespace {
#define ALTLAS_NEON_DOTPROD
#include "ops/matmul/neon-inl.h"
}  // namespace

MatmulKernel matmul_kernel_neon_dotprod() { return matmul_simd; }

}  // namespace altlas::ops

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
