#include "base/integers.h"
#include "ops/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "tensor/half.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/attention/attention_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/math/math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace {
constexpr size_t kTileGroups = kAttentionTile / kKvGroup;

// Loaders turn stored values into floats, `kLanes` at once.
struct LoadF32 {
  static constexpr bool kScaled = false;
  using T = float;
  static HWY_INLINE Vec16 load(const float* p) { return hn::LoadU(F32x16(), p); }
};
struct LoadF16 {
  static constexpr bool kScaled = false;
  using T = uint16_t;
  static HWY_INLINE Vec16 load(const uint16_t* p) {
    const hn::Rebind<hwy::float16_t, F32x16> half;
    const hn::Rebind<uint16_t, F32x16> bits;
    return hn::PromoteTo(F32x16(), hn::BitCast(half, hn::LoadU(bits, p)));
  }
};
struct LoadBf16 {
  static constexpr bool kScaled = false;
  using T = uint16_t;
  static HWY_INLINE Vec16 load(const uint16_t* p) {
    const hn::Rebind<uint16_t, F32x16> bits;
    const hn::Rebind<uint32_t, F32x16> wide;
    return hn::BitCast(F32x16(), hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(bits, p))));
  }
};

struct LoadQ8 {
  static constexpr bool kScaled = true;  // A stored value is the product of int8 and scale.
  using T = int8_t;
  static HWY_INLINE Vec16 load(const int8_t* p) {
    const hn::Rebind<int8_t, F32x16> bytes;
    const hn::RebindToSigned<F32x16> ints;
    return hn::ConvertTo(F32x16(), hn::PromoteTo(ints, hn::LoadU(bytes, p)));
  }
};

// The addresses of 16 tokens of a KV head.
template <class T>
struct Group {
  const T* keys = nullptr;                 // [head_dim][16]
  const T* values = nullptr;               // [tokens][head_dim], from the first token on.
  const uint16_t* key_scales = nullptr;    // [scales][16]
  const uint16_t* value_scales = nullptr;  // [tokens][scales]
};

// Query rows of one pass: as many as leave registers for two vectors of keys beside their sums.
constexpr size_t kPassRows = kLanes == 16 ? kAttentionPassRows : 6;
// The key groups that a pass of R rows scores, and the vectors of columns that it weighs. Fewer
// rows take more of them, since otherwise each addition would wait for the one before it.
constexpr size_t pass_groups(size_t rows) {
  if (kLanes == 16) return rows <= 2 ? 8 : rows <= 4 ? 4 : 2;
  return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}
constexpr size_t pass_columns(size_t rows) {
  if (kLanes == 16) return rows <= 4 ? 4 : 2;
  return rows <= 2 ? 4 : 2;
}

// Keys [first, last) of a tile, relative to its edge.
struct Seen {
  size_t first = 0;
  size_t last = 0;  // 0: no key is seen.
};

// The keys and values of one head in a tile.
template <class Load>
struct Tile {
  // A group that no row sees repeats one that is seen.
  Group<typename Load::T> groups[kTileGroups] = {};
  size_t dim = 0;
  size_t scales = 0;
  const float* value_scales = nullptr;  // [kAttentionTile][scales]
};

// Some rows of a call, at most kPassRows: their queries, and the result of the tiles so far, or of
// one tile alone.
struct QueryRows {
  const float* q;  // [rows, dim], scaled.
  Seen seen[kPassRows];
  Seen all;        // The keys that any of these rows sees.
  float* score;    // [kPassRows, kAttentionTile]
  float* sum;      // [rows, dim]
  float* largest;  // [rows]
  float* total;    // [rows]
  bool merges;     // Whether the result is merged with what is there.
};

inline void prefetch(const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const std::byte*>(from) + i);
}

