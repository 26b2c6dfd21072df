// Tokens that may be drawn, each with a weight: what top_p leaves of them, and the draw.
#pragma once

#include <cstddef>
#include <cstdint>

namespace altlas::ops {

// In order of ids. Answers depend on the weights and ids alone, on every SIMD target.
struct WeightedTokens {
  float* weights;  // [count], each from 0 to 1.
  int32_t* ids;    // [count]
  size_t count;
  // More there never are: from a thread's first call on it allocates for no more.
  size_t most = 0;

  double total() const;
  // Leaves those with at least `least`.
  void keep_from(float least);
  // Leaves the shortest run of heaviest tokens, of equal ones those with the lowest ids, whose
  // weight reaches `wanted`; all where rounding keeps them below.
  void keep_heaviest(double wanted);
  // The token at this share, 0 to 1, of the total in order of ids; `otherwise` where there is none.
  int32_t draw(float uniform, int32_t otherwise) const;
};

}  // namespace altlas::ops
