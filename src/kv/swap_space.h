// Places in host memory for the KV blocks of sequences that gave way.
#pragma once

#include <cstdint>
#include <vector>

#include "base/hash.h"
#include "base/ids.h"

namespace altlas::kv {

// One group's blocks of a sequence in host memory: places [i] hold block first + i of its tokens.
struct SwappedTable {
  uint32_t first = 0;
  std::vector<uint32_t> places;
  uint32_t end() const { return first + static_cast<uint32_t>(places.size()); }
};

// What a sequence has in host memory. Made by KvCache::swap_out.
struct SwappedBlocks {
  uint32_t tokens = 0;               // Their KV values are there; 0: nothing is.
  std::vector<SwappedTable> tables;  // [groups]
};

// Bookkeeping only. A place that is given back can be taken again after forget(): until then it may
// still be read by a step that is being planned. One writer.
class SwapSpace {
 public:
  // Places per group.
  SwapSpace(uint32_t groups, uint32_t places);

  uint32_t size() const { return size_; }
  uint32_t free_count(uint32_t group) const { return static_cast<uint32_t>(free_[group].size()); }
  // Requires free_count(group) > 0.
  uint32_t take(uint32_t group);
  void give_back(const SwappedBlocks& blocks);
  // What was given back so far is free.
  void forget();

  // Aborts unless every place is free, given back, or in one of `held`.
  void check_integrity(const std::vector<const SwappedBlocks*>& held) const;
  void add_to(Hasher& hasher) const;

 private:
  const uint32_t size_;
  std::vector<std::vector<uint32_t>> free_;     // [groups]
  std::vector<std::vector<uint32_t>> leaving_;  // [groups]
};

}  // namespace altlas::kv
