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

// Turns the first 2 * half values of each of `heads` heads of one token, in place; heads lie
// `head_dim` apart. cos_sin: that token's row [2, half].
void rope_cpu(float* x, size_t heads, size_t head_dim, size_t half, const float* cos_sin,
              RopeStyle style);
void rope_ref(float* x, size_t heads, size_t head_dim, size_t half, const float* cos_sin,
              RopeStyle style);

}  // namespace altlas::ops
