// The products of every SIMD target, written once. A target's .cc includes this inside its
// namespace and its compiler attributes, after a struct Simd with the vector operations. A "vector"
// here has 16 lanes: the rows of a panel. No lambdas and no standard templates in here: they would
// not carry the target's attributes.
#pragma once

#include "ops/matmul/blocks-inl.h"

// Bytes. 6-8 KiB measured best; hardware prefetch alone is half as fast.
inline constexpr size_t kPrefetchAhead = 7168;
inline constexpr size_t kL1Budget = 34 * 1024;  // Bytes of the 48 KiB that are for unpacked panels.
inline constexpr size_t kTokenBlock = 256;      // Tokens that share an unpacked chunk.
// Records of a token that stay in L2, of a token block.
inline constexpr size_t kWholeBlocks = 32;
inline constexpr size_t kPanelBlock = 32;  // Panels whose sums of a token block stay in L2.

struct Job {
  PackedMatrix weights;
  Activations x;
  size_t panel_bytes;
  size_t panel_begin, panel_end;
  float* y;
  size_t y_stride;
  std::byte* scratch;
};

// Rows of panel p that exist.
ALTLAS_INLINE size_t rows_of(const Job& job, size_t p) {
  const size_t left = job.weights.rows - p * kPanelRows;
  return left < kPanelRows ? left : kPanelRows;
}

ALTLAS_INLINE void prefetch_near(const std::byte* at, size_t lines) {
  for (size_t i = 0; i < lines; ++i) __builtin_prefetch(at + 64 * i, 0, 3);
}

// One panel times NC tokens, straight from the packed bits.
template <PanelFormat F, size_t NC>
void raw_tile(const Job& job, size_t panel, size_t token, bool prefetch) {
  const size_t stride = activation_stride(job.weights.cols);
  const auto* a = reinterpret_cast<const ActivationBlock*>(job.x.quantized) + token * stride;
  const std::byte* group = job.weights.data + panel * job.panel_bytes;
  const std::byte* end = group + job.panel_bytes;
  constexpr size_t kLines = F.group_bytes() / 64;
  Floats acc[1][NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) acc[0][c] = Simd::zero();
  for (; group != end; group += F.group_bytes()) {
    const GroupScales<F> shared(group);
    for (size_t b = 0; b < F.group_blocks; ++b, ++a) {
      if (prefetch) {
        const size_t line = b * kLines / F.group_blocks;
        prefetch_near(group + kPrefetchAhead + 64 * line, (b + 1) * kLines / F.group_blocks - line);
      }
      const PackedBlock<F> block[1] = {{group, b, &shared}};
      add_block<F, 1, NC>(block, a, stride, acc);
    }
  }
  const size_t rows = rows_of(job, panel);
  for (size_t c = 0; c < NC; ++c) {
    Simd::store_rows(job.y + (token + c) * job.y_stride + panel * kPanelRows, acc[0][c], rows);
  }
}

template <PanelFormat F, size_t NC>
ALTLAS_INLINE void raw_tile_of(size_t count, const Job& job, size_t panel, size_t token,
                               bool prefetch) {
  if (count == NC) return raw_tile<F, NC>(job, panel, token, prefetch);
  if constexpr (NC > 1) raw_tile_of<F, NC - 1>(count, job, panel, token, prefetch);
}

// `parts` nearly equal pieces of `total`: where piece `i` begins.
ALTLAS_INLINE size_t piece(size_t total, size_t parts, size_t i) { return total * i / parts; }

template <PanelFormat F>
void raw_product(const Job& job) {
  const size_t tokens = job.x.tokens, tiles = ceil_div(tokens, Simd::kRawColumns);
  for (size_t panel = job.panel_begin; panel < job.panel_end; ++panel) {
    for (size_t i = 0; i < tiles; ++i) {
      const size_t begin = piece(tokens, tiles, i), end = piece(tokens, tiles, i + 1);
      raw_tile_of<F, Simd::kRawColumns>(end - begin, job, panel, begin, i == 0);
    }
  }
}

