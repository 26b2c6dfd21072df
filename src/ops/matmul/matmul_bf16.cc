// The products for AVX-512 BF16: BF16 weights by VDPBF16PS, all else as AVX-512 VNNI does.
//
// It leaves the promise of equal bits: activations are rounded to bfloat16 (to nearest even) and
// subnormals count as zero. Per output and chunk of kChunk columns, in k order: two chains, one of
// the even and one of the odd pairs of columns, then y += even + odd. So bits here do not depend on
// the batch, the range of panels or the thread either.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/matmul/kernels.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16"))), apply_to = function)
#define ALTLAS_UNROLL _Pragma("clang loop unroll(full)")
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC's own _mm512_undefined_*.
#define ALTLAS_UNROLL _Pragma("GCC unroll 16")
#endif

namespace altlas::ops {
namespace {

constexpr size_t kChunk = 224;  // Columns: two panels of it and a tile's tokens stay in L1.
constexpr size_t kChunkTokens = 96;
constexpr size_t kTile = kSmallTiles ? 2 : 6;     // Tokens of two panels.
constexpr size_t kRawTile = kSmallTiles ? 2 : 8;  // Tokens of one panel, from the packed bits.
constexpr size_t kRowBytes = 2 * kPanelRows;      // Of one column of a panel.
constexpr size_t kChunkBytes = kChunk * kRowBytes;
constexpr size_t kAhead = 7168;                            // Bytes of linear prefetch.
constexpr size_t kValueBytes = kChunkTokens * kChunk * 2;  // Of the scratch: activations first.
static_assert(kChunk % 2 == 0 && kValueBytes + 2 * kChunkBytes <= kScratchBytes);

struct Job {
  PackedMatrix weights;
  Activations x;
  size_t panel_bytes;
  size_t panel_begin, panel_end;
  float* y;
  size_t y_stride;
  std::byte* scratch;
};

size_t rows_of(const Job& job, size_t panel) {
  const size_t left = job.weights.rows - panel * kPanelRows;
  return left < kPanelRows ? left : kPanelRows;
}
// `parts` nearly equal pieces of `total`: where piece `i` begins.
size_t piece(size_t total, size_t parts, size_t i) { return total * i / parts; }

// Columns [begin, end) of tokens [token, token + count) as bfloat16, `stride` values apart; an odd
// last column gets a zero beside it.
void narrow(const Job& job, size_t token, size_t count, size_t begin, size_t end, uint16_t* out,
            size_t stride) {
  for (size_t t = 0; t < count; ++t, out += stride) {
    const float* x = job.x.values + (token + t) * job.x.stride;
    size_t k = begin;
    for (; k + 32 <= end; k += 32) {
      const __m512bh both =
          _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + k + 16), _mm512_loadu_ps(x + k));
      _mm512_storeu_si512(out + (k - begin), reinterpret_cast<__m512i>(both));
    }
    for (; k < end; k += 16) {
      const size_t left = end - k < 16 ? end - k : 16, even = (left + 1) / 2 * 2;
      const auto mask = static_cast<__mmask16>((1u << left) - 1);
      const __m256bh values = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + k));
      _mm256_mask_storeu_epi16(out + (k - begin), static_cast<__mmask16>((1u << even) - 1),
                               reinterpret_cast<__m256i>(values));
    }
  }
}

// Two columns of a panel side by side: word 2 r is row r of the first, 2 r + 1 of the second.
struct Pairs {
  Pairs() {
    alignas(64) uint16_t from[32];
    for (uint16_t r = 0; r < 16; ++r) {
      from[2 * r] = r;
      from[2 * r + 1] = static_cast<uint16_t>(16 + r);
    }
    index = _mm512_load_si512(from);
  }
  __m512i load(const std::byte* columns) const {
    return _mm512_permutexvar_epi16(index, _mm512_loadu_si512(columns));
  }
  __m512i index;
};

