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

// Stored values as floats: `kLanes` of them at once.
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

// Where 16 tokens of a KV head lie.
template <class T>
struct Group {
  const T* keys;                           // [head_dim][16]
  const T* values;                         // Of the first token; [tokens][head_dim]
  const uint16_t* key_scales = nullptr;    // [scales][16]
  const uint16_t* value_scales = nullptr;  // [tokens][scales]
};

// Key groups that one pass scores, and query rows of one pass: as many sums as the registers hold.
constexpr size_t kPassGroups = kLanes == 16 ? 2 : 1;
constexpr size_t kPassVectors = kPassGroups * kParts;
constexpr size_t kPassRows = kLanes == 16 ? 8 : 4;

// score[r][j] = q[r] . key j for 16 * kPassGroups keys; q: [R, dim], score: row stride
// kAttentionTile.
template <class Load, size_t R>
HWY_INLINE void score_rows(const float* HWY_RESTRICT q, size_t dim,
                           const Group<typename Load::T>* groups, float* HWY_RESTRICT score) {
  const F32x16 d;
  Vec16 sum[R][kPassVectors];
  Vec16 scale[kPassVectors];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < kPassVectors; ++v) sum[r][v] = hn::Zero(d);
  for (size_t c = 0; c < dim; ++c) {
    Vec16 k[kPassVectors];
    for (size_t v = 0; v < kPassVectors; ++v) {
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
      for (size_t v = 0; v < kPassVectors; ++v) sum[r][v] = fma(x, k[v], sum[r][v]);
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < kPassVectors; ++v)
      hn::StoreU(sum[r][v], d, score + r * kAttentionTile + v * kLanes);
}

template <class Load>
void score_pass(const float* q, size_t rows, size_t dim, const Group<typename Load::T>* keys,
                float* score) {
  for (size_t r = 0; r < rows;) {
    const size_t left = rows - r;
    const float* at = q + r * dim;
    float* to = score + r * kAttentionTile;
    if constexpr (kPassRows >= 8) {
      if (left >= 8) {
        score_rows<Load, 8>(at, dim, keys, to);
        r += 8;
        continue;
      }
      if (left == 7) return score_rows<Load, 7>(at, dim, keys, to);
      if (left >= 5) {
        score_rows<Load, 5>(at, dim, keys, to);
        r += 5;
        continue;
      }
    }
    if (left >= 4) {
      score_rows<Load, 4>(at, dim, keys, to);
      r += 4;
    } else if (left == 3) {
      return score_rows<Load, 3>(at, dim, keys, to);
    } else if (left == 2) {
      return score_rows<Load, 2>(at, dim, keys, to);
    } else {
      return score_rows<Load, 1>(at, dim, keys, to);
    }
  }
}

// sum[r][0 … V * kLanes) = sum over keys [first, last) of weight[r][j] * value[j]; keys in
// ascending order.
template <class Load, size_t R, size_t V>
HWY_INLINE void weigh(const float* HWY_RESTRICT weight, const Group<typename Load::T>* groups,
                      size_t dim, size_t column, size_t first, size_t last,
                      float* HWY_RESTRICT out) {
  const F32x16 d;
  const size_t scales = (dim + kKvScaleValues - 1) / kKvScaleValues;
  Vec16 sum[R][V];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) sum[r][v] = hn::Zero(d);
  for (size_t j = first; j < last;) {
    const size_t end = std::min(last, (j / kKvGroup + 1) * kKvGroup);
    const Group<typename Load::T>& group = groups[j / kKvGroup];
    const typename Load::T* value = group.values + j % kKvGroup * dim + column;
    for (; j < end; ++j, value += dim) {
      Vec16 x[V];
      for (size_t v = 0; v < V; ++v) {
        x[v] = Load::load(value + v * kLanes);
        if constexpr (Load::kScaled)
          x[v] = hn::Mul(
              x[v], hn::Set(d, float_from_f16(
                                   group.value_scales[j % kKvGroup * scales +
                                                      (column + v * kLanes) / kKvScaleValues])));
      }
      for (size_t r = 0; r < R; ++r) {
        const Vec16 w = hn::Set(d, weight[r * kAttentionTile + j]);
        for (size_t v = 0; v < V; ++v) sum[r][v] = fma(w, x[v], sum[r][v]);
      }
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, out + r * dim + column + v * kLanes);
}

