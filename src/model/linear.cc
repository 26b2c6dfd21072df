#include "model/linear.h"

#include <algorithm>

#include "base/integers.h"

namespace altlas::model {
namespace {

// Products of more tokens than this are limited by arithmetic, not by memory.
constexpr size_t kReadingTokens = 40;

}  // namespace

uint64_t Linear::scratch_bytes() const {
  uint64_t bytes = 0;
  for (const Part& part : parts)
    bytes = std::max<uint64_t>(bytes, ops::matmul_scratch_bytes(part.matrix.type));
  return bytes;
}

void Linear::multiply(const ops::Activations& x, Rows<float> y, uint32_t index, uint32_t threads,
                      std::byte* scratch) const {
  const bool reading = x.tokens <= kReadingTokens;
  const auto panel_cost = [&](const Part& part) -> uint64_t {
    return reading ? ops::packed_panel_bytes(part.matrix.type, part.matrix.cols) : 1;
  };
  uint64_t total = 0, offset = 0;
  for (const Part& part : parts) total += ops::panel_count(part.matrix.rows) * panel_cost(part);
  const auto share = [&](uint64_t of) {
    const uint64_t cost = total * of / threads;
    return reading || of == threads ? cost : cost / 2 * 2;
  };
  const uint64_t first = share(index), last = share(index + 1);
  for (const Part& part : parts) {
    const uint64_t panels = ops::panel_count(part.matrix.rows), cost = panel_cost(part);
    const auto panel_at = [&](uint64_t position) {
      return position <= offset ? 0 : std::min(panels, ceil_div(position - offset, cost));
    };
    const uint64_t begin = panel_at(first), end = panel_at(last);
    if (begin < end)
      ops::matmul(part.matrix, x, {begin, end}, y.from_column(part.first_column), scratch);
    offset += panels * cost;
  }
}

}  // namespace altlas::model
