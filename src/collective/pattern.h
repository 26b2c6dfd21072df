// Vectors whose reduction is known beforehand, so that a bench can count wrong elements of any
// size.
#pragma once

#include <span>
#include <vector>

#include "collective/types.h"

namespace altlas::collective {

// Values repeat after this many elements.
inline constexpr uint64_t kPatternPeriod = 5;
// One period, as bytes of `type`: of a rank's own vector, and of the reduction over `ranks`. Whole
// numbers, exact in every type and order.
std::vector<std::byte> rank_pattern(ElementType type, ReduceOp op, int rank);
std::vector<std::byte> reduced_pattern(ElementType type, ReduceOp op, int ranks);

// Fills `to` with the period, element `first` of the endless vector first. Whole elements.
void fill_pattern(std::span<const std::byte> period, uint64_t first, std::span<std::byte> to);
// Elements of `got` that differ from it.
uint64_t count_wrong(std::span<const std::byte> period, uint64_t first,
                     std::span<const std::byte> got);

}  // namespace altlas::collective
