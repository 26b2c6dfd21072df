// The products as loops, and by emulated tiles. The tests of matmul_amx_test.cc run them on every
// machine.
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

MatmulKernel matmul_kernel_plain() { return matmul_simd; }
MatmulKernel matmul_kernel_emulated_amx() { return matmul_amx; }

}  // namespace altlas::ops
