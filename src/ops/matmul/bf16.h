// What the products of AVX-512 BF16 need beyond the other kernels.
#pragma once

#include <cstddef>

namespace altlas::ops {

// Bytes of scratch for BF16 weights with this many columns: it holds a block of tokens as bfloat16.
size_t bf16_scratch_bytes(size_t cols);

}  // namespace altlas::ops
