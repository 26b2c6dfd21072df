// StepContext: one thread's view of a step, which the parts of a decoder hand to each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cpu/team.h"
#include "model/linear.h"
#include "model/op_clock.h"
#include "model/rank_group.h"
#include "model/step_tokens.h"
#include "ops/matmul/matmul.h"
#include "tensor/rows.h"

namespace altlas::model {

// What a thread multiplies of its rank's part of a product: share `index` of `count` of the
// weights' rows, for some tokens.
struct ProductShare {
  Range tokens;
  uint32_t index = 0, count = 1;
};

// Between products each row of x, normed and quantized is computed by the thread whose `own` it is
// in, one of all threads of the rank's group. In a step of one token (`single`) that is every
// thread, each in memory of its own: it saves half of the barriers, and gives the same bits. What
// lies between the product of q, k and v and the attended heads is the rank's alone.
struct StepContext {
  uint32_t thread;  // In the rank's team.
  device::Team& team;
  RankGroup& group;
  uint32_t group_thread;  // Among all threads of the group.
  std::span<const BatchEntry> entries;
  StepTokens& tokens;
  bool single;     // One token, without adapter.
  bool alone;      // No thread reads what another computes, up to the step's end.
  bool adapts;     // Some entry has an adapter.
  Range own;       // Rows of this thread, of all threads of the group.
  Range rank_own;  // Rows of this thread, of those of its rank.
  ProductShare share;
  Rows<float> x;          // [own or tokens, hidden]: the residual stream.
  Rows<float> normed;     // [own or tokens, hidden]
  Rows<float> delta;      // [tokens, hidden]: what the last branch adds.
  std::byte* quantized;   // Rows of the next product's input.
  Rows<float> angles[2];  // [own or tokens, 2, head_dim / 2]: full, window.
  float* row;             // [hidden]: this thread's, for a row that nobody reads later.
  std::byte* scratch;     // This thread's.
  OpClock clock;

  uint32_t group_threads() const { return group.threads(); }
  // All threads of the group meet.
  void meet() { group.barrier(); }
  // Before a thread reads what others computed of their own rows.
  void meet_rows() {
    if (!single && !alone) meet();
  }
  // Before it reads what they made of their shares of a product.
  void meet_products() {
    if (!alone) meet();
  }
  ops::Activations input(Rows<const float> values) const {
    return {.tokens = tokens.size(),
            .quantized = quantized,
            .values = values.data,
            .stride = values.stride};
  }
  ProductShare share_of_rows(size_t count) const { return {{0, count}, thread, team.size()}; }
  // All threads meet; then what every rank of the stage wrote of the tokens' rows is there: `part`
  // of each, in units of `unit` columns. rows: quantised rows of `cols` columns, or floats.
  void meet_columns(ShardRange ShardPlan::* part, Rows<float> rows, size_t unit = 1) const;
  void meet_quantized(ShardRange ShardPlan::* part, std::byte* rows, size_t cols) const;
  // This thread's share of y = x W. x and y: of all tokens.
  void multiply(const ProductShare& part, const Linear& linear, const ops::Activations& in,
                Rows<float> y) const {
    linear.multiply(in.rows(part.tokens.begin, part.tokens.end, linear.cols),
                    y.rows(part.tokens.begin, part.tokens.end), part.index, part.count, scratch);
  }
  void multiply(const Linear& linear, const ops::Activations& in, Rows<float> y) const {
    multiply(share, linear, in, y);
  }
  // The product of all tokens has passed.
  void lap(Op op, const Linear& linear) {
    clock.lap(op, linear.bytes, uint64_t{linear.rows} * linear.cols * tokens.size());
  }
};

}  // namespace altlas::model
