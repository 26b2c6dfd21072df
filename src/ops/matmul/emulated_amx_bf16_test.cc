// The BF16 products by emulated tiles, as loops. The tests of matmul_amx_bf16_test.cc run them on
// every machine.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ops/matmul/bf16.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/test_tiles.h"
#include "tensor/half.h"

namespace altlas::ops {
namespace {
using Tiles = EmulatedTiles;

struct Words {
  static void narrow(const float* x, size_t count, uint16_t* out) {
    for (size_t k = 0; k < 32; ++k)
      out[k] = k < count ? bf16_from_float(EmulatedTiles::flushed(x[k])) : uint16_t{0};
  }
  static void pair(const std::byte* columns, size_t count, std::byte* out) {
    for (size_t i = 0; i < count; ++i, columns += 64, out += 64) {
      for (size_t r = 0; r < kPanelRows; ++r) {
        std::memcpy(out + 4 * r, columns + 2 * r, 2);
        std::memcpy(out + 4 * r + 2, columns + 32 + 2 * r, 2);
      }
    }
  }
};

#include "ops/matmul/bf16-inl.h"
//
#include "ops/matmul/amx_bf16-inl.h"
}  // namespace

MatmulKernel matmul_kernel_emulated_amx_bf16() { return matmul_bf16_tiles; }

}  // namespace altlas::ops
