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

#include "ops/matmul/bf16.h"
#include "ops/matmul/compile_for.h"
#include "ops/matmul/kernels.h"

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",avx512bf16")

namespace altlas::ops {
namespace {

constexpr size_t kChunk = 224;       // Columns: two panels of it and a tile's tokens stay in L1.
constexpr size_t kBlockTokens = 96;  // Tokens that share an unpacked chunk.
constexpr size_t kTile = kSmallTiles ? 2 : 6;     // Tokens of two panels.
constexpr size_t kRawTile = kSmallTiles ? 2 : 8;  // Tokens of one panel, from the packed bits.
constexpr size_t kRawTokens = 32;                 // Up to here raw tiles are faster.
constexpr size_t kRowBytes = 2 * kPanelRows;      // Of one column of a panel.
constexpr size_t kChunkBytes = kChunk * kRowBytes;
constexpr size_t kAhead = 7168;  // Bytes of linear prefetch.
constexpr size_t kSumBytes = kBlockTokens * 2 * kPanelRows * sizeof(float);
static_assert(kChunk % 2 == 0 && kRawTokens <= kBlockTokens);

// The scratch: sums that wait for the next chunk [kBlockTokens][2][16], two unpacked chunks, then a
// block of tokens as bfloat16 [kBlockTokens][value_stride].
struct Job {
  PackedMatrix weights;
  Activations x;
  size_t panel_bytes;
  size_t panel_begin, panel_end;
  float* y;
  size_t y_stride;
  std::byte* scratch;
  float* sums() const { return reinterpret_cast<float*>(scratch); }
  std::byte* pairs() const { return scratch + kSumBytes; }
  uint16_t* values() const {
    return reinterpret_cast<uint16_t*>(scratch + kSumBytes + 2 * kChunkBytes);
  }
};

// An odd number of cache lines: tokens do not fall into the same sets.
size_t value_stride(size_t cols) { return ((cols + 31) / 32 | 1) * 32; }

size_t rows_of(const Job& job, size_t panel) {
  const size_t left = job.weights.rows - panel * kPanelRows;
  return left < kPanelRows ? left : kPanelRows;
}
// `parts` nearly equal pieces of `total`: where piece `i` begins.
size_t piece(size_t total, size_t parts, size_t i) { return total * i / parts; }

// Tokens [begin, end) as bfloat16; an odd last column gets a zero beside it.
void narrow(const Job& job, size_t begin, size_t end) {
  const size_t cols = job.weights.cols;
  uint16_t* out = job.values();
  for (size_t t = begin; t < end; ++t, out += value_stride(cols)) {
    const float* x = job.x.values + t * job.x.stride;
    size_t k = 0;
    for (; k + 32 <= cols; k += 32) {
      const __m512bh both =
          _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + k + 16), _mm512_loadu_ps(x + k));
      _mm512_storeu_si512(out + k, reinterpret_cast<__m512i>(both));
    }
    for (; k < cols; k += 16) {
      const size_t left = cols - k < 16 ? cols - k : 16;
      const __m256bh values = _mm512_cvtneps_pbh(
          _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), x + k));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + k), reinterpret_cast<__m256i>(values));
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

// One panel times NC tokens.
template <size_t NC>
void raw_tile(const Job& job, size_t panel, size_t token, bool prefetch) {
  const Pairs pairs;
  const size_t cols = job.weights.cols, stride = value_stride(cols);
  const uint16_t* values = job.values() + token * stride;
  const std::byte* w = job.weights.data + panel * job.panel_bytes;
  __m512 y[NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) y[c] = _mm512_setzero_ps();
  for (size_t begin = 0; begin < cols; begin += kChunk) {
    const size_t end = begin + kChunk < cols ? begin + kChunk : cols;
    __m512 even[NC], odd[NC];
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[c] = odd[c] = _mm512_setzero_ps();
    size_t k = begin;
    for (; k + 2 < end; k += 4, w += 4 * kRowBytes) {
      if (prefetch) {
        __builtin_prefetch(w + kAhead, 0, 3);
        __builtin_prefetch(w + kAhead + 64, 0, 3);
      }
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
  for (size_t c = 0; c < NC; ++c) {
    store_rows(job.y + (token + c) * job.y_stride + panel * kPanelRows, y[c], rows_of(job, panel));
  }
}

template <size_t NC>
void raw_tile_of(size_t count, const Job& job, size_t panel, size_t token, bool prefetch) {
  if (count == NC) return raw_tile<NC>(job, panel, token, prefetch);
  if constexpr (NC > 1) raw_tile_of<NC - 1>(count, job, panel, token, prefetch);
}

void raw_product(const Job& job) {
  const size_t tokens = job.x.tokens, tiles = (tokens + kRawTile - 1) / kRawTile;
  narrow(job, 0, tokens);
  for (size_t panel = job.panel_begin; panel < job.panel_end; ++panel) {
    for (size_t i = 0; i < tiles; ++i) {
      const size_t begin = piece(tokens, tiles, i), end = piece(tokens, tiles, i + 1);
      raw_tile_of<kRawTile>(end - begin, job, panel, begin, i == 0);
    }
  }
}

// A chunk of NP unpacked panels and the block of tokens that uses it.
struct Chunk {
  size_t panel;
  size_t begin, end;  // Columns.
  bool last;          // Of the panels: sums go to y.
  size_t token_begin, tokens;
};

// NP unpacked panels times NC tokens from `token` of the block on.
template <size_t NP, size_t NC>
void chunk_tile(const Job& job, const Chunk& chunk, size_t token) {
  const size_t stride = value_stride(job.weights.cols);
  const uint16_t* values = job.values() + token * stride + chunk.begin;
  __m512 even[NP][NC], odd[NP][NC];
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] = odd[p][c] = _mm512_setzero_ps();
  }
  const size_t count = (chunk.end - chunk.begin + 1) / 2;
  const std::byte* w = job.pairs();
  size_t i = 0;
  for (; i + 1 < count; i += 2, w += 128) {
    __m512i first[NP], second[NP];
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      first[p] = _mm512_load_si512(w + p * kChunkBytes);
      second[p] = _mm512_load_si512(w + p * kChunkBytes + 64);
    }
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) even[p][c] =
          dot(even[p][c], first[p], values + c * stride + 2 * i);
    }
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) odd[p][c] =
          dot(odd[p][c], second[p], values + c * stride + 2 * i + 2);
    }
  }
  if (i < count) {
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const __m512i first = _mm512_load_si512(w + p * kChunkBytes);
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[p][c] =
          dot(even[p][c], first, values + c * stride + 2 * i);
    }
  }
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
    const size_t panel = chunk.panel + p, rows = rows_of(job, panel);
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      float* kept = job.sums() + ((token + c) * 2 + p) * kPanelRows;
      const __m512 before = chunk.begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(kept);
      const __m512 sum = _mm512_add_ps(before, _mm512_add_ps(even[p][c], odd[p][c]));
      if (chunk.last)
        store_rows(job.y + (chunk.token_begin + token + c) * job.y_stride + panel * kPanelRows, sum,
                   rows);
      else
        _mm512_store_ps(kept, sum);
    }
  }
}