// A chunk of NP unpacked panels and the tokens that use it.
struct Chunk {
  size_t panel;
  size_t block_begin, blocks;
  bool first;  // For its panels: the sums begin at zero; else those so far are in y.
  size_t token_begin, token_end;
  const std::byte* next;  // What is unpacked next, of each panel, for prefetching.
  size_t next_bytes;
};

ALTLAS_INLINE Floats load_rows(const float* at, size_t rows) {
  if (rows == kPanelRows) return Simd::loadu(at);
  alignas(64) float all[kPanelRows] = {};
  for (size_t r = 0; r < rows; ++r) all[r] = at[r];
  return Simd::load(all);
}

// NC tokens from `token` on; the sums of as many from `next_token` on are fetched meanwhile.
template <PanelFormat F, size_t NP, size_t NC>
void unpacked_tile(const Job& job, const Chunk& chunk, size_t token, size_t next_token) {
  const size_t stride = activation_stride(job.weights.cols);
  const auto* a = reinterpret_cast<const ActivationBlock*>(job.x.quantized) + token * stride +
                  chunk.block_begin;
  const std::byte* at = job.scratch;
  const size_t panel_bytes = chunk.blocks * unpacked_block_bytes(F);
  float* y = job.y + token * job.y_stride + chunk.panel * kPanelRows;
  const float* next = job.y + next_token * job.y_stride + chunk.panel * kPanelRows;
  Floats acc[NP][NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const size_t at_row = c * job.y_stride + p * kPanelRows;
      acc[p][c] = chunk.first ? Simd::zero() : load_rows(y + at_row, rows_of(job, chunk.panel + p));
      __builtin_prefetch(next + at_row, 1, 3);
    }
  }
  for (size_t b = 0; b < chunk.blocks; ++b, ++a, at += unpacked_block_bytes(F)) {
    UnpackedBlock<F> block[NP];
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) block[p].at = at + p * panel_bytes;
    add_block<F, NP, NC>(block, a, stride, acc);
  }
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      Simd::store_rows(y + c * job.y_stride + p * kPanelRows, acc[p][c],
                       rows_of(job, chunk.panel + p));
    }
  }
}

// The tiles of any number of tokens over `least` have `most` columns, or one less.
constexpr bool tiles_are_whole(size_t least, size_t most) {
  return (least + 1) / ((least + most) / most) >= most - 1;
}

// The chunk's tokens. The next chunk comes into L2 meanwhile, a piece per tile.
template <PanelFormat F, size_t NP>
void chunk_product(const Job& job, const Chunk& chunk) {
  constexpr size_t kMost = unpacked_columns(F);
  static_assert(tiles_are_whole(Simd::raw_tokens(F), kMost));
  const size_t tokens = chunk.token_end - chunk.token_begin;
  const size_t tiles = ceil_div(tokens, kMost), lines = chunk.next_bytes / 64;
  for (size_t i = 0; i < tiles; ++i) {
    const size_t from = chunk.token_begin + piece(tokens, tiles, i),
                 to = chunk.token_begin + piece(tokens, tiles, i + 1);
    for (size_t p = 0; p < NP; ++p) {
      const std::byte* at = chunk.next + p * job.panel_bytes;
      for (size_t l = piece(lines, tiles, i); l < piece(lines, tiles, i + 1); ++l)
        __builtin_prefetch(at + 64 * l, 0, 2);
    }
    const size_t next = to < chunk.token_end ? to : chunk.token_begin;
    if (to - from == kMost)
      unpacked_tile<F, NP, kMost>(job, chunk, from, next);
    else
      unpacked_tile<F, NP, kMost - 1>(job, chunk, from, next);
  }
}
// Groups of blocks in a chunk: unpacked panels and a tile's quants stay in L1.
template <PanelFormat F>
constexpr size_t chunk_groups() {
  const size_t most = kL1Budget / (Simd::kUnpackedPanels * unpacked_block_bytes(F));
  return (most < kChunkBlocks ? most : kChunkBlocks) / F.group_blocks;
}

