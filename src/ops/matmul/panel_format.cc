#include "ops/matmul/panel_format.h"

namespace altlas::ops {
namespace {

// Where the parts of one block lie.
struct BlockPlace {
  size_t scales;  // Of the group.
  size_t index;   // In the group.
  size_t codes;   // Of the block.
};

BlockPlace place(const PanelFormat& format, size_t block) {
  const size_t group = block / format.group_blocks * format.group_bytes(), index = block % format.group_blocks;
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
  at[192 + 16 * (index % 4) + row] |= static_cast<std::byte>((first >> 4 | second >> 4 << 2) << (index / 4 * 4));
}
void get_six_bits(const std::byte* at, size_t index, size_t row, unsigned& first, unsigned& second) {
  const auto low = static_cast<unsigned>(at[64 + 16 * index + row]);
  const auto high = static_cast<unsigned>(at[192 + 16 * (index % 4) + row]) >> (index / 4 * 4);
  first = (low & 15) | (high & 3) << 4;
  second = low >> 4 | (high >> 2 & 3) << 4;
}

void store_scales(const PanelFormat& format, std::byte* at, size_t index, size_t row, const QuantBlock& value) {
  switch (format.scales) {
    case PanelScales::kF16Min:
      put_u16(at + 32 * (format.group_blocks + index) + 2 * row, value.m);
      [[fallthrough]];
    case PanelScales::kF16: put_u16(at + 32 * index + 2 * row, value.d); return;
    default: break;
  }
  put_u16(at + 2 * row, value.d);
  if (format.scales == PanelScales::kSixBit || format.scales == PanelScales::kNibbleHalves) {
    put_u16(at + 32 + 2 * row, value.m);
  }
  if (format.scales == PanelScales::kSixBit) {
    put_six_bits(at, index, row, static_cast<unsigned>(value.scale[0]), static_cast<unsigned>(value.min[0]));
  } else if (format.scales == PanelScales::kSixBitHalves) {
    put_six_bits(at, index, row, static_cast<unsigned>(value.scale[0] + 32), static_cast<unsigned>(value.scale[1] + 32));
  } else {
    for (size_t h = 0; h < 2; ++h) {
      const int byte = format.scales == PanelScales::kByteHalves ? value.scale[h] : value.scale[h] | value.min[h] << 4;
      at[64 + 16 * (2 * index + h) + row] = static_cast<std::byte>(byte);
    }
  }
}

void load_scales(const PanelFormat& format, const std::byte* at, size_t index, size_t row, QuantBlock& value) {
  switch (format.scales) {
    case PanelScales::kF16Min:
      value.m = get_u16(at + 32 * (format.group_blocks + index) + 2 * row);
      [[fallthrough]];
    case PanelScales::kF16: value.d = get_u16(at + 32 * index + 2 * row); return;
    default: break;
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
    (halves ? value.scale[1] : value.min[0]) = static_cast<int16_t>(static_cast<int>(second) - (halves ? 32 : 0));
    return;
  }
  for (size_t h = 0; h < 2; ++h) {
    const auto byte = static_cast<uint8_t>(at[64 + 16 * (2 * index + h) + row]);
    value.scale[h] = format.scales == PanelScales::kByteHalves ? int16_t{static_cast<int8_t>(byte)} : byte & 15;
    if (format.scales == PanelScales::kNibbleHalves) value.min[h] = byte >> 4;
  }
}

}  // namespace

void store_panel_block(const PanelFormat& format, std::byte* panel, size_t block, size_t row, const QuantBlock& value) {
  const BlockPlace where = place(format, block);
  store_scales(format, panel + where.scales, where.index, row, value);
  auto* codes = reinterpret_cast<uint8_t*>(panel + where.codes) + 4 * row;
  const unsigned low_mask = (1u << format.base) - 1;
  for (size_t k = 0; k < kBlockValues; ++k) {
    const size_t g = k / 4, j = k % 4;
    const unsigned low = value.code[k] & low_mask, high = static_cast<unsigned>(value.code[k]) >> format.base;
    if (format.base == 8) codes[64 * g + j] = static_cast<uint8_t>(low);
    if (format.base == 4) codes[64 * (g % 4) + j] |= static_cast<uint8_t>(low << (g / 4 * 4));
    if (format.base == 2) codes[64 * (g / 4) + j] |= static_cast<uint8_t>(low << (g % 4 * 2));
    uint8_t* plane = codes + 64 * format.base;
    if (format.high == 1) plane[j] |= static_cast<uint8_t>(high << g);
    if (format.high == 2) plane[64 * (g / 4) + j] |= static_cast<uint8_t>(high << (g % 4 * 2));
  }
}

QuantBlock load_panel_block(const PanelFormat& format, const std::byte* panel, size_t block, size_t row) {
  const BlockPlace where = place(format, block);
  QuantBlock value{};
  load_scales(format, panel + where.scales, where.index, row, value);
  const auto* codes = reinterpret_cast<const uint8_t*>(panel + where.codes) + 4 * row;
  for (size_t k = 0; k < kBlockValues; ++k) {
    const size_t g = k / 4, j = k % 4;
    unsigned low = 0, high = 0;
    if (format.base == 8) low = codes[64 * g + j];
    if (format.base == 4) low = codes[64 * (g % 4) + j] >> (g / 4 * 4) & 15;
    if (format.base == 2) low = codes[64 * (g / 4) + j] >> (g % 4 * 2) & 3;
    const uint8_t* plane = codes + 64 * format.base;
    if (format.high == 1) high = plane[j] >> g & 1;
    if (format.high == 2) high = plane[64 * (g / 4) + j] >> (g % 4 * 2) & 3;
    value.code[k] = static_cast<uint8_t>(low | high << format.base);
  }
  return value;
}

}  // namespace altlas::ops
