// One pass over a vocabulary and its bits. Words with all bits set or all clear need no lanes.
#include <algorithm>
#include <limits>

#include "ops/sample/mask.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#define HWY_TARGET_INCLUDE "ops/sample/mask_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
HWY_BEFORE_NAMESPACE();
namespace altlas::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Masks 64 logits by one word of bits.
void mask_word(float* x, uint64_t bits) {
  const hn::CappedTag<float, 16> d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  const auto never = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < 64; i += kLanes) {
    const uint64_t part = bits >> i;  // LoadMaskBits looks at the lowest kLanes bits.
    uint8_t bytes[8];
    for (size_t b = 0; b < 8; ++b) bytes[b] = static_cast<uint8_t>(part >> (8 * b));
    const auto allowed = hn::LoadMaskBits(d, bytes);
    hn::StoreU(hn::IfThenElse(allowed, hn::LoadU(d, x + i), never), d, x + i);
  }
}

void mask_all(float* x, size_t count, const uint64_t* words, size_t word_count) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  size_t i = 0;
  for (size_t w = 0; w < word_count && i + 64 <= count; ++w, i += 64) {
    if (words[w] == ~uint64_t{0}) continue;
    if (words[w] == 0)
      std::fill(x + i, x + i + 64, kNever);
    else
      mask_word(x + i, words[w]);
  }
  for (; i < count; ++i) {
    const bool allowed = i / 64 < word_count && (words[i / 64] >> (i % 64) & 1) != 0;
    if (!allowed) x[i] = kNever;
  }
}

}  // namespace altlas::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace altlas::ops {
HWY_EXPORT(mask_all);

void mask_logits_cpu(float* logits, size_t count, std::span<const uint64_t> allowed) {
  HWY_DYNAMIC_DISPATCH(mask_all)(logits, count, allowed.data(), allowed.size());
}

void mask_logits_ref(float* logits, size_t count, std::span<const uint64_t> allowed) {
  for (size_t i = 0; i < count; ++i)
    if (i / 64 >= allowed.size() || (allowed[i / 64] >> (i % 64) & 1) == 0)
      logits[i] = -std::numeric_limits<float>::infinity();
}
}  // namespace altlas::ops
#endif