// Computes score[r][j] = q[r] . key j for G groups of 16 keys. q is [R, dim]; score has the row
// stride kAttentionTile.
template <class Load, size_t R, size_t G>
HWY_INLINE void score_pass(const float* HWY_RESTRICT q, size_t dim,
                           const Group<typename Load::T>* groups, float* HWY_RESTRICT score) {
  constexpr size_t V = G * kParts;
  const F32x16 d;
  Vec16 sum[R][V];
  Vec16 scale[V];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) sum[r][v] = hn::Zero(d);
  for (size_t c = 0; c < dim; ++c) {
    Vec16 k[V];
    for (size_t v = 0; v < V; ++v) {
      const Group<typename Load::T>& group = groups[v / kParts];
      k[v] = Load::load(group.keys + c * 16 + v % kParts * kLanes);
      if constexpr (Load::kScaled) {
        if (c % kKvScaleValues == 0)
          scale[v] =
              LoadF16::load(group.key_scales + c / kKvScaleValues * 16 + v % kParts * kLanes);
        k[v] = hn::Mul(k[v], scale[v]);
      }
    }
    for (size_t r = 0; r < R; ++r) {
      const Vec16 x = hn::Set(d, q[r * dim + c]);
      for (size_t v = 0; v < V; ++v) sum[r][v] = fma(x, k[v], sum[r][v]);
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) hn::Store(sum[r][v], d, score + r * kAttentionTile + v * kLanes);
}

// Turns one row of scores into weights e^(score - largest); keys in `all` that the row does not see
// get weight 0. Returns the largest score; `total` is the weights' sum over 16 virtual lanes.
HWY_INLINE float soften(float* HWY_RESTRICT score, Seen seen, Seen all, float softcap,
                        float& total) {
  const F32x16 d;
  const Vec16 none = hn::Set(d, -std::numeric_limits<float>::infinity());
  const size_t low = seen.first / 16 * 16, high = (seen.last + 15) / 16 * 16;
  Vec16 most[kParts];
  for (size_t p = 0; p < kParts; ++p) most[p] = none;
  for (size_t j = low; j < high; j += 16)
    for (size_t p = 0; p < kParts; ++p) {
      const size_t at = j + p * kLanes;
      Vec16 s = hn::Load(d, score + at);
      if (softcap > 0) s = capped(s, softcap);
      if (at < seen.first) s = hn::IfThenElse(hn::FirstN(d, seen.first - at), none, s);
      if (at + kLanes > seen.last)
        s = at < seen.last ? hn::IfThenElse(hn::FirstN(d, seen.last - at), s, none) : none;
      hn::Store(s, d, score + at);
      most[p] = hn::Max(most[p], s);
    }
  const float largest = largest_of_lanes(most);
  const Vec16 top = hn::Set(d, largest);
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  for (size_t j = low; j < high; j += 16)
    for (size_t p = 0; p < kParts; ++p) {
      const Vec16 w = exp_below_max(hn::Sub(hn::Load(d, score + j + p * kLanes), top));
      hn::Store(w, d, score + j + p * kLanes);
      sums[p] = hn::Add(sums[p], w);
    }
  for (size_t j = all.first / 16 * 16; j < low; j += kLanes) hn::Store(hn::Zero(d), d, score + j);
  for (size_t j = high; j < all.last; j += kLanes) hn::Store(hn::Zero(d), d, score + j);
  total = sum_of(sums);
  return largest;
}

// The factors of a row's tiles so far and of the next tile in their sum.
struct Factors {
  HWY_ALIGN float old[16];
  HWY_ALIGN float add[16];
};

// Merges the largest scores and totals of R rows.
template <size_t R>
HWY_INLINE void merge_totals(const QueryRows& rows, const float* largest, const float* total,
                             Factors& factors) {
  const F32x16 d;
  HWY_ALIGN float before[16] = {};
  HWY_ALIGN float most[16];
  std::copy(rows.largest, rows.largest + R, before);
  for (size_t r = 0; r < R; r += kLanes) {
    const Vec16 old = hn::Load(d, before + r), add = hn::Load(d, largest + r),
                top = hn::IfThenElse(hn::Lt(old, add), add, old);
    hn::Store(exp_below_max(hn::Sub(old, top)), d, factors.old + r);
    hn::Store(exp_below_max(hn::Sub(add, top)), d, factors.add + r);
    hn::Store(top, d, most + r);
  }
  for (size_t r = 0; r < R; ++r) {
    if (rows.seen[r].last == 0) continue;
    rows.total[r] = std::fma(total[r], factors.add[r], rows.total[r] * factors.old[r]);
    rows.largest[r] = most[r];
  }
}