template <class Load, size_t R>
void weigh_rows(const float* weight, const Group<typename Load::T>* values, size_t dim,
                size_t first, size_t last, float* out) {
  constexpr size_t kWide = kLanes == 16 ? 4 : 2;  // Vectors of columns at once.
  size_t c = 0;
  for (; c + kWide * kLanes <= dim; c += kWide * kLanes)
    weigh<Load, R, kWide>(weight, values, dim, c, first, last, out);
  for (; c < dim; c += kLanes) weigh<Load, R, 1>(weight, values, dim, c, first, last, out);
}

// Scratch of a call. rows = heads of the group x tokens.
struct Scratch {
  float* q;        // [rows, dim], scaled.
  float* score;    // [rows, kAttentionTile]; weights after softening.
  float* tile;     // [rows, dim]: the tile's weighted sum.
  float* sum;      // [rows, dim]: of the tiles so far.
  float* largest;  // [rows]
  float* total;    // [rows]
};

// Keys [first, last) of a tile, relative to its edge.
struct Seen {
  size_t first;
  size_t last;
};

// Turns one row of scores into weights e^(score - largest); those of keys not in `seen` become 0
// over [begin, end). Returns the largest; `total` is the weights' sum over 16 virtual lanes.
HWY_INLINE float soften(float* HWY_RESTRICT score, Seen seen, size_t begin, size_t end,
                        float softcap, float& total) {
  const F32x16 d;
  HWY_ALIGN float lane[16];
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::fill(score + begin, score + seen.first, kNone);
  std::fill(score + seen.last, score + end, kNone);
  const size_t low = seen.first / 16 * 16, high = (seen.last + 15) / 16 * 16;
  if (softcap > 0) {
    for (size_t j = low; j < high; j += kLanes)
      hn::Store(capped(hn::Load(d, score + j), softcap), d, score + j);
    std::fill(score + low, score + seen.first, kNone);
    std::fill(score + seen.last, score + high, kNone);
  }
  Vec16 most = hn::Set(d, kNone);
  for (size_t j = low; j < high; j += kLanes) most = hn::Max(most, hn::Load(d, score + j));
  const float largest = largest_lane(most);
  const Vec16 top = hn::Set(d, largest);
  Vec16 sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Zero(d);
  for (size_t j = begin; j < end; j += 16)
    for (size_t p = 0; p < kParts; ++p) {
      const Vec16 w = exp(hn::Sub(hn::Load(d, score + j + p * kLanes), top));
      hn::Store(w, d, score + j + p * kLanes);
      sums[p] = hn::Add(sums[p], w);
    }
  for (size_t p = 0; p < kParts; ++p) hn::Store(sums[p], d, lane + p * kLanes);
  total = sum_lanes(lane);
  return largest;
}

// What the tiles so far come to for one row.
struct RowState {
  float* sum;  // [dim]
  float* largest;
  float* total;
};

// Merges a tile into the tiles before it.
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

// The output of a row whose tiles are all merged.
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

// The 16 tokens from `token` of a block on.
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

