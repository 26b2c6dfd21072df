#include "collective/reduce.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "tensor/half.h"

namespace altlas::collective {
namespace {

// An element type as it lies in memory and as it is computed with. Integers are added and
// multiplied as unsigned words, which wrap; bytes as 32 bits, as C++ would promote them.
template <class Stored_, class Work_>
struct Plain {
  using Stored = Stored_;
  using Work = Work_;
  static Work load(Stored value) { return value; }
  static Stored store(Work value) { return value; }
};
struct Half {
  using Stored = uint16_t;
  using Work = float;
  static float load(uint16_t value) { return float_from_f16(value); }
  static uint16_t store(float value) { return f16_from_float(value); }
};
struct BFloat {
  using Stored = uint16_t;
  using Work = float;
  static float load(uint16_t value) { return float_from_bf16(value); }
  static uint16_t store(float value) { return bf16_from_float(value); }
};

template <ReduceOp Op, class T>
T combine(T a, T b) {
  if constexpr (Op == ReduceOp::kMin) {
    if constexpr (std::is_floating_point_v<T>) return b < a || b != b ? b : a;
    return std::min(a, b);
  } else if constexpr (Op == ReduceOp::kMax) {
    if constexpr (std::is_floating_point_v<T>) return b > a || b != b ? b : a;
    return std::max(a, b);
  } else if constexpr (std::is_floating_point_v<T>) {
    return Op == ReduceOp::kProd ? a * b : a + b;
  } else {
    const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    return static_cast<T>(Op == ReduceOp::kProd ? x * y : x + y);
  }
}

constexpr uint64_t kTile = 1024;  // Elements that are computed before the next ones are loaded.

// The buffers may lie at any address, hence memcpy; compilers turn it into vector loads and stores.
template <class Kind>
typename Kind::Work load_at(const std::byte* from, uint64_t i) {
  typename Kind::Stored raw;
  std::memcpy(&raw, from + i * sizeof(raw), sizeof(raw));
  return Kind::load(raw);
}
template <class Kind>
void store_tile(const typename Kind::Work* from, std::byte* to, uint64_t count) {
  using Stored = typename Kind::Stored;
  if constexpr (std::is_same_v<Stored, typename Kind::Work>) {
    std::memcpy(to, from, count * sizeof(Stored));
  } else {
    Stored raw[kTile];
    for (uint64_t i = 0; i < count; ++i) raw[i] = Kind::store(from[i]);
    std::memcpy(to, raw, count * sizeof(Stored));
  }
}

template <class Kind>
void divide_tile(typename Kind::Work* values, uint64_t count, int by) {
  const auto divisor = static_cast<typename Kind::Work>(by);
  for (uint64_t i = 0; i < count; ++i) values[i] = static_cast<Kind::Work>(values[i] / divisor);
}

// The buffers may overlap, so the sum is kept apart from them: the loops then become vector code.
template <class Kind, ReduceOp Op>
void reduce_tiles(std::span<const std::byte* const> parts, std::byte* out, uint64_t count,
                  bool average) {
  using Work = typename Kind::Work;
  Work sum[kTile];
  constexpr size_t bytes = sizeof(typename Kind::Stored);
  for (uint64_t at = 0; at < count; at += kTile) {
    const uint64_t size = std::min(kTile, count - at), from = at * bytes;
    const std::byte* const first = parts[0] + from;
    if (parts.size() == 1)
      for (uint64_t i = 0; i < size; ++i) sum[i] = load_at<Kind>(first, i);
    for (size_t p = 1; p < parts.size(); ++p) {
      const std::byte* const next = parts[p] + from;
      if (p == 1)
        for (uint64_t i = 0; i < size; ++i)
          sum[i] = combine<Op, Work>(load_at<Kind>(first, i), load_at<Kind>(next, i));
      else
        for (uint64_t i = 0; i < size; ++i)
          sum[i] = combine<Op, Work>(sum[i], load_at<Kind>(next, i));
    }
    if (average) divide_tile<Kind>(sum, size, static_cast<int>(parts.size()));
    store_tile<Kind>(sum, out + from, size);
  }
}

template <class Kind>
void reduce_kind(ReduceOp op, std::span<const std::byte* const> parts, std::byte* out,
                 uint64_t count, bool average) {
  switch (op) {
    case ReduceOp::kProd:
      return reduce_tiles<Kind, ReduceOp::kProd>(parts, out, count, false);
    case ReduceOp::kMin:
      return reduce_tiles<Kind, ReduceOp::kMin>(parts, out, count, false);
    case ReduceOp::kMax:
      return reduce_tiles<Kind, ReduceOp::kMax>(parts, out, count, false);
    case ReduceOp::kSum:
      return reduce_tiles<Kind, ReduceOp::kSum>(parts, out, count, false);
    case ReduceOp::kAvg:
      return reduce_tiles<Kind, ReduceOp::kSum>(parts, out, count, average);
  }
}

// Calls `use` with the Kind of `type`.
template <class Use>
void with_kind(ElementType type, const Use& use) {
  switch (type) {
    case ElementType::kI8:
      return use(Plain<int8_t, int8_t>{});
    case ElementType::kU8:
      return use(Plain<uint8_t, uint8_t>{});
    case ElementType::kI32:
      return use(Plain<int32_t, int32_t>{});
    case ElementType::kU32:
      return use(Plain<uint32_t, uint32_t>{});
    case ElementType::kI64:
      return use(Plain<int64_t, int64_t>{});
    case ElementType::kU64:
      return use(Plain<uint64_t, uint64_t>{});
    case ElementType::kF16:
      return use(Half{});
    case ElementType::kF32:
      return use(Plain<float, float>{});
    case ElementType::kF64:
      return use(Plain<double, double>{});
    case ElementType::kBF16:
      return use(BFloat{});
  }
}

}  // namespace

void reduce_in_order(ElementType type, ReduceOp op, std::span<const std::byte* const> parts,
                     std::byte* out, uint64_t count) {
  ALTLAS_CHECK(!parts.empty(), "a reduction has parts");
  with_kind(type, [&](auto kind) {
    reduce_kind<decltype(kind)>(op, parts, out, count, /*average=*/true);
  });
}

void reduce_pair(ElementType type, ReduceOp op, std::byte* into, const std::byte* from,
                 uint64_t count) {
  const std::byte* const parts[] = {into, from};
  with_kind(type, [&](auto kind) {
    reduce_kind<decltype(kind)>(op, parts, into, count, /*average=*/false);
  });
}

void divide(ElementType type, std::byte* values, uint64_t count, int by) {
  with_kind(type, [&](auto kind) {
    using Kind = decltype(kind);
    typename Kind::Work work[kTile];
    constexpr size_t bytes = sizeof(typename Kind::Stored);
    for (uint64_t at = 0; at < count; at += kTile) {
      const uint64_t size = std::min(kTile, count - at);
      for (uint64_t i = 0; i < size; ++i) work[i] = load_at<Kind>(values + at * bytes, i);
      divide_tile<Kind>(work, size, by);
      store_tile<Kind>(work, values + at * bytes, size);
    }
  });
}

}  // namespace altlas::collective