// Adds up weight[r][j] * value[j] over the keys that the rows see, in ascending order of keys, for
// V vectors of columns. `next` has the groups whose keys are prefetched, or is null.
template <class Load, size_t R, size_t V>
HWY_INLINE void weigh_pass(const Tile<Load>& tile, const QueryRows& rows, const Factors& factors,
                           size_t column, const Tile<Load>* next) {
  const F32x16 d;
  const size_t dim = tile.dim;
  Vec16 sum[R][V];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) sum[r][v] = hn::Zero(d);
  for (size_t j = rows.all.first; j < rows.all.last;) {
    const size_t end = std::min(rows.all.last, (j / kKvGroup + 1) * kKvGroup);
    const typename Load::T* value = tile.groups[j / kKvGroup].values + j % kKvGroup * dim + column;
    if (next != nullptr)
      prefetch(next->groups[j / kKvGroup].keys, kKvGroup * dim * sizeof(typename Load::T));
    for (; j < end; ++j, value += dim) {
      Vec16 x[V];
      for (size_t v = 0; v < V; ++v) {
        x[v] = Load::load(value + v * kLanes);
        if constexpr (Load::kScaled)
          x[v] = hn::Mul(
              x[v],
              hn::Set(d,
                      tile.value_scales[j * tile.scales + (column + v * kLanes) / kKvScaleValues]));
      }
      for (size_t r = 0; r < R; ++r) {
        const Vec16 w = hn::Set(d, rows.score[r * kAttentionTile + j]);
        for (size_t v = 0; v < V; ++v) sum[r][v] = fma(w, x[v], sum[r][v]);
      }
    }
  }
  for (size_t r = 0; r < R; ++r) {
    float* out = rows.sum + r * dim + column;
    if (!rows.merges) {
      for (size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, out + v * kLanes);
    } else if (rows.seen[r].last != 0) {
      const Vec16 a = hn::Set(d, factors.old[r]), b = hn::Set(d, factors.add[r]);
      for (size_t v = 0; v < V; ++v)
        hn::Store(fma(sum[r][v], b, hn::Mul(hn::Load(d, out + v * kLanes), a)), d,
                  out + v * kLanes);
    }
  }
}

// Computes one tile for R rows. `next` is the tile that follows, whose keys are prefetched, or
// null.
template <class Load, size_t R>
void attend_rows(const Tile<Load>& tile, const QueryRows& rows, float softcap,
                 const Tile<Load>* next, bool fetch) {
  constexpr size_t G = pass_groups(R), V = pass_columns(R);
  const size_t dim = tile.dim;
  for (size_t g = rows.all.first / 16 / G * G; g * 16 < rows.all.last; g += G) {
    if (fetch)
      for (size_t i = g; i < g + G; ++i)
        prefetch(tile.groups[i].values, kKvGroup * dim * sizeof(typename Load::T));
    score_pass<Load, R, G>(rows.q, dim, tile.groups + g, rows.score + g * 16);
  }
  HWY_ALIGN float largest[16] = {}, total[16] = {};
  Factors factors;
  for (size_t r = 0; r < R; ++r) {
    float* score = rows.score + r * kAttentionTile;
    if (rows.seen[r].last != 0)
      largest[r] = soften(score, rows.seen[r], rows.all, softcap, total[r]);
    else
      std::fill(score + rows.all.first / 16 * 16, score + rows.all.last, 0.0f);
  }
  if (rows.merges) {
    merge_totals<R>(rows, largest, total, factors);
  } else {
    std::copy(largest, largest + R, rows.largest);
    std::copy(total, total + R, rows.total);
  }
  size_t c = 0;
  for (; c + V * kLanes <= dim; c += V * kLanes)
    weigh_pass<Load, R, V>(tile, rows, factors, c, c == 0 ? next : nullptr);
  for (; c < dim; c += kLanes) weigh_pass<Load, R, 1>(tile, rows, factors, c, nullptr);
}

template <class Load, size_t R = kPassRows>
HWY_INLINE void attend_some_rows(size_t count, const Tile<Load>& tile, const QueryRows& rows,
                                 float softcap, const Tile<Load>* next, bool fetch) {
  if (count == R) return attend_rows<Load, R>(tile, rows, softcap, next, fetch);
  if constexpr (R > 1) attend_some_rows<Load, R - 1>(count, tile, rows, softcap, next, fetch);
}

// The result of the tiles so far for one row.
struct RowState {
  float* sum;  // [dim]
  float* largest;
  float* total;
};