// One tile of all rows: s.tile, and for rows that see some of it largest and total.
template <class Load>
void attend_tile(const AttentionShape& shape, const AttentionCall& call, size_t edge,
                 const Scratch& s, float* largest, float* total) {
  using T = typename Load::T;
  const KvLayout& kv = shape.layout;
  const size_t dim = kv.head_dim, group = shape.group(), rows = group * call.tokens;
  // Keys that some row sees: from the first query's window to the last query, its own window aside.
  const size_t all_last = std::min(call.position + call.tokens, edge + kAttentionTile) - edge;
  const size_t all_first =
      seen_in_tile(call.position, shape.window, edge).first;  // 0 where it ends before this tile.
  const size_t begin = all_first / 32 * 32, end = (all_last + 31) / 32 * 32;
  Group<T> groups[kTileGroups + 1];
  for (size_t g = begin / 16; g < (all_last + 15) / 16; ++g) {
    const size_t at =
        edge + std::max(g * 16, all_first / 16 * 16);  // Blocks before the window may be gone.
    const std::byte* head = call.blocks + call.table[at / kv.block_tokens] * call.block_stride +
                            call.kv_head * kv.head_bytes();
    groups[g] = group_at<Load>(kv, head, at % kv.block_tokens);
  }
  if ((all_last + 15) / 16 % 2 == 1)
    groups[(all_last + 15) / 16] = groups[(all_last + 15) / 16 - 1];  // Scored, never used.
  for (size_t g = begin / 16; g < (all_last + 15) / 16; g += kPassGroups)
    score_pass<Load>(s.q, rows, dim, groups + g, s.score + g * 16);
  for (size_t r = 0; r < rows; ++r) {
    const Seen seen = seen_in_tile(call.position + r / group, shape.window, edge);
    if (seen.last != 0)
      largest[r] = soften(s.score + r * kAttentionTile, seen, begin, end, shape.softcap, total[r]);
    else
      std::fill(s.score + r * kAttentionTile + begin, s.score + r * kAttentionTile + end, 0.0f);
  }
  for (size_t r = 0; r < rows; r += 4) {
    const float* weight = s.score + r * kAttentionTile;
    float* out = s.tile + r * dim;
    switch (std::min<size_t>(4, rows - r)) {
      case 4:
        weigh_rows<Load, 4>(weight, groups, dim, all_first, all_last, out);
        break;
      case 3:
        weigh_rows<Load, 3>(weight, groups, dim, all_first, all_last, out);
        break;
      case 2:
        weigh_rows<Load, 2>(weight, groups, dim, all_first, all_last, out);
        break;
      default:
        weigh_rows<Load, 1>(weight, groups, dim, all_first, all_last, out);
    }
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

template <class Load>
void attend(const AttentionShape& shape, const AttentionCall& call, const Scratch& s) {
  const size_t dim = shape.layout.head_dim, group = shape.group(), rows = group * call.tokens;
  const auto row = [&](size_t r) { return RowState{s.sum + r * dim, s.largest + r, s.total + r}; };
  scale_queries(shape, call, s.q);
  for (size_t r = 0; r < rows; ++r) begin_row(row(r), dim);
  const size_t last = call.position + call.tokens - 1;
  const size_t first =
      shape.window == 0 || call.position + 1 <= shape.window ? 0 : call.position + 1 - shape.window;
  for (size_t edge = first / kAttentionTile * kAttentionTile; edge <= last;
       edge += kAttentionTile) {
    float largest[kAttentionRowsMax * 4], total[kAttentionRowsMax * 4];
    attend_tile<Load>(shape, call, edge, s, largest, total);
    for (size_t r = 0; r < rows; ++r)
      if (seen_in_tile(call.position + r / group, shape.window, edge).last != 0)
        merge(row(r), dim, s.tile + r * dim, largest[r], total[r]);
  }
  for (size_t r = 0; r < rows; ++r)
    finish(row(r), dim,
           call.out + r / group * call.out_stride + (call.kv_head * group + r % group) * dim);
}

Scratch lay_out(const AttentionShape& shape, const AttentionCall& call, std::byte* scratch) {
  const size_t rows = shape.group() * call.tokens, dim = shape.layout.head_dim;
  float* at = reinterpret_cast<float*>(scratch);
  Scratch s{.q = at};
  s.score = at += rows * dim;
  s.tile = at += rows * kAttentionTile;
  s.sum = at += rows * dim;
  s.largest = at += rows * dim;
  s.total = at + rows;
  return s;
}

template <class Load>
void attend_part(const AttentionShape& shape, const AttentionCall& call, size_t begin, size_t end,
                 float* partials, Scratch s) {
  const size_t rows = shape.group(), dim = shape.layout.head_dim,
               stride = attention_partial_floats(shape);
  scale_queries(shape, call, s.q);
  for (size_t tile = begin; tile < end; ++tile, partials += stride) {
    s.tile = partials;
    attend_tile<Load>(shape, call, tile * kAttentionTile, s, partials + rows * dim,
                      partials + rows * (dim + 1));
  }
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

void attention_partial(const AttentionShape& shape, const AttentionCall& call, size_t begin,
                       size_t end, float* partials, std::byte* scratch) {
  const Scratch s = lay_out(shape, call, scratch);
  if (shape.layout.type == DType::kF16)
    attend_part<LoadF16>(shape, call, begin, end, partials, s);
  else if (shape.layout.type == DType::kBF16)
    attend_part<LoadBf16>(shape, call, begin, end, partials, s);
  else if (shape.layout.type == DType::kQ8_0)
    attend_part<LoadQ8>(shape, call, begin, end, partials, s);
  else
    attend_part<LoadF32>(shape, call, begin, end, partials, s);
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
  return (rows * (3 * shape.layout.head_dim + kAttentionTile + 2) * sizeof(float) + 63) / 64 * 64;
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

void attention_partial_cpu(const AttentionShape& shape, const AttentionCall& call, size_t begin,
                           size_t end, float* partials, std::byte* scratch) {
  ALTLAS_DCHECK(call.tokens == 1, "one token");
  HWY_DYNAMIC_DISPATCH(attention_partial)(shape, call, begin, end, partials, scratch);
}

void attention_merge_cpu(const AttentionShape& shape, const AttentionCall& call,
                         const AttentionMerge& merge, float* state) {
  HWY_DYNAMIC_DISPATCH(attention_merge)(shape, call, merge, state);
}

namespace {

// One token's values of one head as int8 and scales: element c goes to quants[c * quant_step].
void store_q8(const float* x, size_t dim, int8_t* quants, size_t quant_step, uint16_t* scales,
              size_t scale_step) {
  for (size_t begin = 0; begin < dim; begin += kKvScaleValues, scales += scale_step) {
    const size_t end = std::min<size_t>(dim, begin + kKvScaleValues);
    float largest = 0;
    bool finite = true;
    for (size_t c = begin; c < end; ++c) {
      largest = std::max(largest, std::fabs(x[c]));
      finite = finite && std::isfinite(x[c]);
    }
    *scales = f16_from_f32(finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN());
    const float scale = float_from_f16(*scales);
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t c = begin; c < end; ++c)
      quants[c * quant_step] =
          finite ? static_cast<int8_t>(std::clamp(std::nearbyint(x[c] * inverse), -127.0f, 127.0f))
                 : int8_t{0};
  }
}

}  // namespace

void kv_write_cpu(const KvLayout& layout, std::byte* blocks, size_t block_stride,
                  const uint32_t* table, size_t position, const float* k, const float* v) {
  const size_t dim = layout.head_dim, token = position % layout.block_tokens;
  std::byte* block = blocks + table[position / layout.block_tokens] * block_stride;
  for (size_t h = 0; h < layout.kv_heads; ++h, k += dim, v += dim) {
    const size_t key = token / kKvGroup * dim * kKvGroup + token % kKvGroup;
    const size_t value = (layout.block_tokens + token) * dim;
    if (layout.type == DType::kQ8_0) {
      std::byte* head = block + h * layout.head_bytes();
      const size_t quants = layout.block_tokens * dim, scales = layout.scales();
      auto* key_scales = reinterpret_cast<uint16_t*>(head + quants);
      auto* value_scales = reinterpret_cast<uint16_t*>(head + layout.half_bytes() + quants);
      store_q8(k, dim, reinterpret_cast<int8_t*>(head) + key, kKvGroup,
               key_scales + token / kKvGroup * kKvGroup * scales + token % kKvGroup, kKvGroup);
      store_q8(v, dim, reinterpret_cast<int8_t*>(head + layout.half_bytes()) + token * dim, 1,
               value_scales + token * scales, 1);
      continue;
    }
    if (layout.type == DType::kF32) {
      float* head = reinterpret_cast<float*>(block + h * layout.head_bytes());
      for (size_t c = 0; c < dim; ++c) head[key + c * kKvGroup] = k[c];
      for (size_t c = 0; c < dim; ++c) head[value + c] = v[c];
      continue;
    }
    uint16_t* head = reinterpret_cast<uint16_t*>(block + h * layout.head_bytes());
    const bool half = layout.type == DType::kF16;
    for (size_t c = 0; c < dim; ++c)
      head[key + c * kKvGroup] = half ? f16_from_f32(k[c]) : bf16_from_f32(k[c]);
    for (size_t c = 0; c < dim; ++c)
      head[value + c] = half ? f16_from_f32(v[c]) : bf16_from_f32(v[c]);
  }
}
}  // namespace altlas::ops
#endif
