#include "collective/pattern.h"

#include <algorithm>
#include <cstring>

#include "tensor/half.h"

namespace altlas::collective {
namespace {

int64_t value_of(ReduceOp op, int rank, uint64_t i) {
  const auto mixed =
      static_cast<int64_t>((i * 2 + static_cast<uint64_t>(rank) * 3) % kPatternPeriod);
  if (op != ReduceOp::kProd) return mixed;
  // 2^7 is exact in every type, or wraps as it should.
  return rank < 7 ? 1 + mixed % 2 : 1;
}

int64_t reduce_values(ReduceOp op, int ranks, uint64_t i) {
  int64_t out = value_of(op, 0, i);
  for (int rank = 1; rank < ranks; ++rank) {
    const int64_t next = value_of(op, rank, i);
    switch (op) {
      case ReduceOp::kProd:
        out *= next;
        break;
      case ReduceOp::kMin:
        out = std::min(out, next);
        break;
      case ReduceOp::kMax:
        out = std::max(out, next);
        break;
      case ReduceOp::kSum:
      case ReduceOp::kAvg:
        out += next;
        break;
    }
  }
  return out;
}

// value / divisor as an element of the type.
template <class T>
void put(std::vector<std::byte>& out, uint64_t i, T element) {
  std::memcpy(out.data() + i * sizeof(T), &element, sizeof(T));
}
template <class T>
void put_integer(std::vector<std::byte>& out, uint64_t i, int64_t value, int divisor) {
  put(out, i, static_cast<T>(static_cast<T>(value) / static_cast<T>(divisor)));
}
void put_value(std::vector<std::byte>& out, uint64_t i, ElementType type, int64_t value,
               int divisor) {
  const float quotient = static_cast<float>(value) / static_cast<float>(divisor);
  switch (type) {
    case ElementType::kI8:
      return put_integer<int8_t>(out, i, value, divisor);
    case ElementType::kU8:
      return put_integer<uint8_t>(out, i, value, divisor);
    case ElementType::kI32:
      return put_integer<int32_t>(out, i, value, divisor);
    case ElementType::kU32:
      return put_integer<uint32_t>(out, i, value, divisor);
    case ElementType::kI64:
      return put_integer<int64_t>(out, i, value, divisor);
    case ElementType::kU64:
      return put_integer<uint64_t>(out, i, value, divisor);
    case ElementType::kF16:
      return put(out, i, f16_from_float(quotient));
    case ElementType::kBF16:
      return put(out, i, bf16_from_float(quotient));
    case ElementType::kF32:
      return put(out, i, quotient);
    case ElementType::kF64:
      return put(out, i, static_cast<double>(value) / divisor);
  }
}

// Calls `use(at, from, bytes)` for each piece of the endless vector, in order.
template <class Use>
void each_piece(std::span<const std::byte> period, uint64_t first, uint64_t bytes, const Use& use) {
  const uint64_t unit = period.size() / kPatternPeriod;
  uint64_t from = first % kPatternPeriod * unit;
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t size = std::min(period.size() - from, bytes - at);
    use(at, from, size);
    at += size;
    from = 0;
  }
}

}  // namespace

std::vector<std::byte> rank_pattern(ElementType type, ReduceOp op, int rank) {
  std::vector<std::byte> out(kPatternPeriod * element_bytes(type));
  for (uint64_t i = 0; i < kPatternPeriod; ++i) put_value(out, i, type, value_of(op, rank, i), 1);
  return out;
}

std::vector<std::byte> reduced_pattern(ElementType type, ReduceOp op, int ranks) {
  std::vector<std::byte> out(kPatternPeriod * element_bytes(type));
  for (uint64_t i = 0; i < kPatternPeriod; ++i)
    put_value(out, i, type, reduce_values(op, ranks, i), op == ReduceOp::kAvg ? ranks : 1);
  return out;
}

void fill_pattern(std::span<const std::byte> period, uint64_t first, std::span<std::byte> to) {
  each_piece(period, first, to.size(), [&](uint64_t at, uint64_t from, uint64_t size) {
    std::memcpy(to.data() + at, period.data() + from, size);
  });
}

uint64_t count_wrong(std::span<const std::byte> period, uint64_t first,
                     std::span<const std::byte> got) {
  const uint64_t unit = period.size() / kPatternPeriod;
  uint64_t wrong = 0;
  each_piece(period, first, got.size(), [&](uint64_t at, uint64_t from, uint64_t size) {
    if (std::memcmp(got.data() + at, period.data() + from, size) == 0) return;
    for (uint64_t i = 0; i < size; i += unit)
      wrong += std::memcmp(got.data() + at + i, period.data() + from + i, unit) != 0 ? 1 : 0;
  });
  return wrong;
}

}  // namespace altlas::collective