__m512 dot(__m512 sum, __m512i weights, const uint16_t* pair) {
  int both;
  __builtin_memcpy(&both, pair, sizeof both);
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(weights),
                          reinterpret_cast<__m512bh>(_mm512_set1_epi32(both)));
}

void store_rows(float* at, __m512 v, size_t rows) {
  _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << rows) - 1), v);
}
__m512 load_rows(const float* at, size_t rows) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << rows) - 1), at);
}

// One panel times NC tokens whose values lie whole in the scratch.
template <size_t NC>
void raw_tile(const Job& job, size_t panel) {
  const Pairs pairs;
  const size_t cols = job.weights.cols, stride = (cols + 1) / 2 * 2;
  const auto* values = reinterpret_cast<const uint16_t*>(job.scratch);
  const std::byte* w = job.weights.data + panel * job.panel_bytes;
  __m512 y[NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) y[c] = _mm512_setzero_ps();
  for (size_t begin = 0; begin < cols; begin += kChunk) {
    const size_t end = begin + kChunk < cols ? begin + kChunk : cols;
    __m512 even[NC], odd[NC];
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[c] = odd[c] = _mm512_setzero_ps();
    size_t k = begin;
    for (; k + 2 < end; k += 4, w += 4 * kRowBytes) {
      __builtin_prefetch(w + kAhead, 0, 3);
      __builtin_prefetch(w + kAhead + 64, 0, 3);
      const __m512i first = pairs.load(w), second = pairs.load(w + 2 * kRowBytes);
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
        even[c] = dot(even[c], first, values + c * stride + k);
        odd[c] = dot(odd[c], second, values + c * stride + k + 2);
      }
    }
    if (k < end) {
      const __m512i first = pairs.load(w);
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[c] =
          dot(even[c], first, values + c * stride + k);
      w += 2 * kRowBytes;
    }
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) y[c] =
        _mm512_add_ps(y[c], _mm512_add_ps(even[c], odd[c]));
  }
  for (size_t c = 0; c < NC; ++c)
    store_rows(job.y + c * job.y_stride + panel * kPanelRows, y[c], rows_of(job, panel));
}

template <size_t NC>
void raw_panels(const Job& job) {
  if (job.x.tokens != NC) {
    if constexpr (NC > 1) raw_panels<NC - 1>(job);
    return;
  }
  for (size_t panel = job.panel_begin; panel < job.panel_end; ++panel) raw_tile<NC>(job, panel);
}

// Where one chunk of NP panels and a block of tokens stand.
struct Chunk {
  size_t panel;
  size_t begin, end;  // Columns.
  const uint16_t* values;
  const std::byte* pairs;
};

// NP unpacked panels times NC tokens, added to y.
template <size_t NP, size_t NC>
void chunk_tile(const Job& job, const Chunk& chunk, size_t token, const uint16_t* values) {
  __m512 even[NP][NC], odd[NP][NC];
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] = odd[p][c] = _mm512_setzero_ps();
  }
  const size_t count = (chunk.end - chunk.begin + 1) / 2;
  const std::byte* w = chunk.pairs;
  size_t i = 0;
  for (; i + 1 < count; i += 2, w += 128) {
    __m512i first[NP], second[NP];
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      first[p] = _mm512_load_si512(w + p * kChunkBytes);
      second[p] = _mm512_load_si512(w + p * kChunkBytes + 64);
    }
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) even[p][c] =
          dot(even[p][c], first[p], values + c * kChunk + 2 * i);
    }
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) odd[p][c] =
          dot(odd[p][c], second[p], values + c * kChunk + 2 * i + 2);
    }
  }
  if (i < count) {
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const __m512i first = _mm512_load_si512(w + p * kChunkBytes);
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] =
          dot(even[p][c], first, values + c * kChunk + 2 * i);
    }
  }
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
    const size_t rows = rows_of(job, chunk.panel + p);
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      float* y = job.y + (token + c) * job.y_stride + (chunk.panel + p) * kPanelRows;
      const __m512 before = chunk.begin == 0 ? _mm512_setzero_ps() : load_rows(y, rows);
      store_rows(y, _mm512_add_ps(before, _mm512_add_ps(even[p][c], odd[p][c])), rows);
    }
  }
}

