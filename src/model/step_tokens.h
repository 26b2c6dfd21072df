// StepTokens: the tokens of a step, and the items of its attention that threads take one by one.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace altlas::model {

struct Adapter;

// A run of tokens of one sequence.
struct BatchEntry {
  std::span<const int32_t> tokens;  // Each in [0, vocab).
  uint32_t position = 0;            // The position of tokens[0].
  std::span<const std::vector<uint32_t>>
      tables;                        // Per KV group; they cover position + tokens.size().
  const Adapter* adapter = nullptr;  // The adapter of this model; null: none.
};

struct StepToken {
  int32_t id;
  uint32_t position;
  uint32_t entry;
};

// Queries of one entry and KV head that one thread attends at once.
struct AttentionItem {
  uint32_t entry;
  uint32_t first_row;
  uint32_t tokens;
  uint32_t kv_head;
};

// Threads: list() from one, while no other is inside; take() and reading from all.
class StepTokens {
 public:
  // capacity: tokens of a step at most.
  StepTokens(uint32_t capacity, uint32_t kv_heads);

  // In order of entries. An item has at most tokens_at_once.
  void list(std::span<const BatchEntry> entries, size_t tokens_at_once);

  size_t size() const { return tokens_.size(); }
  size_t capacity() const { return capacity_; }
  const StepToken& operator[](size_t row) const { return tokens_[row]; }

  // The next item; null if none is left. The longest, which come last in a prefill, first.
  const AttentionItem* take();
  // All items are there again. From one thread, between barriers.
  void put_back() { taken_.store(0, std::memory_order_relaxed); }

 private:
  const uint32_t capacity_, kv_heads_;
  std::vector<StepToken> tokens_;
  std::vector<AttentionItem> items_;
  std::atomic<uint32_t> taken_{0};
};

}  // namespace altlas::model
