// The products for AMX with int8 tiles: 16 and more tokens by tiles, all else as AVX-512 VNNI does.
// Compiled for it function by function. Run it only after amx_request().
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/activation.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"
#include "ops/matmul/tile_config.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",amx-tile,amx-int8")

namespace altlas::ops {
namespace {

// The tile instructions. Their numbers are literals, since some compilers' intrinsics paste them
// into text.
struct Tiles {
  static void configure(const TileConfig& config) { _tile_loadconfig(&config); }
  static void release() { _tile_release(); }
  template <int T>
  static void zero() {
    static_assert(T < 2);
    if constexpr (T == 0)
      _tile_zero(0);
    else
      _tile_zero(1);
  }
  template <int T>
  static void load(const void* at, size_t stride) {
    static_assert(T >= 2 && T < 6);
    if constexpr (T == 2)
      _tile_loadd(2, at, stride);
    else if constexpr (T == 3)
      _tile_loadd(3, at, stride);
    else if constexpr (T == 4)
      _tile_loadd(4, at, stride);
    else
      _tile_loadd(5, at, stride);
  }
  template <int T>
  static void store(void* at, size_t stride) {
    static_assert(T < 2);
    if constexpr (T == 0)
      _tile_stored(0, at, stride);
    else
      _tile_stored(1, at, stride);
  }
  // Adds the products of one half's signed quants and unsigned codes to its sums.
  template <int Half>
  static void dot() {
    if constexpr (Half == 0)
      _tile_dpbsud(0, 2, 4);
    else
      _tile_dpbsud(1, 3, 5);
  }
};

#include "ops/matmul/avx512-inl.h"
#include "ops/matmul/kernels-inl.h"
#include "ops/matmul/amx-inl.h"

}  // namespace

MatmulKernel matmul_kernel_amx() { return matmul_amx; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
