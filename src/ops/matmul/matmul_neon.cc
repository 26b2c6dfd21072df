// The products for every arm64 CPU.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"

namespace altlas::ops {
namespace {
#include "ops/matmul/neon-inl.h"
}  // namespace

MatmulKernel matmul_kernel_neon() { return matmul_simd; }

}  // namespace altlas::ops
#endif
