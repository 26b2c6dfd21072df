#include "ops/matmul/panel_format.h"

namespace altlas::ops {
namespace {

// The places of one block's parts.
struct BlockPlace {
  size_t scales;  // The offset of its group's scales.
  size_t index;   // The block's number in the group.
  size_t codes;   // The offset of the block's codes.
};

BlockPlace place(const PanelFormat& format, size_t block) {
  const size_t group = block / format.group_blocks * format.group_bytes(),
               index = block % format.group_blocks;
  return {group, index, group + format.scale_bytes() + index * format.code_bytes()};
}

void put_u16(std::byte* at, uint16_t value) { std::memcpy(at, &value, sizeof value); }
uint16_t get_u16(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void put_six_bits(std::byte* at, size_t index, size_t row, unsigned first, unsigned second) {
  at[64 + 16 * index + row] |= static_cast<std::byte>((first & 15) | (second & 15) << 4);
  at[192 + 16 * (index % 4) + row] |=
      static_cast<std::byte>((first >> 4 | second >> 4 << 2) << (index / 4 * 4));
}
void get_six_bits(const std::byte* at, size_t index, size_t row, unsigned& first,
                  unsigned& second) {
  const auto low = static_cast<unsigned>(at[64 + 16 * index + row]);
  const auto high = static_cast<unsigned>(at[192 + 16 * (index % 4) + row]) >> (index / 4 * 4);
  first = (low & 15) | (high & 3) << 4;
  second = low >> 4 | (high >> 2 & 3) << 4;
}

void store_scales(const PanelFormat& format, std::byte* at, size_t index, size_t row,
                  const QuantBlock& value) {
  switch (format.scales) {
    case PanelScales::kF16Min:
      put_u16(at + 32 * (format.group_blocks + index) + 2 * row, value.m);
      [[fallthrough]];
    case PanelScales::kF16:
      put_u16(at + 32 * index + 2 * row, value.d);
      return;
    default:
      break;
  }
  put_u16(at + 2 * row, value.d);
  if (format.scales == PanelScales::kSixBit || format.scales == PanelScales::kNibbleHalves) {
    put_u16(at + 32 + 2 * row, value.m);
  }
  if (format.scales == PanelScales::kSixBit) {
    put_six_bits(at, index, row, static_cast<unsigned>(value.scale[0]),
                 static_cast<unsigned>(value.min[0]));
  } else if (format.scales == PanelScales::kSixBitHalves) {
    put_six_bits(at, index, row, static_cast<unsigned>(value.scale[0] + 32),
                 static_cast<unsigned>(value.scale[1] + 32));
  } else {
    for (size_t h = 0; h < 2; ++h) {
      const int byte = format.scales == PanelScales::kByteHalves
                           ? value.scale[h]
                           : value.scale[h] | value.min[h] << 4;
      at[64 + 16 * (2 * index + h) + row] = static_cast<std::byte>(byte);
    }
  }
}

void load_scales(const PanelFormat& format, const std::byte* at, size_t index, size_t row,
                 QuantBlock& value) {
  switch (format.scales) {
    case PanelScales::kF16Min:
      value.m = get_u16(at + 32 * (format.group_blocks + index) + 2 * row);
      [[fallthrough]];
    case PanelScales::kF16:
      value.d = get_u16(at + 32 * index + 2 * row);
      return;
    default:
      break;
  }
  value.d = get_u16(at + 2 * row);
  if (format.scales == PanelScales::kSixBit || format.scales == PanelScales::kNibbleHalves) {
    value.m = get_u16(at + 32 + 2 * row);
  }
  if (format.scales == PanelScales::kSixBit || format.scales == PanelScales::kSixBitHalves) {
    unsigned first, second;
    get_six_bits(at, index, row, first, second);
    const bool halves = format.scales == PanelScales::kSixBitHalves;
    value.scale[0] = static_cast<int16_t>(static_cast<int>(first) - (halves ? 32 : 0));
    (halves ? value.scale[1] : value.min[0]) =
        static_cast<int16_t>(static_cast<int>(second) - (halves ? 32 : 0));
    return;
  }
  for (size_t h = 0; h < 2; ++h) {
    const auto byte = static_cast<uint8_t>(at[64 + 16 * (2 * index + h) + row]);
    value.scale[h] =
        format.scales == PanelScales::kByteHalves ? int16_t{static_cast<int8_t>(byte)} : byte & 15;
    if (format.scales == PanelScales::kNibbleHalves) value.min[h] = byte >> 4;
  }
}

}  // namespace

// A vector has four values of each row, one per byte.
constexpr uint32_t kEachByte = 0x01010101;

void store_panel_block(const PanelFormat& format, std::byte* panel, size_t block, size_t row,
                       const QuantBlock& value) {
  const BlockPlace where = place(format, block);
  store_scales(format, panel + where.scales, where.index, row, value);
  std::byte* codes = panel + where.codes + 4 * row;
  const uint32_t low_mask = format.base == 8 ? ~0u : ((1u << format.base) - 1) * kEachByte;
  // Formats with base 2 or high 2 use both halves, high 1 only the first.
  uint32_t low[2] = {0, 0}, high[2] = {0, 0};
  uint32_t words[8];
  std::memcpy(words, value.code, sizeof words);
  for (size_t g = 0; g < 8; ++g) {
    const uint32_t top = format.base == 8 ? 0 : (words[g] & ~low_mask) >> format.base;
    words[g] &= low_mask;
    low[g / 4] |= words[g] << (g % 4 * 2);
    if (format.high == 1) high[0] |= top << g;
    if (format.high == 2) high[g / 4] |= top << (g % 4 * 2);
  }
  if (format.base == 8) {
    for (size_t g = 0; g < 8; ++g) std::memcpy(codes + 64 * g, &words[g], 4);
  } else if (format.base == 4) {
    for (size_t g = 0; g < 4; ++g) {
      const uint32_t both = words[g] | words[g + 4] << 4;
      std::memcpy(codes + 64 * g, &both, 4);
    }
  } else {
    for (size_t h = 0; h < 2; ++h) std::memcpy(codes + 64 * h, &low[h], 4);
  }
  for (size_t h = 0; h < format.high; ++h) std::memcpy(codes + 64 * (format.base + h), &high[h], 4);
}

QuantBlock load_panel_block(const PanelFormat& format, const std::byte* panel, size_t block,
                            size_t row) {
  const BlockPlace where = place(format, block);
  QuantBlock value{};
  load_scales(format, panel + where.scales, where.index, row, value);
  const std::byte* codes = panel + where.codes + 4 * row;
  const auto line = [&](size_t index) {
    uint32_t word;
    std::memcpy(&word, codes + 64 * index, sizeof word);
    return word;
  };
  for (size_t g = 0; g < 8; ++g) {
    uint32_t word;
    if (format.base == 8)
      word = line(g);
    else if (format.base == 4)
      word = line(g % 4) >> (g / 4 * 4) & 15 * kEachByte;
    else
      word = line(g / 4) >> (g % 4 * 2) & 3 * kEachByte;
    if (format.high == 1) word |= (line(format.base) >> g & kEachByte) << format.base;
    if (format.high == 2)
      word |= (line(format.base + g / 4) >> (g % 4 * 2) & 3 * kEachByte) << format.base;
    std::memcpy(value.code + 4 * g, &word, sizeof word);
  }
  return value;
}

}  // namespace altlas::ops
