// 16-bit floats as they lie in files: IEEE binary16 and bfloat16, converted in plain integer code.
#pragma once

#include <bit>
#include <cstdint>

namespace altlas {

// Exact; a signalling NaN becomes quiet, as VCVTPH2PS makes it. Without branches: loops of it
// become vector code.
constexpr float float_from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, magnitude = half & 0x7fff;
  const auto subnormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  const uint32_t finite = magnitude < 0x400 ? subnormal : (magnitude << 13) + (112u << 23);
  const uint32_t special =
      (magnitude >= 0x7c00 ? 0x7f800000u : 0u) | (magnitude > 0x7c00 ? 0x00400000u : 0u);
  return std::bit_cast<float>(sign | finite | special);
}

// Round to nearest even; too large becomes infinity; NaN stays a quiet NaN.
constexpr uint16_t f16_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000)
    return static_cast<uint16_t>(sign | 0x7c00);  // Rounds to 65536 or more.
  if (magnitude <
      0x38800000) {  // Subnormal: the sum's last fraction bit weighs 2^-24, the addition rounds.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(rounded) - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t rebased = magnitude - (112u << 23);
  return static_cast<uint16_t>(sign | (rebased + 0xfff + (rebased >> 13 & 1)) >> 13);
}

constexpr float float_from_bf16(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Round to nearest even; NaN stays a quiet NaN.
constexpr uint16_t bf16_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace altlas
