// Products of BF16 weights by AMX tiles, over any `Tiles` (real or emulated) and any `Words`. A .cc
// includes this inside its namespace and its compiler attributes, after bf16-inl.h.
//
// Per output, in k order, for every 32 columns: two chains from zero, one of the even and one of
// the odd columns, then y += even + odd: what TDPBF16PS does with one tile. Columns that are
// missing in the last 32 are zeros. Tokens that are missing in a tile are zeros too and end
// nowhere, so bits do not depend on the batch.
#pragma once

// Tiles: sums 0-3 (of token tile t and panel p: 2 t + p), values 4-5, weights 6-7.
struct TileProducts {
  static constexpr size_t kChunk = kBf16Chunk;
  static constexpr size_t kTokens = 16;
  static constexpr size_t kStep = 32;  // Columns of one product.
  static size_t panels(size_t) { return 2; }
  static size_t chunk(size_t) { return kChunk; }

  static TileConfig config() {
    TileConfig config{};
    for (size_t t = 0; t < 8; ++t) {
      config.rows[t] = kTokens;
      config.row_bytes[t] = 64;
    }
    return config;
  }

  // NP panels times one or two tiles of tokens, from `token` of the chunk on.
  template <size_t NP>
  struct Block {
    const Job& job;
    const Chunk& chunk;
    size_t token;
    float* sums(size_t t, size_t p) const {
      return chunk.sums + ((token + t * kTokens) * NP + p) * kPanelRows;
    }
  };

  template <size_t NP, size_t T, size_t P>
  static void begin(const Block<NP>& block) {
    if (block.chunk.first(block.job))
      Tiles::template zero<2 * T + P>();
    else
      Tiles::template load<2 * T + P>(block.sums(T, P), NP * kPanelRows * sizeof(float));
  }

  // To y at the last column; a tile that is whole there needs no copy.
  template <size_t NP, size_t T, size_t P>
  static void end(const Block<NP>& block) {
    const Job& job = block.job;
    const Chunk& chunk = block.chunk;
    float* sums = block.sums(T, P);
    const size_t panel = chunk.panel + P, rows = rows_of(job, panel),
                 token = block.token + T * kTokens, tokens = chunk.tokens.size() - token;
    float* y = job.y + (chunk.tokens.begin + token) * job.y_stride + panel * kPanelRows;
    const bool last = chunk.last(job);
    if (last && rows == kPanelRows && tokens >= kTokens)
      return Tiles::template store<2 * T + P>(y, job.y_stride * sizeof(float));
    Tiles::template store<2 * T + P>(sums, NP * kPanelRows * sizeof(float));
    if (!last) return;
    for (size_t c = 0; c < least(tokens, kTokens); ++c)
      __builtin_memcpy(y + c * job.y_stride, sums + c * NP * kPanelRows, rows * sizeof(float));
  }

  // NT tiles of tokens. The blocks of a chunk share in fetching what is next: `lines` of each panel
  // for every product, from `ahead` on.
  template <size_t NP, size_t NT>
  static void multiply(const Block<NP>& block, const std::byte* ahead, size_t lines) {
    const Chunk& chunk = block.chunk;
    const uint16_t* values = chunk.values + block.token * chunk.stride;
    const size_t value_bytes = chunk.stride * sizeof(uint16_t);
    begin<NP, 0, 0>(block);
    if constexpr (NP == 2) begin<NP, 0, 1>(block);
    if constexpr (NT == 2) begin<NP, 1, 0>(block);
    if constexpr (NP == 2 && NT == 2) begin<NP, 1, 1>(block);
    const std::byte* w = block.job.pairs();
    for (size_t k = 0; k < chunk.columns.size(); k += kStep, w += kStep * kRowBytes) {
      for (size_t l = 0; l < lines; ++l, ahead += 64) {
        for (size_t p = 0; p < NP; ++p) __builtin_prefetch(ahead + p * block.job.panel_bytes, 0, 2);
      }
      Tiles::template load<6>(w, 64);
      if constexpr (NP == 2) Tiles::template load<7>(w + kChunk * kRowBytes, 64);
      Tiles::template load<4>(values + k, value_bytes);
      Tiles::template dot_bf16<0, 4, 6>();
      if constexpr (NP == 2) Tiles::template dot_bf16<1, 4, 7>();
      if constexpr (NT == 2) {
        Tiles::template load<5>(values + kTokens * chunk.stride + k, value_bytes);
        Tiles::template dot_bf16<2, 5, 6>();
        if constexpr (NP == 2) Tiles::template dot_bf16<3, 5, 7>();
      }
    }
    end<NP, 0, 0>(block);
    if constexpr (NP == 2) end<NP, 0, 1>(block);
    if constexpr (NT == 2) end<NP, 1, 0>(block);
    if constexpr (NP == 2 && NT == 2) end<NP, 1, 1>(block);
  }

  template <size_t NP>
  static void product(const Job& job, const Chunk& chunk) {
    const size_t columns = chunk.columns.size(), pairs = (columns + 1) / 2;
    for (size_t p = 0; p < NP; ++p) {
      std::byte* out = job.pairs() + p * kChunk * kRowBytes;
      Words::pair(job.weights_at(chunk.panel + p, chunk.columns.begin), pairs, out);
      __builtin_memset(out + 64 * pairs, 0, 32 * round_up(columns, kStep) - 64 * pairs);
    }
    const size_t tiles = ceil_div(chunk.tokens.size(), kTokens), blocks = (tiles + 1) / 2;
    const size_t lines = ceil_div(kStep * kRowBytes / 64, blocks);
    for (size_t i = 0; i < blocks; ++i) {
      const Block<NP> block{job, chunk, 2 * i * kTokens};
      const std::byte* ahead = chunk.next + i * (kChunk / kStep) * lines * 64;
      if (2 * i + 1 < tiles)
        multiply<NP, 2>(block, ahead, lines);
      else
        multiply<NP, 1>(block, ahead, lines);
    }
  }
};

// As matmul(), of BF16 weights.
void matmul_bf16_tiles(const PackedMatrix& weights, const Activations& x, Range panels,
                       Rows<float> y, std::byte* scratch) {
  const TileConfig config = TileProducts::config();
  Tiles::configure(config);
  bf16_product<TileProducts>(weights, x, panels, y, scratch);
  Tiles::release();
}
