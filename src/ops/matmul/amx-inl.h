// Products of quantised weights by AMX tiles, over any `Tiles` (real or emulated) and any `Simd`.
// A .cc includes this inside its namespace and its compiler attributes, after kernels-inl.h.
//
// The int32 sums of a block (or of its halves) come from one tile product: A has 16 tokens' quants,
// straight from their records; B an unpacked block, whose eight vectors are eight tile rows as they
// lie; the signed by unsigned product gives 16 tokens x 16 rows. What follows is the chain of
// matmul_scalar.cc: the same bits.
#pragma once

// Tiles, by half of the block (whole blocks use the first): sums 0-1, quants 2-3, codes 4-5.
inline constexpr size_t kTileTokens = 16;
inline constexpr size_t kTileInts = kTileTokens * kPanelRows;
inline constexpr size_t kTilesPerUnpack = 16;  // Tiles of tokens that share an unpacked chunk.
static_assert(kUnpackedBytes / 2 + kTilesPerUnpack * kTileInts * sizeof(float) <= kScratchBytes);

template <PanelFormat F>
constexpr size_t tile_halves() {
  return has_halves(F) ? 2 : 1;
}

template <PanelFormat F>
ALTLAS_INLINE TileConfig tile_config() {
  TileConfig config{};
  for (size_t h = 0; h < tile_halves<F>(); ++h) {
    config.rows[h] = config.rows[2 + h] = kTileTokens;
    config.row_bytes[h] = config.row_bytes[4 + h] = 64;
    config.row_bytes[2 + h] = kActivationBlock / tile_halves<F>();
    config.rows[4 + h] = 8 / tile_halves<F>();
  }
  return config;
}

// sums[half][token][row] of an unpacked block times 16 tokens, without the biases.
template <PanelFormat F>
ALTLAS_INLINE void tile_dots(const std::byte* block, const ActivationBlock* a, size_t stride,
                             int32_t* sums) {
  constexpr size_t kQuants = kActivationBlock / tile_halves<F>(), kCodes = 512 / tile_halves<F>();
  const size_t record_bytes = stride * sizeof(ActivationBlock);
  Tiles::template zero<0>();
  Tiles::template load<2>(a->quants, record_bytes);
  Tiles::template load<4>(block, 64);
  Tiles::template dot<0>();
  Tiles::template store<0>(sums, 64);
  if constexpr (has_halves(F)) {
    Tiles::template zero<1>();
    Tiles::template load<3>(a->quants + kQuants, record_bytes);
    Tiles::template load<5>(block + kCodes, 64);
    Tiles::template dot<1>();
    Tiles::template store<1>(sums + kTileInts, 64);
  }
}

// acc of one token plus a block's sums, rounded as in matmul_scalar.cc.
template <PanelFormat F>
ALTLAS_INLINE Floats add_sums(const Params& params, const ActivationBlock& a, const int32_t* sums,
                              Floats acc) {
  const Floats first = Simd::to_floats(Simd::add_ints(Simd::load_ints(sums), start_sum<F>(a, 0)));
  Floats t = Simd::mul(first, params.s[0]);
  if constexpr (has_halves(F)) {
    const Floats second =
        Simd::to_floats(Simd::add_ints(Simd::load_ints(sums + kTileInts), start_sum<F>(a, 1)));
    t = Simd::fma(second, params.s[1], t);
    if constexpr (F.scheme == BlockScheme::kHalfScaleMin) {
      for (size_t h = 0; h < 2; ++h)
        t = Simd::fma(Simd::to_floats(Simd::set1_int(&a.minus_32_sum[h])), params.n[h], t);
    }
  }
  acc = Simd::fma(t, Simd::set1(a.scale), acc);
  if constexpr (min_vectors(F) == 1) acc = Simd::fma(Simd::set1(a.scaled_sum), params.n[0], acc);
  return acc;
}

// One unpacked chunk of a panel times 16 tokens: the sums of the next block are made while those of
// the last are added.
template <PanelFormat F>
ALTLAS_INLINE void chunk_tile(const Job& job, size_t block_begin, size_t blocks, size_t token,
                              bool first, float* kept) {
  const size_t stride = activation_stride(job.weights.cols);
  const auto* a =
      reinterpret_cast<const ActivationBlock*>(job.x.quantized) + token * stride + block_begin;
  alignas(64) int32_t sums[2][tile_halves<F>() * kTileInts];
  Floats acc[kTileTokens];
  ALTLAS_UNROLL for (size_t c = 0; c < kTileTokens; ++c) acc[c] =
      first ? Simd::zero() : Simd::load(kept + c * kPanelRows);
  const std::byte* block = job.scratch;
  tile_dots<F>(block, a, stride, sums[0]);
  for (size_t b = 0; b < blocks; ++b, ++a, block += unpacked_block_bytes(F)) {
    if (b + 1 < blocks)
      tile_dots<F>(block + unpacked_block_bytes(F), a + 1, stride, sums[(b + 1) % 2]);
    const Params params = UnpackedBlock<F>{block}.params();
    ALTLAS_UNROLL for (size_t c = 0; c < kTileTokens; ++c) acc[c] =
        add_sums<F>(params, a[c * stride], sums[b % 2] + c * kPanelRows, acc[c]);
  }
  ALTLAS_UNROLL for (size_t c = 0; c < kTileTokens; ++c) Simd::store(kept + c * kPanelRows, acc[c]);
}