template <PanelFormat F, size_t NP>
void panels_product(const Job& job, const Chunk& chunk) {
  const std::byte* groups = job.weights.data + chunk.panel * job.panel_bytes +
                            chunk.block_begin / F.group_blocks * F.group_bytes();
  for (size_t p = 0; p < NP; ++p) {
    std::byte* out = job.scratch + p * chunk.blocks * unpacked_block_bytes(F);
    const std::byte* group = groups + p * job.panel_bytes;
    for (size_t g = 0; g < chunk.blocks / F.group_blocks; ++g, group += F.group_bytes()) {
      const GroupScales<F> shared(group);
      for (size_t b = 0; b < F.group_blocks; ++b, out += unpacked_block_bytes(F))
        unpack_block<F>(PackedBlock<F>{group, b, &shared}, out);
    }
  }
  chunk_product<F, NP>(job, chunk);
}

// The order in which one token block meets the chunks of all panels: panel blocks, in each the
// chunks, in each the panels, kUnpackedPanels at a time. Where a token block's records of all
// columns stay in L2, a panel block has that many panels only; else, what a chunk reads of them
// does, and so do the sums of a panel block.
struct Order {
  size_t panel_begin, panel_end, block_panels, chunks;

  // Step `i` of steps().
  struct Step {
    size_t panel, chunk;
  };
  ALTLAS_INLINE size_t steps() const {
    return ceil_div(panel_end - panel_begin, Simd::kUnpackedPanels) * chunks;
  }
  ALTLAS_INLINE Step at(size_t i) const {
    const size_t whole = block_panels / Simd::kUnpackedPanels, all = steps() / chunks;
    const size_t block = i / (whole * chunks), left = i % (whole * chunks);
    const size_t pairs = all - block * whole < whole ? all - block * whole : whole;
    return {panel_begin + (block * whole + left % pairs) * Simd::kUnpackedPanels, left / pairs};
  }
};

template <PanelFormat F>
void unpacked_product(const Job& job) {
  const size_t groups = job.panel_bytes / F.group_bytes(),
               chunks = ceil_div(groups, chunk_groups<F>());
  const bool all_columns = groups * F.group_blocks <= kWholeBlocks;
  const Order order{job.panel_begin, job.panel_end,
                    all_columns ? Simd::kUnpackedPanels : kPanelBlock, chunks};
  const size_t tokens = job.x.tokens, token_blocks = ceil_div(tokens, kTokenBlock);
  for (size_t t = 0; t < token_blocks; ++t) {
    Order::Step step = order.at(0);
    for (size_t i = 0; i < order.steps(); ++i) {
      const bool last = i + 1 == order.steps();
      const Order::Step next = order.at(last ? 0 : i + 1);
      const size_t begin = piece(groups, chunks, step.chunk),
                   end = piece(groups, chunks, step.chunk + 1);
      const size_t next_begin = piece(groups, chunks, next.chunk),
                   next_end = piece(groups, chunks, next.chunk + 1);
      const bool leaves = last && t + 1 == token_blocks && job.weights.next != nullptr;
      const Chunk chunk{
          step.panel,
          begin * F.group_blocks,
          (end - begin) * F.group_blocks,
          step.chunk == 0,
          piece(tokens, token_blocks, t),
          piece(tokens, token_blocks, t + 1),
          leaves ? job.weights.next
                 : job.weights.data + next.panel * job.panel_bytes + next_begin * F.group_bytes(),
          (next_end - next_begin) * F.group_bytes()};
      if (step.panel + Simd::kUnpackedPanels <= job.panel_end)
        panels_product<F, Simd::kUnpackedPanels>(job, chunk);
      else
        panels_product<F, 1>(job, chunk);
      step = next;
    }
  }
}

