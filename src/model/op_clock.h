// What a step's time goes to: thread 0's wall time per operation, with the bytes and products of
// the team.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace altlas::model {

enum class Op : uint8_t {
  kEmbed,
  kNorm,  // Adding the branch, norm, quantising.
  kQkv,
  kKvWrite,
  kAttention,
  kOutput,
  kGateUp,
  kGate,
  kDown,
  kHead,
  kSample,
};
inline constexpr size_t kOpCount = 11;
inline constexpr std::array<std::string_view, kOpCount> kOpNames = {
    "embed",   "norm", "qkv",  "kv_write", "attention", "output",
    "gate_up", "gate", "down", "head",     "sample"};

// Sums since the owner cleared them.
struct OpTimes {
  struct Sum {
    int64_t ns = 0;
    uint64_t weight_bytes = 0;  // For products: the packed weights read.
    uint64_t products = 0;      // Multiply-adds with weights.
    // For attention, in floats: a query and a key, a weight and a value.
    uint64_t float_products = 0;
  };
  std::array<Sum, kOpCount> ops;
};

// Keys that `tokens` queries from `position` on see together. window: as KvGroup::window.
constexpr uint64_t keys_seen(uint64_t position, uint64_t tokens, uint64_t window) {
  const uint64_t growing = window == 0         ? tokens
                           : window > position ? std::min(tokens, window - position)
                                               : 0;
  return growing * position + growing * (growing + 1) / 2 + (tokens - growing) * window;
}

// One thread's, between two steps the owner's of the times. Waiting at a barrier counts as the
// operation before it. Without times it costs a branch.
class OpClock {
 public:
  explicit OpClock(OpTimes* times) : times_(times) { start(); }
  void start() {
    if (times_ != nullptr) last_ = now();
  }
  // What passed since the last call was `op`.
  void lap(Op op, uint64_t weight_bytes = 0, uint64_t products = 0, uint64_t float_products = 0) {
    if (times_ == nullptr) return;
    const int64_t at = now();
    OpTimes::Sum& sum = times_->ops[static_cast<size_t>(op)];
    sum.ns += at - last_;
    sum.weight_bytes += weight_bytes;
    sum.products += products;
    sum.float_products += float_products;
    last_ = at;
  }

 private:
  static int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  OpTimes* times_;
  int64_t last_ = 0;
};

}  // namespace altlas::model
