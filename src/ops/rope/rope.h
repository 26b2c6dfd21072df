// Rotary position embedding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace altlas::ops {

// Which two values of a head turn together: kNeox (i, i + half), kAdjacent (2i, 2i + 1).
enum class RopeStyle : uint8_t { kNeox, kAdjacent };

// cos_sin [tokens, 2, half]: cosines, then sines, of position * frequency[i]; frequency: [half],
// half = frequency.size(). Computed in double by own code. Source: arXiv:2104.09864, eq. 34.
void rope_angles(std::span<const uint32_t> positions, std::span<const double> frequency,
                 float* cos_sin);
void rope_angles_ref(std::span<const uint32_t> positions, std::span<const double> frequency,
                     float* cos_sin);

// Heads of one token, which lie head_dim apart.
struct RopeHeads {
  size_t count = 1;
  size_t head_dim = 0;
  size_t half = 0;  // The first 2 * half values of each turn.
  RopeStyle style = RopeStyle::kNeox;
};
// Turns x [count, head_dim] in place. cos_sin: that token's row [2, half].
void rope_cpu(float* x, const RopeHeads& heads, const float* cos_sin);
void rope_ref(float* x, const RopeHeads& heads, const float* cos_sin);

}  // namespace altlas::ops