// One panel times the tokens of tiles [tile_begin, tile_end). Tile i begins at token 16 i, or so
// that it ends with the last token: tokens that two tiles hold get the same bits twice.
template <PanelFormat F>
void panel_tiles(const Job& job, size_t panel, size_t tile_begin, size_t tile_end) {
  constexpr size_t kGroups = kChunkBlocks / F.group_blocks;
  const size_t groups = job.panel_bytes / F.group_bytes(), chunks = ceil_div(groups, kGroups);
  const std::byte* weights = job.weights.data + panel * job.panel_bytes;
  auto* kept = reinterpret_cast<float*>(job.scratch + kUnpackedBytes / 2);
  for (size_t k = 0; k < chunks; ++k) {
    const size_t begin = piece(groups, chunks, k), end = piece(groups, chunks, k + 1);
    std::byte* out = job.scratch;
    for (size_t g = begin; g < end; ++g) {
      const GroupScales<F> shared(weights + g * F.group_bytes());
      for (size_t b = 0; b < F.group_blocks; ++b, out += unpacked_block_bytes(F))
        unpack_block<F>(PackedBlock<F>{weights + g * F.group_bytes(), b, &shared}, out);
    }
    for (size_t i = tile_begin; i < tile_end; ++i) {
      const size_t last = job.x.tokens - kTileTokens,
                   token = i * kTileTokens < last ? i * kTileTokens : last;
      float* sums = kept + (i - tile_begin) * kTileInts;
      chunk_tile<F>(job, begin * F.group_blocks, (end - begin) * F.group_blocks, token, k == 0,
                    sums);
      if (k + 1 < chunks) continue;
      for (size_t c = 0; c < kTileTokens; ++c) {
        Simd::store_rows(job.y + (token + c) * job.y_stride + panel * kPanelRows,
                         Simd::load(sums + c * kPanelRows), rows_of(job, panel));
      }
    }
  }
}

template <DType T>
void tile_product(const Job& job) {
  constexpr PanelFormat F = panel_format(T);
  const size_t tiles = ceil_div(job.x.tokens, kTileTokens),
               turns = ceil_div(tiles, kTilesPerUnpack);
  const TileConfig config = tile_config<F>();
  Tiles::configure(config);
  for (size_t turn = 0; turn < turns; ++turn) {
    for (size_t panel = job.panel_begin; panel < job.panel_end; ++panel)
      panel_tiles<F>(job, panel, piece(tiles, turns, turn), piece(tiles, turns, turn + 1));
  }
  Tiles::release();
}

// As matmul(), of quantised weights and at least kTileTokens tokens.
void matmul_tiles(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                  std::byte* scratch) {
  const Job job{weights,      x,          packed_panel_bytes(weights.type, weights.cols),
                panels.begin, panels.end, y.data,
                y.stride,     scratch};
  switch (weights.type) {
    case DType::kQ4_0:
      return tile_product<DType::kQ4_0>(job);
    case DType::kQ4_1:
      return tile_product<DType::kQ4_1>(job);
    case DType::kQ5_0:
      return tile_product<DType::kQ5_0>(job);
    case DType::kQ5_1:
      return tile_product<DType::kQ5_1>(job);
    case DType::kQ8_0:
      return tile_product<DType::kQ8_0>(job);
    case DType::kQ2_K:
      return tile_product<DType::kQ2_K>(job);
    case DType::kQ3_K:
      return tile_product<DType::kQ3_K>(job);
    case DType::kQ4_K:
      return tile_product<DType::kQ4_K>(job);
    case DType::kQ5_K:
      return tile_product<DType::kQ5_K>(job);
    case DType::kQ6_K:
      return tile_product<DType::kQ6_K>(job);
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kI32:
      break;
  }
}

// As matmul(): many tokens by tiles, all else as the products of this Simd do.
void matmul_amx(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                std::byte* scratch) {
  const bool tiles = takes_quantized_activations(weights.type) && x.tokens >= kTileTokens;
  const auto product = tiles ? matmul_tiles : matmul_simd;
  product(weights, x, panels, y, scratch);
}
