// The merges of byte-pair encoding, and merging: lowest rank first, the leftmost of equals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace altlas::text {

// Filled, then const; any thread.
class BpeMerges {
 public:
  // Reused between the words of one text.
  struct Scratch {
    std::vector<int32_t> ids, previous, next;
    std::vector<uint64_t> heap;
  };

  explicit BpeMerges(size_t count);

  // False if the pair would need too many looks: only a file made for it does that. The last of
  // equal pairs counts, as in transformers.
  bool add(int32_t left, int32_t right, uint32_t rank, int32_t joined);

  // Merges scratch.ids in place. O(n log n).
  void merge(Scratch& scratch) const;

 private:
  // (left id, right id) -> (rank, id of both joined); open addressing, at most two thirds full.
  struct Slot {
    uint64_t pair = ~0ULL;
    uint32_t rank = 0;
    int32_t joined = -1;
  };
  const Slot* find(int32_t left, int32_t right) const;
  void merge_short(std::vector<int32_t>& ids) const;
  void merge_long(Scratch& scratch) const;

  std::vector<Slot> slots_;
};

}  // namespace altlas::text
