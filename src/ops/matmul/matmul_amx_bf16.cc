// The products for AMX with bfloat16 tiles: BF16 weights by TDPBF16PS, all else as AMX with int8
// tiles does. Run it only after amx_request().
//
// It leaves the promise of equal bits: activations are rounded to bfloat16 (to nearest even) and
// subnormals count as zero, results too. amx_bf16-inl.h has the order of the sums.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/bf16.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/tile_config.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",avx512bf16,amx-tile,amx-bf16")

namespace altlas::ops {
namespace {

// Numbers of tiles are literals, since some compilers' intrinsics paste them into text.
#define ALTLAS_TILE(number, ...) \
  if constexpr (T == number) __VA_ARGS__

struct Tiles {
  static void configure(const TileConfig& config) { _tile_loadconfig(&config); }
  static void release() { _tile_release(); }
  template <int T>
  static void zero() {
    static_assert(T < 4);
    ALTLAS_TILE(0, _tile_zero(0));
    ALTLAS_TILE(1, _tile_zero(1));
    ALTLAS_TILE(2, _tile_zero(2));
    ALTLAS_TILE(3, _tile_zero(3));
  }
  template <int T>
  static void load(const void* at, size_t stride) {
    static_assert(T < 8);
    ALTLAS_TILE(0, _tile_loadd(0, at, stride));
    ALTLAS_TILE(1, _tile_loadd(1, at, stride));
    ALTLAS_TILE(2, _tile_loadd(2, at, stride));
    ALTLAS_TILE(3, _tile_loadd(3, at, stride));
    ALTLAS_TILE(4, _tile_loadd(4, at, stride));
    ALTLAS_TILE(5, _tile_loadd(5, at, stride));
    ALTLAS_TILE(6, _tile_loadd(6, at, stride));
    ALTLAS_TILE(7, _tile_loadd(7, at, stride));
  }
  template <int T>
  static void store(void* at, size_t stride) {
    static_assert(T < 4);
    ALTLAS_TILE(0, _tile_stored(0, at, stride));
    ALTLAS_TILE(1, _tile_stored(1, at, stride));
    ALTLAS_TILE(2, _tile_stored(2, at, stride));
    ALTLAS_TILE(3, _tile_stored(3, at, stride));
  }
  // Adds the products of one tile of tokens and one of rows to their sums.
  template <int T, int A, int B>
  static void dot_bf16() {
    static_assert(T < 4 && A == 4 + T / 2 && B == 6 + T % 2);
    ALTLAS_TILE(0, _tile_dpbf16ps(0, 4, 6));
    ALTLAS_TILE(1, _tile_dpbf16ps(1, 4, 7));
    ALTLAS_TILE(2, _tile_dpbf16ps(2, 5, 6));
    ALTLAS_TILE(3, _tile_dpbf16ps(3, 5, 7));
  }
};
#undef ALTLAS_TILE

#include "ops/matmul/bf16_avx512-inl.h"
//
#include "ops/matmul/bf16-inl.h"
//
#include "ops/matmul/amx_bf16-inl.h"

void matmul_amx_bf16(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                     std::byte* scratch) {
  const MatmulKernel product =
      weights.type == DType::kBF16 ? matmul_bf16_tiles : matmul_kernel_amx();
  product(weights, x, panels, y, scratch);
}

}  // namespace

MatmulKernel matmul_kernel_amx_bf16() { return matmul_amx_bf16; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
