// KV blocks as bytes: for a hand-over to another rank, a cache on disk, a prefill elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace altlas::model {

// Layers and KV heads of the model as a whole: [begin, end) each.
struct KvRange {
  uint32_t layer_begin = 0, layer_end = 0;
  uint32_t head_begin = 0, head_end = 0;

  bool empty() const { return layer_begin >= layer_end || head_begin >= head_end; }
  bool holds(const KvRange& other) const {
    return layer_begin <= other.layer_begin && other.layer_end <= layer_end &&
           head_begin <= other.head_begin && other.head_end <= head_end;
  }
  friend bool operator==(const KvRange&, const KvRange&) = default;
};

// What equal tokens' KV values depend on, and how the bytes lie: they mean the same only where all
// of it is the same.
struct KvStamp {
  uint64_t model = 0;    // Tells weights apart, alike on every machine.
  uint64_t adapter = 0;  // The same of a LoRA adapter; 0: none.
  DType type = DType::kF16;
  uint32_t block_tokens = 0;
  KvRange range;
};

// Blocks of one group, one after the other: each [layers of the group within the range][heads], a
// head as ops::KvLayout has it.
struct KvBytes {
  KvStamp stamp;
  uint32_t group = 0;
  uint32_t blocks = 0;
  std::vector<std::byte> bytes;
};

// Errors: kConflict, saying what `given` was computed with and what `own` is, but for the range:
// kInvalid where that of `given` is empty or not within `own`.
Result<void> check_stamp(const KvStamp& given, const KvStamp& own);

}  // namespace altlas::model
