// The product that each SIMD target provides.
#pragma once

#include "ops/matmul/matmul.h"

namespace altlas::ops {

// As matmul(); sizes are checked.
using MatmulKernel = void (*)(const PackedMatrix& weights, const Activations& x, Range panels,
                              Rows<float> y, std::byte* scratch);

MatmulKernel matmul_kernel_scalar();  // The reference: it defines the bits.
#if defined(__x86_64__)
MatmulKernel matmul_kernel_avx2();
MatmulKernel matmul_kernel_avx_vnni();
MatmulKernel matmul_kernel_avx512();
MatmulKernel matmul_kernel_bf16();  // Other bits for BF16 weights.
MatmulKernel matmul_kernel_amx();   // After amx_request().
// After amx_request(); other bits for BF16 weights.
MatmulKernel matmul_kernel_amx_bf16();
#elif defined(__aarch64__)
MatmulKernel matmul_kernel_neon();
MatmulKernel matmul_kernel_neon_dotprod();
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
