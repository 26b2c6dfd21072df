// The tile instructions of AMX in plain C++, faults included (Intel 64 Manual, volume 2: LDTILECFG,
// TILELOADD, TILESTORED, TILEZERO, TDPBSUD, TDPBF16PS). Only tests include it.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/tile_config.h"
#include "tensor/half.h"

namespace altlas::ops {

// One thread's tiles.
struct EmulatedTiles {
  struct Tile {
    uint8_t row[16][64];
  };
  struct State {
    bool configured = false;
    TileConfig config;
    Tile tile[8];
    uint64_t products = 0;  // Multiply-adds.
  };
  static State& state() {
    thread_local State of_thread;
    return of_thread;
  }

  static void configure(const TileConfig& config) {
    ALTLAS_CHECK(config.palette == 1 && config.start_row == 0, "palette 1 is all there is");
    for (const uint8_t byte : config.reserved) ALTLAS_CHECK(byte == 0, "reserved bytes: zero");
    for (int t = 0; t < 16; ++t) {
      const bool none = config.rows[t] == 0 && config.row_bytes[t] == 0;
      ALTLAS_CHECK(none || t < 8, "eight tiles");
      ALTLAS_CHECK(none || (config.rows[t] > 0 && config.row_bytes[t] > 0),
                   "an empty tile is all 0");
      ALTLAS_CHECK(config.rows[t] <= 16 && config.row_bytes[t] <= 64, "tiles are 16 x 64 bytes");
    }
    State& s = state();
    ALTLAS_CHECK(!s.configured, "released after the last product");
    s.configured = true;
    s.config = config;
    std::memset(s.tile, 0, sizeof s.tile);
  }
  static void release() { state().configured = false; }

  template <int T>
  static Tile& used() {
    State& s = state();
    ALTLAS_CHECK(s.configured && T < 8 && s.config.rows[T] > 0, "a configured tile");
    return s.tile[T];
  }
  template <int T>
  static void zero() {
    std::memset(&used<T>(), 0, sizeof(Tile));
  }
  template <int T>
  static void load(const void* at, size_t stride) {
    Tile& tile = used<T>();
    const TileConfig& config = state().config;
    std::memset(&tile, 0, sizeof tile);
    for (size_t r = 0; r < config.rows[T]; ++r)
      std::memcpy(tile.row[r], static_cast<const std::byte*>(at) + r * stride, config.row_bytes[T]);
  }
  template <int T>
  static void store(void* at, size_t stride) {
    const Tile& tile = used<T>();
    const TileConfig& config = state().config;
    for (size_t r = 0; r < config.rows[T]; ++r)
      std::memcpy(static_cast<std::byte*>(at) + r * stride, tile.row[r], config.row_bytes[T]);
  }
  // TDPBSUD Half, 2 + Half, 4 + Half.
  template <int Half>
  static void dot() {
    constexpr int kA = 2 + Half, kB = 4 + Half;
    Tile& sums = used<Half>();
    const Tile &a = used<kA>(), &b = used<kB>();
    const TileConfig& config = state().config;
    const size_t m = config.rows[kA], k = config.row_bytes[kA] / 4, n = config.row_bytes[kB] / 4;
    ALTLAS_CHECK(config.rows[Half] == m && config.row_bytes[Half] == 4 * n &&
                     config.rows[kB] == k && config.row_bytes[kA] % 4 == 0 &&
                     config.row_bytes[kB] % 4 == 0,
                 "shapes that fit, or the instruction faults");
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j) {
        uint32_t sum;
        std::memcpy(&sum, &sums.row[i][4 * j], 4);
        for (size_t l = 0; l < 4 * k; ++l) {
          const int product = static_cast<int8_t>(a.row[i][l]) * b.row[l / 4][4 * j + l % 4];
          sum += static_cast<uint32_t>(product);
        }
        std::memcpy(&sums.row[i][4 * j], &sum, 4);
      }
    }
    state().products += m * n * 4 * k;
  }

  // As instructions of bfloat16 see them: subnormals are zeros.
  static float flushed(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return (bits & 0x7f800000) == 0 ? std::bit_cast<float>(bits & 0x80000000) : value;
  }
  // TDPBF16PS C, A, B.
  template <int C, int A, int B>
  static void dot_bf16() {
    Tile& sums = used<C>();
    const Tile &a = used<A>(), &b = used<B>();
    const TileConfig& config = state().config;
    const size_t m = config.rows[A], k = config.row_bytes[A] / 4, n = config.row_bytes[B] / 4;
    ALTLAS_CHECK(config.rows[C] == m && config.row_bytes[C] == 4 * n && config.rows[B] == k &&
                     config.row_bytes[A] % 4 == 0 && config.row_bytes[B] % 4 == 0,
                 "shapes that fit, or the instruction faults");
    const auto value = [](const Tile& tile, size_t row, size_t at) {
      uint16_t word;
      std::memcpy(&word, &tile.row[row][2 * at], 2);
      return flushed(float_from_bf16(word));
    };
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j) {
        float of_pair[2] = {0, 0}, sum;
        for (size_t l = 0; l < 2 * k; ++l)
          of_pair[l % 2] =
              flushed(std::fma(value(a, i, l), value(b, l / 2, 2 * j + l % 2), of_pair[l % 2]));
        std::memcpy(&sum, &sums.row[i][4 * j], 4);
        sum = flushed(flushed(sum) + flushed(of_pair[0] + of_pair[1]));
        std::memcpy(&sums.row[i][4 * j], &sum, 4);
      }
    }
    state().products += m * n * 2 * k;
  }
};

// The tile kernel over emulated tiles and loops; over emulated tiles and AVX-512 with VNNI. And the
// products of kernels-inl.h over loops.
MatmulKernel matmul_kernel_emulated_amx();
MatmulKernel matmul_kernel_plain();
// The same of BF16 weights by bfloat16 tiles; other weights are not for them.
MatmulKernel matmul_kernel_emulated_amx_bf16();
#if defined(__x86_64__)
MatmulKernel matmul_kernel_emulated_amx_bf16_avx512();
MatmulKernel matmul_kernel_emulated_amx_avx512();
#endif

}  // namespace altlas::ops
