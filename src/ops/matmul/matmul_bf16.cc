// The products for AVX-512 BF16: BF16 weights by VDPBF16PS, all else as AVX-512 VNNI does.
//
// It leaves the promise of equal bits: activations are rounded to bfloat16 (to nearest even) and
// subnormals count as zero. Per output and chunk of kChunk columns, in k order: two chains, one of
// the even and one of the odd pairs of columns, then y += even + odd. So bits here do not depend on
// the batch, the range of panels or the thread either.
//
// Panels are not unpacked: pairing their columns takes a port that the products leave free, and two
// panels of a chunk come into L1 with the first tile of tokens.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "base/integers.h"
#include "ops/matmul/bf16.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",avx512bf16")

namespace altlas::ops {
namespace {

#include "ops/matmul/bf16_avx512-inl.h"
//
#include "ops/matmul/bf16-inl.h"

__m512 dot(__m512 sum, __m512i weights, const uint16_t* pair) {
  int both;
  __builtin_memcpy(&both, pair, sizeof both);
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(weights),
                          reinterpret_cast<__m512bh>(_mm512_set1_epi32(both)));
}

void store_rows(float* at, __m512 v, size_t rows) {
  _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << rows) - 1), v);
}

struct DotProducts {
  static constexpr size_t kChunk = 224;
  static constexpr size_t kTokens = 1;
  // Bytes of linear prefetch for a panel that is multiplied alone.
  static constexpr size_t kAhead = 7168;
  static constexpr size_t kFew = kSmallTiles ? 2 : 8;   // Tokens in a tile of one panel.
  static constexpr size_t kMany = kSmallTiles ? 2 : 6;  // Tokens in a tile of two panels.
  static size_t panels(size_t tokens) { return tokens <= kFew ? 1 : 2; }
  // A single panel is multiplied in one go, with the sums in registers.
  static size_t chunk(size_t panels) { return panels == 1 ? kBf16Values : kChunk; }

  // The tile of a chunk that is being multiplied.
  struct Tile {
    size_t token;         // Its first token.
    size_t index, count;  // Which of the chunk's tiles it is, and how many there are.
  };

  // Adds the products of NP panels and NC tokens to their sums, or writes them to y. The tiles of a
  // chunk share in prefetching what is next.
  template <size_t NP, size_t NC>
  static void tile(const Job& job, const Chunk& chunk, const Tile& of) {
    const Pairs pairs;
    const size_t stride = chunk.stride, columns = chunk.columns.size();
    const uint16_t* values = chunk.values + of.token * stride;
    const bool first = chunk.first(job), last = chunk.last(job);
    float* sums = chunk.sums + of.token * NP * kPanelRows;
    float* y = job.y + (chunk.tokens.begin + of.token) * job.y_stride + chunk.panel * kPanelRows;
    __m512 sum[NP][NC];
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
        sum[p][c] = first ? _mm512_setzero_ps() : _mm512_load_ps(sums + (c * NP + p) * kPanelRows);
        if (NP > 1 && last) __builtin_prefetch(y + c * job.y_stride + p * kPanelRows, 1, 3);
      }
    }
    // Bytes of `ahead` that this tile prefetches for 4 columns.
    const size_t step = ceil_div(4 * kRowBytes, of.count);
    const std::byte* w = job.weights_at(chunk.panel, chunk.columns.begin);
    const std::byte* ahead = NP == 1 ? w + kAhead : chunk.next + of.index * (kChunk / 4) * step;
    size_t k = 0;
    do {
      const size_t end = NP == 1 ? least(k + kChunk, columns) : columns;
      __m512 even[NP][NC], odd[NP][NC];
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
        ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] = odd[p][c] = _mm512_setzero_ps();
      }
      for (; k + 2 < end; k += 4, w += 4 * kRowBytes, ahead += NP == 1 ? 4 * kRowBytes : step) {
        __m512i one[NP], two[NP];
        ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
          __builtin_prefetch(ahead + p * job.panel_bytes, 0, 3);
          if (NP == 1) __builtin_prefetch(ahead + 64, 0, 3);
          one[p] = pairs.load(w + p * job.panel_bytes);
          two[p] = pairs.load(w + p * job.panel_bytes + 2 * kRowBytes);
        }
        ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
          ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) even[p][c] =
              dot(even[p][c], one[p], values + c * stride + k);
        }
        ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
          ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) odd[p][c] =
              dot(odd[p][c], two[p], values + c * stride + k + 2);
        }
      }
      if (k < end) {
        ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
          const __m512i one = pairs.load(w + p * job.panel_bytes);
          ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] =
              dot(even[p][c], one, values + c * stride + k);
        }
        k = end;
      }
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
        ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) sum[p][c] =
            _mm512_add_ps(sum[p][c], _mm512_add_ps(even[p][c], odd[p][c]));
      }
    } while (NP == 1 && k < columns);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const size_t rows = rows_of(job, chunk.panel + p);
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
        if (last)
          store_rows(y + c * job.y_stride + p * kPanelRows, sum[p][c], rows);
        else
          _mm512_store_ps(sums + (c * NP + p) * kPanelRows, sum[p][c]);
      }
    }
  }

  template <size_t NP, size_t NC>
  static void tile_of(size_t tokens, const Job& job, const Chunk& chunk, const Tile& of) {
    if (tokens == NC) return tile<NP, NC>(job, chunk, of);
    if constexpr (NC > 1) tile_of<NP, NC - 1>(tokens, job, chunk, of);
  }

  template <size_t NP>
  static void product(const Job& job, const Chunk& chunk) {
    constexpr size_t kMost = NP == 1 ? kFew : kMany;
    const size_t tokens = chunk.tokens.size(), tiles = ceil_div(tokens, kMost);
    for (size_t i = 0; i < tiles; ++i) {
      const size_t begin = piece(tokens, tiles, i), end = piece(tokens, tiles, i + 1);
      tile_of<NP, kMost>(end - begin, job, chunk, {begin, i, tiles});
    }
  }
};

void matmul_bf16(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                 std::byte* scratch) {
  if (weights.type != DType::kBF16) return matmul_kernel_avx512()(weights, x, panels, y, scratch);
  bf16_product<DotProducts>(weights, x, panels, y, scratch);
}

}  // namespace

MatmulKernel matmul_kernel_bf16() { return matmul_bf16; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