// Float weights: [cols][16], even and odd k in two chains.
template <DType T, size_t NC>
void float_tile(const Job& job, size_t panel, size_t token, bool prefetch) {
  constexpr size_t kStep = (T == DType::kF32 ? 4 : 2) * kPanelRows;
  const size_t cols = job.weights.cols, stride = job.x.stride;
  const std::byte* w = job.weights.data + panel * job.panel_bytes;
  const float* x = job.x.values + token * stride;
  Floats even[NC], odd[NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) even[c] = odd[c] = Simd::zero();
  size_t k = 0;
  for (; k + 2 <= cols; k += 2, w += 2 * kStep) {
    if (prefetch) prefetch_near(w + kPrefetchAhead, kStep / 32);
    const Floats first = Simd::template load_weights<T>(w),
                 second = Simd::template load_weights<T>(w + kStep);
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
      even[c] = Simd::fma(first, Simd::set1(x[c * stride + k]), even[c]);
      odd[c] = Simd::fma(second, Simd::set1(x[c * stride + k + 1]), odd[c]);
    }
  }
  const size_t rows = rows_of(job, panel);
  for (size_t c = 0; c < NC; ++c) {
    if (k < cols)
      even[c] =
          Simd::fma(Simd::template load_weights<T>(w), Simd::set1(x[c * stride + k]), even[c]);
    Simd::store_rows(job.y + (token + c) * job.y_stride + panel * kPanelRows,
                     Simd::add(even[c], odd[c]), rows);
  }
}

template <DType T, size_t NC>
ALTLAS_INLINE void float_tile_of(size_t count, const Job& job, size_t panel, size_t token,
                                 bool prefetch) {
  if (count == NC) return float_tile<T, NC>(job, panel, token, prefetch);
  if constexpr (NC > 1) float_tile_of<T, NC - 1>(count, job, panel, token, prefetch);
}

template <DType T>
void float_product(const Job& job) {
  const size_t tokens = job.x.tokens, tiles = ceil_div(tokens, Simd::kFloatColumns);
  for (size_t panel = job.panel_begin; panel < job.panel_end; ++panel) {
    for (size_t i = 0; i < tiles; ++i) {
      const size_t begin = piece(tokens, tiles, i), end = piece(tokens, tiles, i + 1);
      float_tile_of<T, Simd::kFloatColumns>(end - begin, job, panel, begin, i == 0);
    }
  }
}

template <DType T>
void quantized_product(const Job& job) {
  if (job.x.tokens <= Simd::raw_tokens(panel_format(T)))
    raw_product<panel_format(T)>(job);
  else
    unpacked_product<panel_format(T)>(job);
}

void matmul_simd(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                 std::byte* scratch) {
  const Job job{weights,      x,          packed_panel_bytes(weights.type, weights.cols),
                panels.begin, panels.end, y.data,
                y.stride,     scratch};
  switch (weights.type) {
    case DType::kF32:
      return float_product<DType::kF32>(job);
    case DType::kF16:
      return float_product<DType::kF16>(job);
    case DType::kBF16:
      return float_product<DType::kBF16>(job);
    case DType::kQ4_0:
      return quantized_product<DType::kQ4_0>(job);
    case DType::kQ4_1:
      return quantized_product<DType::kQ4_1>(job);
    case DType::kQ5_0:
      return quantized_product<DType::kQ5_0>(job);
    case DType::kQ5_1:
      return quantized_product<DType::kQ5_1>(job);
    case DType::kQ8_0:
      return quantized_product<DType::kQ8_0>(job);
    case DType::kQ2_K:
      return quantized_product<DType::kQ2_K>(job);
    case DType::kQ3_K:
      return quantized_product<DType::kQ3_K>(job);
    case DType::kQ4_K:
      return quantized_product<DType::kQ4_K>(job);
    case DType::kQ5_K:
      return quantized_product<DType::kQ5_K>(job);
    case DType::kQ6_K:
      return quantized_product<DType::kQ6_K>(job);
    case DType::kI32:
      break;
  }
}
