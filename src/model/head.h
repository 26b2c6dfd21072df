// Head: from the hidden states of a step to logits, seen piece by piece while they are in a
// thread's cache, or to the likeliest tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cpu/team.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "model/decoder_part.h"
#include "model/decoder_weights.h"
#include "model/op_clock.h"
#include "model/rank_group.h"
#include "ops/sample/row_sampler.h"
#include "ops/sample/sample.h"
#include "tensor/rows.h"

namespace altlas::model {

inline constexpr uint32_t kHeadRowsMax = 64;     // Rows of logits computed at once.
inline constexpr uint32_t kSampledRowsMax = 32;  // Rows with a sampler's memory.
// Panels of the head between two looks for the best.
inline constexpr uint32_t kHeadChunkPanels = 32;

// Memory of the group's step that the head reads, and writes again once its layers are over;
// scratch is the rank's.
struct HeadInput {
  Rows<const float> x;      // [step_tokens_max, hidden]: what the layers left.
  Rows<float> normed;       // [step_tokens_max, hidden]
  std::byte* quantized;     // As many rows.
  Rows<std::byte> scratch;  // [threads of the rank, Head::scratch_bytes() or more]
};

// Threads: one, the team's leader. The ranks of a group make the same calls in the same order.
class Head {
 public:
  // Takes its memory from `arena`. What is referred to outlives it.
  Head(const DecoderPart& part, const HeadInput& input, const StepThreads& threads,
       const RankTeam& team, Workspace<Arena>& arena);

  static uint64_t scratch_bytes(const DecoderWeights& weights) {
    return weights.head.scratch_bytes();
  }
  // Computes the logits of some rows, at most kHeadRowsMax, piece by piece: look(group thread, i,
  // first, logits, count) sees those of ids [first, first + count) of row i while they are in its
  // thread's cache, and may change them. Pieces begin at multiples of ops::kSampleRun; a thread's
  // share of the ids comes in order, and shares ascend with the group thread. Once all have been
  // seen, finish(thread, i) is called once for each row by some thread of the group, `thread` of
  // its own rank.
  template <class Look, class Finish>
  void run(std::span<const uint32_t> rows, Look&& look, Finish&& finish) {
    team_.run([&](uint32_t thread, uint32_t group_thread) {
      OpClock clock(thread == 0 ? times_ : nullptr);
      norm_rows(group_thread, rows);
      clock.lap(Op::kNorm);
      const auto each_piece = [&](const Range& own, size_t shift, const auto& make) {
        for (size_t first = own.begin; first < own.end; first += kWidth) {
          const size_t count = std::min(kWidth, own.end - first);
          const Rows<float> logits = make(first, count);
          clock.lap(Op::kHead);
          for (size_t i = 0; i < rows.size(); ++i)
            look(group_thread, i, shift + first, logits[i], count);
          clock.lap(Op::kSample);
        }
      };
      if (team_.group->splits()) {
        // Every process sees the whole rows.
        keep_logits(thread, rows.size());
        gather_logits(group_thread, rows.size());
        each_piece(share(config_.vocab_size, group_thread, team_.group->threads()), 0,
                   [&](size_t first, size_t count) {
                     return kept_chunk(thread, rows.size(), first, count);
                   });
      } else {
        each_piece(share(thread), shard_.vocab.begin, [&](size_t first, size_t count) {
          return chunk(thread, rows.size(), first, count);
        });
      }
      team_.group->barrier();
      clock.lap(Op::kHead, weights_.head.bytes, products(rows.size()));
      for (size_t i = group_thread; i < rows.size(); i += team_.group->threads()) finish(thread, i);
      clock.lap(Op::kSample);
    });
  }
  // From finish(), for the row it is called with: the logits of ids [first, first + count) once
  // more, with the same bits. first: a multiple of ops::kAgainStep; out: room for whole such steps,
  // at most ops::kSampleRun.
  void logits_again(uint32_t thread, size_t i, size_t first, size_t count, float* out) const;
  // What a sampler of row i may use, i < kSampledRowsMax and step_tokens_max.
  std::byte* sampler_memory(size_t i) const { return samplers_[i]; }
  // A row's hidden state as the head takes it, out [hidden].
  void final_hidden(size_t row, std::span<float> out) const;
  // The likeliest token of each row, as ops::argmax_cpu of its logits, which are not kept: at most
  // kHeadRowsMax.
  void best_tokens(std::span<const uint32_t> rows, std::span<int32_t> out);
  // Whether the i-th row of the latest run() or best_tokens(), its hidden state as its logits
  // before a softcap, was free of infinities and NaN. From finish() on; any thread.
  bool finite(size_t i) const;
  // From now on calls add to `times`; null: none. It outlives the head.
  void measure(OpTimes* times) { times_ = times; }

 private:
  static constexpr size_t kWidth = size_t{kHeadChunkPanels} * ops::kPanelRows;

  uint64_t products(size_t rows) const {
    return uint64_t{weights_.head.rows} * weights_.head.cols * rows;
  }
  void norm_rows(uint32_t group_thread, std::span<const uint32_t> rows);
  static Range share(size_t vocab, uint32_t thread, uint32_t threads);
  Range share(uint32_t thread) const;
  Rows<float> multiply(uint32_t thread, size_t rows, size_t first, size_t count);
  void finish_chunk(uint32_t thread, const Rows<float>& logits, size_t rows, size_t count);
  Rows<float> chunk(uint32_t thread, size_t rows, size_t first, size_t count);
  void keep_logits(uint32_t thread, size_t rows);
  void gather_logits(uint32_t group_thread, size_t rows);
  Rows<float> kept_chunk(uint32_t thread, size_t rows, size_t first, size_t count);
  void gather_best(StageLink& link, size_t rows);
  void find_best(uint32_t thread, uint32_t group_thread, size_t rows);

  const Hyperparameters& config_;
  const ShardPlan& shard_;
  const DecoderWeights& weights_;
  const HeadInput input_;
  const RankTeam team_;
  OpTimes* times_ = nullptr;
  Rows<std::byte> samplers_;  // [kSampledRowsMax]: of ops::RowSampler.
  Rows<float> chunks_;        // [threads of the rank * kHeadRowsMax, kWidth]
  Rows<ops::Best> best_;      // [threads of the group, kHeadRowsMax]
  // [threads of the group, kHeadRowsMax]: 1 where the thread saw what is not finite.
  Rows<uint8_t> broken_;
  // Where the stage has ranks in other processes: logits as they came, [kSampledRowsMax, vocab],
  // and the best of each process, [processes, kHeadRowsMax].
  struct Found {
    ops::Best best;
    uint32_t broken = 0;
  };
  Rows<float> kept_;
  Rows<Found> found_;
};

}  // namespace altlas::model