// Merges a tile into the tiles before it, as merge_totals and weigh_pass do.
HWY_INLINE void merge(const RowState& row, size_t dim, const float* tile, float largest,
                      float total) {
  const F32x16 d;
  const float most = std::max(*row.largest, largest);
  const float old_factor = exp_f32(*row.largest - most), new_factor = exp_f32(largest - most);
  const Vec16 a = hn::Set(d, old_factor), b = hn::Set(d, new_factor);
  for (size_t c = 0; c < dim; c += kLanes)
    hn::Store(fma(hn::LoadU(d, tile + c), b, hn::Mul(hn::Load(d, row.sum + c), a)), d, row.sum + c);
  *row.total = std::fma(total, new_factor, *row.total * old_factor);
  *row.largest = most;
}

// Writes the output of a row whose tiles are all merged.
HWY_INLINE void finish(const RowState& row, size_t dim, float* out) {
  const F32x16 d;
  const Vec16 total = hn::Set(d, *row.total);
  for (size_t c = 0; c < dim; c += kLanes)
    hn::StoreU(hn::Div(hn::Load(d, row.sum + c), total), d, out + c);
}

Seen seen_in_tile(size_t position, uint32_t window, size_t edge) {
  const size_t first = window == 0 || position + 1 <= window ? 0 : position + 1 - window;
  const size_t last = std::min(position + 1, edge + kAttentionTile);
  if (last <= std::max(first, edge)) return {0, 0};
  return {std::max(first, edge) - edge, last - edge};
}

// Returns the addresses of the 16 tokens of a block from `token` on.
template <class Load>
Group<typename Load::T> group_at(const KvLayout& kv, const std::byte* head, size_t token) {
  using T = typename Load::T;
  Group<T> group;
  const size_t dim = kv.head_dim;
  const std::byte* values = head + kv.half_bytes();
  group.keys = reinterpret_cast<const T*>(head) + token * dim;
  group.values = reinterpret_cast<const T*>(values) + token * dim;
  if constexpr (Load::kScaled) {
    const size_t quants = kv.block_tokens * dim, scales = token * kv.scales();
    group.key_scales = reinterpret_cast<const uint16_t*>(head + quants) + scales;
    group.value_scales = reinterpret_cast<const uint16_t*>(values + quants) + scales;
  }
  return group;
}

// The scratch memory of a call. Its rows are the group's heads × tokens.
struct Scratch {
  float* q;             // [rows, dim], scaled.
  float* sum;           // [rows, dim], of the tiles so far.
  float* score;         // [kPassRows, kAttentionTile]; weights after softening.
  float* value_scales;  // [kAttentionTile, scales]
  float* largest;       // [rows]
  float* total;         // [rows]
};

// Returns the addresses of the tile at `edge`, as far as some query of the call sees it.
template <class Load>
Tile<Load> tile_at(const AttentionShape& shape, const AttentionCall& call, size_t edge) {
  const KvLayout& kv = shape.layout;
  Tile<Load> tile{.dim = kv.head_dim, .scales = kv.scales()};
  // Blocks before the first query's window may be gone, and those after the last query don't exist.
  const size_t last = std::min(call.position_of(call.tokens - 1), edge + kAttentionTile - 1) - edge;
  const size_t first = seen_in_tile(call.position, shape.window, edge).first;
  for (size_t g = 0; g < kTileGroups; ++g) {
    const size_t at = edge + std::clamp(g, first / 16, last / 16) * 16;
    const std::byte* head = call.blocks + call.table[at / kv.block_tokens] * call.block_stride +
                            call.kv_head * kv.head_bytes();
    tile.groups[g] = group_at<Load>(kv, head, at % kv.block_tokens);
  }
  return tile;
}

template <class Load>
void load_value_scales(Tile<Load>& tile, float* out) {
  const F32x16 d;
  tile.value_scales = out;
  for (const auto& group : tile.groups)
    for (size_t i = 0; i < kKvGroup * tile.scales; i += kLanes, out += kLanes)
      hn::Store(LoadF16::load(group.value_scales + i), d, out);
}

// Where the results of a call's tiles go: merged into `sum`, or each to its own place.
struct Into {
  float* sum;
  float* largest;
  float* total;
  bool merges;
};

