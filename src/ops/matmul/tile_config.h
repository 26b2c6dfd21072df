// What LDTILECFG reads: the shapes of AMX's tiles (Intel 64 Manual, volume 1, chapter 18).
#pragma once

#include <cstdint>

namespace altlas::ops {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // Bytes of a row of each tile; 8 exist.
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace altlas::ops