template <size_t NP, size_t NC>
void chunk_tile_of(size_t count, const Job& job, const Chunk& chunk, size_t token,
                   const uint16_t* values) {
  if (count == NC) return chunk_tile<NP, NC>(job, chunk, token, values);
  if constexpr (NC > 1) chunk_tile_of<NP, NC - 1>(count, job, chunk, token, values);
}

// NP panels: unpacked into L1, then times tokens [begin, end). The next panels come into L2
// meanwhile, a piece per tile.
template <size_t NP>
void chunk_panels(const Job& job, const Chunk& chunk, size_t begin, size_t end) {
  const Pairs pairs;
  const std::byte* weights =
      job.weights.data + chunk.panel * job.panel_bytes + chunk.begin * kRowBytes;
  auto* out = job.scratch + kValueBytes;
  const size_t count = (chunk.end - chunk.begin + 1) / 2;
  for (size_t p = 0; p < NP; ++p) {
    for (size_t i = 0; i < count; ++i) {
      _mm512_store_si512(out + p * kChunkBytes + 64 * i,
                         pairs.load(weights + p * job.panel_bytes + 64 * i));
    }
  }
  const size_t tiles = (end - begin + kTile - 1) / kTile;
  for (size_t i = 0; i < tiles; ++i) {
    for (size_t p = 0; p < NP; ++p) {
      const std::byte* next = weights + (NP + p) * job.panel_bytes;
      for (size_t l = piece(count, tiles, i); l < piece(count, tiles, i + 1); ++l)
        __builtin_prefetch(next + 64 * l, 0, 2);
    }
    const size_t from = begin + piece(end - begin, tiles, i),
                 to = begin + piece(end - begin, tiles, i + 1);
    chunk_tile_of<NP, kTile>(to - from, job, chunk, from, chunk.values + (from - begin) * kChunk);
  }
}

void chunked_product(const Job& job) {
  auto* values = reinterpret_cast<uint16_t*>(job.scratch);
  const size_t tokens = job.x.tokens, cols = job.weights.cols;
  const size_t columns = (tokens + kChunkTokens - 1) / kChunkTokens;
  for (size_t column = 0; column < columns; ++column) {
    const size_t begin = piece(tokens, columns, column), end = piece(tokens, columns, column + 1);
    for (size_t k = 0; k < cols; k += kChunk) {
      const size_t stop = k + kChunk < cols ? k + kChunk : cols;
      narrow(job, begin, end - begin, k, stop, values, kChunk);
      Chunk chunk{job.panel_begin, k, stop, values, job.scratch + kValueBytes};
      for (; chunk.panel + 2 <= job.panel_end; chunk.panel += 2)
        chunk_panels<2>(job, chunk, begin, end);
      if (chunk.panel < job.panel_end) chunk_panels<1>(job, chunk, begin, end);
    }
  }
}

void matmul_bf16(const PackedMatrix& weights, const Activations& x, size_t panel_begin,
                 size_t panel_end, float* y, size_t y_stride, std::byte* scratch) {
  if (weights.type != DType::kBF16) {
    return matmul_kernels_avx512().matmul(weights, x, panel_begin, panel_end, y, y_stride, scratch);
  }
  const Job job{weights,     x,         packed_panel_bytes(weights.type, weights.cols),
                panel_begin, panel_end, y,
                y_stride,    scratch};
  const size_t stride = (weights.cols + size_t{1}) / 2 * 2;
  if (x.tokens > kRawTile || x.tokens * stride * 2 > kScratchBytes) return chunked_product(job);
  narrow(job, 0, x.tokens, 0, weights.cols, reinterpret_cast<uint16_t*>(scratch), stride);
  raw_panels<kRawTile>(job);
}

}  // namespace

MatmulKernels matmul_kernels_bf16() { return {matmul_kernels_avx512().quantize_row, matmul_bf16}; }

}  // namespace altlas::ops

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