// Computes one tile for all rows. `next` is the tile after it, or null.
template <class Load>
void attend_tile(const AttentionShape& shape, const AttentionCall& call, size_t edge,
                 Tile<Load>& tile, const Tile<Load>* next, const Scratch& s, const Into& into) {
  const size_t dim = tile.dim, group = shape.group(), count = group * call.tokens;
  if constexpr (Load::kScaled) load_value_scales(tile, s.value_scales);
  const size_t passes = ceil_div(count, kPassRows);
  for (size_t pass = 0; pass < passes; ++pass) {
    const size_t begin = count * pass / passes, end = count * (pass + 1) / passes;
    QueryRows rows{.q = s.q + begin * dim,
                   .all = {kAttentionTile, 0},
                   .score = s.score,
                   .sum = into.sum + begin * dim,
                   .largest = into.largest + begin,
                   .total = into.total + begin,
                   .merges = into.merges};
    for (size_t r = begin; r < end; ++r) {
      const Seen seen = seen_in_tile(call.position_of(r / group), shape.window, edge);
      rows.seen[r - begin] = seen;
      if (seen.last == 0) continue;
      rows.all = {std::min(rows.all.first, seen.first), std::max(rows.all.last, seen.last)};
    }
    if (rows.all.last != 0)
      attend_some_rows<Load>(end - begin, tile, rows, shape.softcap, pass == 0 ? next : nullptr,
                             pass == 0);
  }
}

void scale_queries(const AttentionShape& shape, const AttentionCall& call, float* scaled) {
  const F32x16 d;
  const size_t dim = shape.layout.head_dim, group = shape.group(), rows = group * call.tokens;
  for (size_t r = 0; r < rows; ++r) {
    const float* q = call.q + r / group * call.q_stride + (call.kv_head * group + r % group) * dim;
    for (size_t c = 0; c < dim; c += kLanes)
      hn::Store(hn::Mul(hn::LoadU(d, q + c), hn::Set(d, shape.scale)), d, scaled + r * dim + c);
  }
}

void begin_row(const RowState& row, size_t dim) {
  *row.largest = -std::numeric_limits<float>::infinity();
  *row.total = 0;
  std::fill(row.sum, row.sum + dim, 0.0f);
}

// Computes the tiles `of`, one after the other; into(tile) says where each result goes.
template <class Load, class IntoFn>
void attend_tiles(const AttentionShape& shape, const AttentionCall& call, AttentionTiles of,
                  const Scratch& s, const IntoFn& into) {
  scale_queries(shape, call, s.q);
  Tile<Load> tiles[2];
  for (size_t t = of.first; t < of.last; ++t) {
    Tile<Load>&tile = tiles[t % 2], &next = tiles[(t + 1) % 2];
    if (t == of.first) tile = tile_at<Load>(shape, call, t * kAttentionTile);
    const bool more = t + 1 < of.last;
    if (more) next = tile_at<Load>(shape, call, (t + 1) * kAttentionTile);
    attend_tile<Load>(shape, call, t * kAttentionTile, tile, more ? &next : nullptr, s, into(t));
  }
}

template <class Load>
void attend(const AttentionShape& shape, const AttentionCall& call, const Scratch& s) {
  const size_t dim = shape.layout.head_dim, group = shape.group(), rows = group * call.tokens;
  const auto row = [&](size_t r) { return RowState{s.sum + r * dim, s.largest + r, s.total + r}; };
  for (size_t r = 0; r < rows; ++r) begin_row(row(r), dim);
  attend_tiles<Load>(shape, call,
                     {attention_tiles(shape, call.position).first,
                      attention_tiles(shape, call.position_of(call.tokens - 1)).last},
                     s, [&](size_t) { return Into{s.sum, s.largest, s.total, true}; });
  for (size_t r = 0; r < rows; ++r)
    finish(row(r), dim,
           call.out + r / group * call.out_stride + (call.kv_head * group + r % group) * dim);
}

Scratch lay_out(const AttentionShape& shape, const AttentionCall& call, std::byte* scratch) {
  const size_t rows = shape.group() * call.tokens, dim = shape.layout.head_dim;
  float* at = reinterpret_cast<float*>(scratch);
  Scratch s{.q = at};
  s.sum = at += rows * dim;
  s.score = at += rows * dim;
  s.value_scales = at += kPassRows * kAttentionTile;
  s.largest = at += kAttentionTile * shape.layout.scales();
  s.total = at + rows;
  return s;
}