template <size_t NP, size_t NC>
void chunk_tile_of(size_t count, const Job& job, const Chunk& chunk, size_t token) {
  if (count == NC) return chunk_tile<NP, NC>(job, chunk, token);
  if constexpr (NC > 1) chunk_tile_of<NP, NC - 1>(count, job, chunk, token);
}

// NP panels of a chunk: unpacked into L1, then times the tokens. What follows in memory, or the
// next panels, comes into L2 meanwhile, a piece per tile.
template <size_t NP>
void chunk_product(const Job& job, const Chunk& chunk) {
  const Pairs pairs;
  const std::byte* weights =
      job.weights.data + chunk.panel * job.panel_bytes + chunk.begin * kRowBytes;
  const size_t count = (chunk.end - chunk.begin + 1) / 2;
  for (size_t p = 0; p < NP; ++p) {
    for (size_t i = 0; i < count; ++i) {
      _mm512_store_si512(job.pairs() + p * kChunkBytes + 64 * i,
                         pairs.load(weights + p * job.panel_bytes + 64 * i));
    }
  }
  const std::byte* next =
      chunk.last ? job.weights.data + (chunk.panel + NP) * job.panel_bytes : weights + 64 * count;
  const size_t tiles = (chunk.tokens + kTile - 1) / kTile;
  for (size_t i = 0; i < tiles; ++i) {
    for (size_t p = 0; p < NP; ++p) {
      for (size_t l = piece(kChunk / 2, tiles, i); l < piece(kChunk / 2, tiles, i + 1); ++l)
        __builtin_prefetch(next + p * job.panel_bytes + 64 * l, 0, 2);
    }
    const size_t from = piece(chunk.tokens, tiles, i), to = piece(chunk.tokens, tiles, i + 1);
    chunk_tile_of<NP, kTile>(to - from, job, chunk, from);
  }
}

void chunked_product(const Job& job) {
  const size_t tokens = job.x.tokens, cols = job.weights.cols;
  const size_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
  for (size_t block = 0; block < blocks; ++block) {
    const size_t begin = piece(tokens, blocks, block), end = piece(tokens, blocks, block + 1);
    narrow(job, begin, end);
    for (size_t panel = job.panel_begin; panel < job.panel_end; panel += 2) {
      for (size_t k = 0; k < cols; k += kChunk) {
        const bool last = k + kChunk >= cols;
        const Chunk chunk{panel, k, last ? cols : k + kChunk, last, begin, end - begin};
        if (panel + 2 <= job.panel_end)
          chunk_product<2>(job, chunk);
        else
          chunk_product<1>(job, chunk);
      }
    }
  }
}

void matmul_bf16(const PackedMatrix& weights, const Activations& x, size_t panel_begin,
                 size_t panel_end, float* y, size_t y_stride, std::byte* scratch) {
  if (weights.type != DType::kBF16) {
    return matmul_kernel_avx512()(weights, x, panel_begin, panel_end, y, y_stride, scratch);
  }
  const Job job{weights,     x,         packed_panel_bytes(weights.type, weights.cols),
                panel_begin, panel_end, y,
                y_stride,    scratch};
  if (x.tokens <= kRawTokens) return raw_product(job);
  chunked_product(job);
}

}  // namespace

size_t bf16_scratch_bytes(size_t cols) {
  return kSumBytes + 2 * kChunkBytes + kBlockTokens * value_stride(cols) * sizeof(uint16_t);
}

MatmulKernel matmul_kernel_bf16() { return matmul_bf16; }

}  // namespace altlas::ops

ALTLAS_COMPILE_FOR_END
#endif
