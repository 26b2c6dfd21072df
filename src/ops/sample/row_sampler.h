// Chooses a row's token while its logits are made: threads look at runs of them in their caches and
// keep only what may be drawn or reported, so that the logits never lie in memory together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/sample/sample.h"
#include "ops/sample/scan.h"

namespace altlas::ops {

// Logits whose largest and sum are known together. A run's first id is a multiple of it.
inline constexpr size_t kSampleRun = 256;
inline constexpr size_t kAgainStep = 16;  // Logits asked for again begin at multiples of it.

// What is wanted of a row's logits.
struct SampleAsk {
  SampleParams params;
  uint64_t position = 0;              // The position of the token that is drawn.
  bool samples = true;                // False: only reports.
  bool masked = false;                // Then ids are drawn only where `allowed` has their bit.
  std::span<const uint64_t> allowed;  // As mask_logits_cpu takes it.
  // ≥ 0: log-probabilities of the logits as they came, and this many likeliest ids, at most
  // kTopLogprobsMax.
  int32_t likely = -1;
  int32_t known = -1;  // An id whose log-probability is wanted too; ids out of range are ignored.
};

// Draws from one row. Its answers depend on the logits and the question alone, not on the threads
// or how the runs were shared among them. Threads: begin() by one; then look() by all, each with
// its own index and share of the ids, in order; shares ascend with the index. Then the rest by one.
class RowSampler {
 public:
  // memory: of bytes(vocab, threads), 64-byte aligned, not initialised; outlives the sampler, and
  // is touched by begin() first: of what is never asked for no page is taken.
  RowSampler(std::byte* memory, size_t vocab, uint32_t threads);
  static uint64_t bytes(size_t vocab, uint32_t threads);

  // What `ask` refers to stays until the row is done.
  void begin(const SampleAsk& ask);
  // Logits of ids [first, first + count): whole runs, but for the vocabulary's last. Changes them.
  void look(uint32_t thread, size_t first, float* logits, size_t count);
  // The token, once the row has been seen. again(first, count, out): the logits of ids [first,
  // first + count) as they came; first is a multiple of kAgainStep, out has room for whole steps.
  template <class Again>
  int32_t choose(Again&& again);

  // The logit of an id as it came.
  template <class Again>
  float logit_of(int32_t id, Again&& again) const;

  // The log sum of the logits as they came, where `likely` asks for it; once the row has been seen.
  LogSum log_sum() const;
  // As many of the `likely` as there is room for, the likeliest first, equal ones by lowest id; how
  // many there are.
  size_t likeliest(std::span<TokenLogit> out) const;
  float known_logit() const { return known_logit_; }

 private:
  enum class Way : uint8_t { kBest, kAll, kTopK, kWithin };
  struct Runs {
    float* largest;  // [runs]
    float* sum;      // [runs]: of e^((x - largest) * inverse).
  };
  struct Kept {
    float* logits;
    int32_t* ids;
    size_t count;
    float bound;  // Less is not kept.

    // Where the next one goes.
    ScanOut end() const { return {logits + count, ids + count}; }
  };
  struct alignas(64) Part {  // A thread's.
    Best best;
    // kWithin: of the weights of runs before `summed` beside that logit.
    double sum;
    float sum_beside;
    size_t summed;
    Kept drawn, likely;
  };
  // What a draw came to: an id, or where logits must be looked at again.
  struct Pick {
    int32_t id = 0;
    int64_t run = -1;  // ≥ 0: the draw falls among this run's ids,
    double left = 0;   // so much weight behind its beginning.
  };

  void keep_best(Kept& kept, size_t most) const;
  void keep(size_t first, std::span<const float> logits, float largest, size_t most,
            Kept& kept) const;
  void see_run(size_t first, std::span<const float> logits, Part& part) const;
  float part_bound(const Part& part) const;
  float least_within(float largest, double log_sum, float slack) const;
  void change(size_t first, float* logits, size_t count) const;
  Pick pick();
  Pick pick_run(float uniform) const;
  int32_t pick_in_run(const float* logits, size_t first, size_t count, double left) const;
  int32_t pick_kept(float uniform);
  Kept gather(float bound);

  size_t vocab_;
  uint32_t threads_;
  Runs own_, changed_;  // Runs of the logits as they came, and as they are drawn from.
  float* kept_logits_;  // [vocab + padding]: those of a thread lie from its first id's place on.
  int32_t* kept_ids_;
  Part* parts_;           // [threads]; from begin() on.
  float* likely_logits_;  // [threads, kLikelyRoom]
  int32_t* likely_ids_;
  Runs drawn_{};  // One of the two above.
  SampleAsk ask_;
  Way way_ = Way::kBest;
  bool changes_ = false;
  bool weighs_ = false;  // Sums of drawn_ are wanted.
  float inverse_ = 1;    // The inverse of the temperature.
  // kWithin, in units of the temperature: what may be drawn is no farther from the largest than
  // this, and than this less the logarithm of all weights beside it.
  float min_p_distance_ = 0, top_p_distance_ = 0;
  Best best_;  // The best of all threads; pick() sets it.
  float known_logit_ = 0;
};

template <class Again>
int32_t RowSampler::choose(Again&& again) {
  const Pick picked = pick();
  if (picked.run < 0) return picked.id;
  alignas(64) float logits[kSampleRun];
  const size_t first = static_cast<size_t>(picked.run) * kSampleRun,
               count = std::min(kSampleRun, vocab_ - first);
  again(first, count, logits);
  change(first, logits, count);
  return pick_in_run(logits, first, count, picked.left);
}

template <class Again>
float RowSampler::logit_of(int32_t id, Again&& again) const {
  alignas(64) float logits[kAgainStep];
  const size_t first = static_cast<size_t>(id) / kAgainStep * kAgainStep;
  again(first, std::min(kAgainStep, vocab_ - first), logits);
  return logits[static_cast<size_t>(id) - first];
}

}  // namespace altlas::ops