template <class Load>
void attend_part(const AttentionShape& shape, const AttentionCall& call, AttentionTiles tiles,
                 float* partials, const Scratch& s) {
  const size_t rows = shape.group(), dim = shape.layout.head_dim,
               stride = attention_partial_floats(shape);
  attend_tiles<Load>(shape, call, tiles, s, [&](size_t tile) {
    float* at = partials + (tile - tiles.first) * stride;
    return Into{at, at + rows * dim, at + rows * (dim + 1), false};
  });
}
}  // namespace

void attention(const AttentionShape& shape, const AttentionCall& call, std::byte* scratch) {
  const Scratch s = lay_out(shape, call, scratch);
  if (shape.layout.type == DType::kF16)
    attend<LoadF16>(shape, call, s);
  else if (shape.layout.type == DType::kBF16)
    attend<LoadBf16>(shape, call, s);
  else if (shape.layout.type == DType::kQ8_0)
    attend<LoadQ8>(shape, call, s);
  else
    attend<LoadF32>(shape, call, s);
}

void attention_partial(const AttentionShape& shape, const AttentionCall& call, AttentionTiles tiles,
                       float* partials, std::byte* scratch) {
  const Scratch s = lay_out(shape, call, scratch);
  if (shape.layout.type == DType::kF16)
    attend_part<LoadF16>(shape, call, tiles, partials, s);
  else if (shape.layout.type == DType::kBF16)
    attend_part<LoadBf16>(shape, call, tiles, partials, s);
  else if (shape.layout.type == DType::kQ8_0)
    attend_part<LoadQ8>(shape, call, tiles, partials, s);
  else
    attend_part<LoadF32>(shape, call, tiles, partials, s);
}

void attention_merge(const AttentionShape& shape, const AttentionCall& call,
                     const AttentionMerge& what, float* state) {
  const size_t rows = shape.group(), dim = shape.layout.head_dim;
  const RowState row{state, state + dim, state + dim + 1};
  if (what.first) begin_row(row, dim);
  const float* partial = what.partials;
  for (size_t i = 0; i < what.count; ++i, partial += what.partial_stride)
    merge(row, dim, partial + what.row * dim, partial[rows * dim + what.row],
          partial[rows * (dim + 1) + what.row]);
  if (what.last) finish(row, dim, call.out + (call.kv_head * rows + what.row) * dim);
}
}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(attention);
HWY_EXPORT(attention_partial);
HWY_EXPORT(attention_merge);

size_t attention_scratch_bytes(const AttentionShape& shape) {
  const size_t rows = shape.group() * shape.tokens_max();
  const size_t floats = rows * (2 * shape.layout.head_dim + 2) +
                        kAttentionTile * (kAttentionPassRows + shape.layout.scales());
  return (floats * sizeof(float) + 63) / 64 * 64;
}

void attention_cpu(const AttentionShape& shape, const AttentionCall& call, std::byte* scratch) {
  ALTLAS_DCHECK(call.tokens >= 1 && call.tokens <= shape.tokens_max(), "tokens: 1 to tokens_max()");
  ALTLAS_DCHECK(shape.group() <= 4 * kAttentionRowsMax && shape.layout.head_dim % 16 == 0,
                "a shape that was checked");
  HWY_DYNAMIC_DISPATCH(attention)(shape, call, scratch);
}

AttentionTiles attention_tiles(const AttentionShape& shape, size_t position) {
  const size_t first =
      shape.window == 0 || position + 1 <= shape.window ? 0 : position + 1 - shape.window;
  return {first / kAttentionTile, position / kAttentionTile + 1};
}

size_t attention_partial_floats(const AttentionShape& shape) {
  return (shape.group() * (shape.layout.head_dim + 2) + 15) / 16 * 16;
}

void attention_partial_cpu(const AttentionShape& shape, const AttentionCall& call,
                           AttentionTiles tiles, float* partials, std::byte* scratch) {
  ALTLAS_DCHECK(call.tokens == 1, "one token");
  HWY_DYNAMIC_DISPATCH(attention_partial)(shape, call, tiles, partials, scratch);
}

void attention_merge_cpu(const AttentionShape& shape, const AttentionCall& call,
                         const AttentionMerge& merge, float* state) {
  HWY_DYNAMIC_DISPATCH(attention_merge)(shape, call, merge, state);
}

}  // namespace altlas::ops
#endif
