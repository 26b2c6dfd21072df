// The products for arm64 CPUs with SDOT. Compiled for it function by function: the rest of the
// binary runs without.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

ALTLAS_COMPILE_FOR("+dotprod")

namespace altlas::ops {
namespace {
#define ALTLAS_NEON_DOTPROD
#include "ops/matmul/neon-inl.h"
}  // namespace

MatmulKernel matmul_kernel_neon_dotprod() { return matmul_simd; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
