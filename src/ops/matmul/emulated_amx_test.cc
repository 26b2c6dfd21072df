// The products as loops, and by emulated tiles: what the tests of matmul_amx_test.cc run
// everywhere.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"
#include "ops/matmul/test_tiles.h"
#include "tensor/half.h"

namespace altlas::ops {
namespace {
using Tiles = EmulatedTiles;
#include "ops/matmul/plain-inl.h"
//
#include "ops/matmul/kernels-inl.h"
//
#include "ops/matmul/amx-inl.h"
}  // namespace

MatmulKernels matmul_kernels_plain() { return {quantize_row_simd, matmul_simd}; }
MatmulKernels matmul_kernels_emulated_amx() { return {quantize_row_simd, matmul_amx}; }

}  // namespace altlas::ops
