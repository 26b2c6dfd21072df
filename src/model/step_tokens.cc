#include "model/step_tokens.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::model {

StepTokens::StepTokens(uint32_t capacity, uint32_t kv_heads)
    : capacity_(capacity), kv_heads_(kv_heads) {
  tokens_.reserve(capacity);
  items_.reserve(uint64_t{capacity} * kv_heads);
}

void StepTokens::list(std::span<const BatchEntry> entries, size_t tokens_at_once) {
  tokens_.clear();
  items_.clear();
  const auto at_once = static_cast<uint32_t>(tokens_at_once);
  for (uint32_t e = 0; e < entries.size(); ++e) {
    const auto first_row = static_cast<uint32_t>(tokens_.size()),
               count = static_cast<uint32_t>(entries[e].tokens.size());
    for (uint32_t i = 0; i < count; ++i)
      tokens_.push_back({entries[e].tokens[i], entries[e].position + i, e});
    for (uint32_t i = 0; i < count; i += at_once)
      for (uint32_t head = 0; head < kv_heads_; ++head)
        items_.push_back({e, first_row + i, std::min(at_once, count - i), head});
  }
  ALTLAS_CHECK(tokens_.size() <= capacity_, "a step within its token budget");
}

const AttentionItem* StepTokens::take() {
  const uint32_t taken = taken_.fetch_add(1, std::memory_order_relaxed);
  return taken < items_.size() ? &items_[items_.size() - 1 - taken] : nullptr;
}

}  // namespace altlas::model
