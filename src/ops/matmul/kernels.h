// The functions that each SIMD target provides.
#pragma once

#include "ops/matmul/activation.h"
#include "ops/matmul/matmul.h"

namespace altlas::ops {

struct MatmulKernels {
  // Quantises one token: x [cols] into activation_blocks(cols) records; the padding is the
  // caller's.
  void (*quantize_row)(const float* x, size_t cols, ActivationBlock* out);
  // As matmul(); sizes are checked.
  void (*matmul)(const PackedMatrix& weights, const Activations& x, size_t panel_begin,
                 size_t panel_end, float* y, size_t y_stride, std::byte* scratch);
};

MatmulKernels matmul_kernels_scalar();  // The reference: it defines the bits.
#if defined(__x86_64__)
MatmulKernels matmul_kernels_avx2();
MatmulKernels matmul_kernels_avx512();
MatmulKernels matmul_kernels_bf16();  // Other bits for BF16 weights.
MatmulKernels matmul_kernels_amx();   // After amx_request().
#elif defined(__aarch64__)
MatmulKernels matmul_kernels_neon();
MatmulKernels matmul_kernels_neon_dotprod();
#endif

// Sanitizers make the large tiles take minutes to compile: there only small ones exist.
#ifdef ALTLAS_SANITIZED
inline constexpr bool kSmallTiles = true;
#else
inline constexpr bool kSmallTiles = false;
#endif

// A thread's scratch: two unpacked panels of a chunk of blocks, then what some targets keep.
inline constexpr size_t kChunkBlocks = 32;                   // At most.
inline constexpr size_t kUnpackedBlockBytes = 512 + 4 * 64;  // Codes, up to four vectors of floats.
inline constexpr size_t kUnpackedBytes = 2 * kChunkBlocks * kUnpackedBlockBytes;
inline constexpr size_t kScratchBytes = kUnpackedBytes + 12 * 1024;

}  // namespace altlas::ops
