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

MatmulKernels matmul_kernels_neon() { return {quantize_row_simd, matmul_simd}; }

}  // namespace altlas::ops
#endif
