// Reductions over raw bytes: of many ranks' vectors in the order of ranks, and of two.
#pragma once

#include <span>

#include "collective/types.h"

namespace altlas::collective {

// out[i] = parts[0][i] op parts[1][i] op ..., from the left; 16-bit floats in float32, rounded
// once; kAvg divides by parts.size(). All of `count` elements, of any alignment; `out` may be any
// of the parts, and must not overlap one otherwise. At least one part.
void reduce_in_order(ElementType type, ReduceOp op, std::span<const std::byte* const> parts,
                     std::byte* out, uint64_t count);

// into[i] = into[i] op from[i], rounded; kAvg only adds: divide() follows at the end.
void reduce_pair(ElementType type, ReduceOp op, std::byte* into, const std::byte* from,
                 uint64_t count);
// values[i] /= by: the second half of kAvg.
void divide(ElementType type, std::byte* values, uint64_t count, int by);

}  // namespace altlas::collective
