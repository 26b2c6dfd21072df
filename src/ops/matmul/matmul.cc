#include "ops/matmul/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "ops/matmul/activation.h"
#include "ops/matmul/bf16.h"
#include "ops/matmul/kernels.h"
#include "ops/simd.h"

namespace altlas::ops {
namespace {

MatmulKernel kernel() {
  switch (simd_target()) {
#if defined(__x86_64__)
    case SimdTarget::kAvx512Bf16:
      return matmul_kernel_bf16();
    case SimdTarget::kAmx:
      return matmul_kernel_amx();
    case SimdTarget::kAmxBf16:
      return matmul_kernel_amx_bf16();
    case SimdTarget::kAvx512Vnni:
      return matmul_kernel_avx512();
    case SimdTarget::kAvxVnni:
      return matmul_kernel_avx_vnni();
    case SimdTarget::kAvx2:
      return matmul_kernel_avx2();
#elif defined(__aarch64__)
    case SimdTarget::kNeonDotprod:
      return matmul_kernel_neon_dotprod();
    case SimdTarget::kNeon:
      return matmul_kernel_neon();
#endif
    default:
      return matmul_kernel_scalar();
  }
}

}  // namespace

size_t quantized_bytes(size_t tokens, size_t cols) {
  return tokens * activation_stride(cols) * sizeof(ActivationBlock);
}

size_t matmul_scratch_bytes(DType type) {
#if defined(__x86_64__)
  if (type == DType::kBF16 && simd_supported(SimdTarget::kAvx512Bf16))
    return std::max(kScratchBytes, kBf16ScratchBytes);
#endif
  static_cast<void>(type);
  return kScratchBytes;
}

void matmul(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
            std::byte* scratch) {
  ALTLAS_CHECK(matmul_supports(weights.type, weights.cols), "weights that pack_panels takes");
  ALTLAS_CHECK(panels.end <= panel_count(weights.rows), "panels of this matrix");
  const bool quantized = takes_quantized_activations(weights.type);
  ALTLAS_CHECK(x.tokens == 0 || (quantized ? x.quantized != nullptr : x.values != nullptr),
               "quantised activations for quantised weights, floats for float weights");
  if (x.tokens == 0 || panels.begin >= panels.end) return;
  kernel()(weights, x, panels, y, scratch);
}

}  // namespace altlas::ops
