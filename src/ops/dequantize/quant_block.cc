#include "ops/dequantize/quant_block.h"

#include <cstring>

#include "base/check.h"
#include "tensor/half.h"

namespace altlas::ops {
namespace {

uint16_t u16_at(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Reads 16 bytes: low nibbles are values 0-15, high nibbles 16-31. Bit k of `high` belongs to value
// k.
void read_nibbles(const uint8_t* nibbles, uint32_t high, QuantBlock& block) {
  for (size_t k = 0; k < 16; ++k) {
    block.code[k] = nibbles[k] & 15;
    block.code[k + 16] = nibbles[k] >> 4;
  }
  if (high == 0) return;
  for (size_t k = 0; k < kBlockValues; k += 4) {
    // The product copies the 4 bits 7 apart, so that bit i comes to bit 0 of byte i.
    const uint32_t bits = ((high >> k & 15) * 0x00204081u & 0x01010101u) << 4;
    uint32_t codes;
    std::memcpy(&codes, block.code + k, sizeof codes);
    codes |= bits;
    std::memcpy(block.code + k, &codes, sizeof codes);
  }
}

uint32_t u32_at(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// The layout of legacy types: d, [m], [32 high bits], 16 bytes of nibbles.
QuantBlock read_legacy(DType type, const uint8_t* at) {
  QuantBlock block{};
  block.d = u16_at(at);
  at += 2;
  if (type == DType::kQ8_0) {
    for (size_t k = 0; k < kBlockValues; ++k) block.code[k] = at[k] ^ 0x80;
    return block;
  }
  if (type == DType::kQ4_1 || type == DType::kQ5_1) {
    block.m = u16_at(at);
    at += 2;
  }
  uint32_t high = 0;
  if (type == DType::kQ5_0 || type == DType::kQ5_1) {
    high = u32_at(at);
    at += 4;
  }
  read_nibbles(at, high, block);
  return block;
}

// Reads the 6-bit scale and min of sub-block s out of 12 bytes.
void read_scale_min(const uint8_t* packed, size_t s, QuantBlock& block) {
  if (s < 4) {
    block.scale[0] = packed[s] & 63;
    block.min[0] = packed[s + 4] & 63;
  } else {
    block.scale[0] = static_cast<int16_t>((packed[s + 4] & 15) | packed[s - 4] >> 6 << 4);
    block.min[0] = static_cast<int16_t>(packed[s + 4] >> 4 | packed[s] >> 6 << 4);
  }
}

// The layout of Q4_K: d, dmin, 12 bytes of scales, 128 of nibbles. Q5_K has 32 bytes of high bits
// before the nibbles.
QuantBlock read_q45k(bool five, const uint8_t* at, size_t s) {
  QuantBlock block{};
  block.d = u16_at(at);
  block.m = u16_at(at + 2);
  read_scale_min(at + 4, s, block);
  const uint8_t* high = at + 16;
  const uint8_t* nibbles = at + 16 + (five ? 32 : 0) + 32 * (s / 2);
  for (size_t k = 0; k < kBlockValues; ++k) {
    const int low = nibbles[k] >> (s % 2 * 4) & 15;
    block.code[k] = static_cast<uint8_t>(low | (five ? (high[k] >> s & 1) << 4 : 0));
  }
  return block;
}

// The layout of Q2_K: 16 bytes of 4-bit scales and mins, 64 bytes of 2-bit codes, d, dmin.
QuantBlock read_q2k(const uint8_t* at, size_t s) {
  QuantBlock block{};
  block.d = u16_at(at + 80);
  block.m = u16_at(at + 82);
  for (size_t h = 0; h < 2; ++h) {
    block.scale[h] = at[2 * s + h] & 15;
    block.min[h] = at[2 * s + h] >> 4;
  }
  const uint8_t* codes = at + 16 + 32 * (s / 4);
  for (size_t k = 0; k < kBlockValues; ++k) block.code[k] = codes[k] >> (s % 4 * 2) & 3;
  return block;
}

// The layout of Q3_K: 32 bytes of high bits, 64 of 2-bit codes, 12 bytes with 16 6-bit scales, d.
QuantBlock read_q3k(const uint8_t* at, size_t s) {
  QuantBlock block{};
  block.d = u16_at(at + 108);
  const uint8_t* scales = at + 96;
  for (size_t h = 0; h < 2; ++h) {
    const size_t i = 2 * s + h;
    const int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
    block.scale[h] = static_cast<int16_t>((low | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
  }
  const uint8_t* codes = at + 32 + 32 * (s / 4);
  for (size_t k = 0; k < kBlockValues; ++k) {
    block.code[k] = static_cast<uint8_t>((codes[k] >> (s % 4 * 2) & 3) | (at[k] >> s & 1) << 2);
  }
  return block;
}

// The layout of Q6_K: 128 bytes of low nibbles, 64 of high pairs, 16 signed scales, d. There are
// two runs of 128 values; in the nibbles each is 64 + 64.
QuantBlock read_q6k(const uint8_t* at, size_t s) {
  QuantBlock block{};
  block.d = u16_at(at + 208);
  for (size_t h = 0; h < 2; ++h) block.scale[h] = static_cast<int8_t>(at[192 + 2 * s + h]);
  const size_t run = s / 4, part = s % 4;
  const uint8_t* low = at + 64 * run + 32 * (part % 2);
  const uint8_t* high = at + 128 + 32 * run;
  for (size_t k = 0; k < kBlockValues; ++k) {
    block.code[k] =
        static_cast<uint8_t>((low[k] >> (part / 2 * 4) & 15) | (high[k] >> (part * 2) & 3) << 4);
  }
  return block;
}

}  // namespace

BlockScheme block_scheme(DType type) {
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return BlockScheme::kScale;
    case DType::kQ4_1:
    case DType::kQ5_1:
      return BlockScheme::kScaleMin;
    case DType::kQ4_K:
    case DType::kQ5_K:
      return BlockScheme::kSubScaleMin;
    case DType::kQ3_K:
    case DType::kQ6_K:
      return BlockScheme::kHalfScale;
    case DType::kQ2_K:
      return BlockScheme::kHalfScaleMin;
    default:
      ALTLAS_CHECK(false, "a quantised type");
      return {};
  }
}

uint8_t block_bias(DType type) {
  switch (type) {
    case DType::kQ3_K:
      return 4;
    case DType::kQ4_0:
      return 8;
    case DType::kQ5_0:
      return 16;
    case DType::kQ6_K:
      return 32;
    case DType::kQ8_0:
      return 128;
    default:
      return 0;
  }
}

QuantBlock read_quant_block(DType type, const std::byte* row, size_t index) {
  const auto* at = reinterpret_cast<const uint8_t*>(row);
  const size_t super = index / 8, s = index % 8;
  switch (type) {
    case DType::kQ2_K:
      return read_q2k(at + super * 84, s);
    case DType::kQ3_K:
      return read_q3k(at + super * 110, s);
    case DType::kQ4_K:
      return read_q45k(false, at + super * 144, s);
    case DType::kQ5_K:
      return read_q45k(true, at + super * 176, s);
    case DType::kQ6_K:
      return read_q6k(at + super * 210, s);
    case DType::kQ4_0:
      return read_legacy(type, at + index * 18);
    case DType::kQ4_1:
      return read_legacy(type, at + index * 20);
    case DType::kQ5_0:
      return read_legacy(type, at + index * 22);
    case DType::kQ5_1:
      return read_legacy(type, at + index * 24);
    case DType::kQ8_0:
      return read_legacy(type, at + index * 34);
    default:
      ALTLAS_CHECK(false, "a quantised type");
      return {};
  }
}

void dequantize_block(DType type, const QuantBlock& block, float* out) {
  const BlockScheme scheme = block_scheme(type);
  const int bias = block_bias(type);
  const float d = float_from_f16(block.d), m = float_from_f16(block.m);
  const bool halves = scheme == BlockScheme::kHalfScale || scheme == BlockScheme::kHalfScaleMin,
             scales = halves || scheme == BlockScheme::kSubScaleMin;
  for (size_t h = 0; h < 2; ++h, out += 16) {
    const size_t i = halves ? h : 0;
    const float scale = scales ? d * static_cast<float>(block.scale[i]) : d,
                min = scales ? m * static_cast<float>(block.min[i]) : m;
    for (size_t k = 0; k < 16; ++k)
      out[k] = scale * static_cast<float>(block.code[16 * h + k] - bias);
    if (scheme == BlockScheme::kScaleMin)
      for (size_t k = 0; k < 16; ++k) out[k] += min;
    if (scheme == BlockScheme::kSubScaleMin || scheme == BlockScheme::kHalfScaleMin)
      for (size_t k = 0; k < 16; ++k) out[k] -= min;
  }
}

}  // namespace altlas::ops
