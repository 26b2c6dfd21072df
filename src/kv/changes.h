// What a rank is told about KV blocks: the cache decides it, step plans carry it, ranks do it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace altlas::kv {

// A slot's table[group][first_index …] becomes `blocks`.
struct TableChange {
  uint32_t group = 0;
  uint32_t first_index = 0;
  std::vector<BlockId> blocks;
};

// A whole block is copied before the step computes (copy on write).
struct BlockCopy {
  uint32_t group = 0;
  BlockId from;
  BlockId to;
};

// A whole block is copied to a place in host memory, or back.
struct BlockSwap {
  uint32_t group = 0;
  BlockId block;
  uint32_t place = 0;
};

// The changes of one sequence that the ranks have not been told yet.
struct BlockChanges {
  std::vector<TableChange> tables;
  std::vector<BlockCopy> copies;
  std::vector<BlockSwap> swap_in;  // From host memory.
};

}  // namespace altlas::kv
