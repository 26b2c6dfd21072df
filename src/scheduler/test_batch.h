// Bench: a BatchScheduler and pretended ranks, for tests.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "scheduler/batch.h"
#include "scheduler/test_ranks.h"

namespace altlas::scheduler {

inline BatchOptions options(uint32_t blocks, uint32_t slots = 8, uint32_t step_tokens = 32) {
  return {.sequences_max = slots,
          .step_tokens_max = step_tokens,
          .model_len_max = 0,
          .waiting_max = 1000,
          .cache_salt = 1,
          .kv = {.block_tokens = 4,
                 .groups = {{.blocks = blocks}, {kv::GroupKind::kWindow, blocks, 10}}}};
}

// A scheduler and pretended ranks with up to `depth` steps in flight.
class Bench {
 public:
  explicit Bench(BatchOptions o, size_t depth = 1, int32_t vocabulary = 1000)
      : scheduler(o),
        ranks(o.sequences_max, o.kv.block_tokens, o.kv.groups, vocabulary),
        depth_(depth),
        step_tokens_(o.step_tokens_max) {}

  static SequenceWork work(uint64_t id, uint32_t prompt_tokens, int32_t tokens_max,
                           int32_t first = 0) {
    SequenceWork w;
    w.id = SequenceId{id};
    for (uint32_t i = 0; i < prompt_tokens; ++i)
      w.prompt.push_back(first + static_cast<int32_t>(i));
    w.tokens_max = tokens_max;
    w.sampling.seed = id;
    return w;
  }
  void admit(SequenceWork w) {
    ASSERT_TRUE(scheduler.admit(w).ok());
    streams[w.id.value] = w.generated;
    works[w.id.value] = std::move(w);
  }
  // Plans one step, and commits the oldest when `depth` are in flight or nothing could be planned.
  // False when idle.
  bool step() {
    last = scheduler.plan();
    const bool idle = last.empty();
    if (!idle) {
      EXPECT_LE(last.tokens(), step_tokens_);
      flying_.push_back(last);
    } else if (flying_.empty()) {
      return false;
    }
    if (idle || flying_.size() >= depth_) commit();
    scheduler.check_integrity();
    return true;
  }
  void commit() {
    const StepPlan plan = std::move(flying_.front());
    flying_.pop_front();
    for (const SampledSequence& s : scheduler.commit(ranks.run(plan))) {
      for (const auto& logprob : s.prompt_logprobs)
        prompt_logprobs[s.sequence.value].push_back(logprob.id);
      if (s.tokens.empty()) continue;
      auto& stream = streams.at(s.sequence.value);
      stream.insert(stream.end(), s.tokens.begin(), s.tokens.end());
      if (stream.size() == static_cast<size_t>(works.at(s.sequence.value).tokens_max))
        finish(s.sequence.value);
    }
  }
  void finish(uint64_t id) {
    EXPECT_TRUE(scheduler.end(SequenceId{id}));
    finished.push_back(id);
  }
  void run(int steps_max = 100'000) {
    while (step()) ASSERT_GT(--steps_max, 0) << "no end in sight";
  }
  void expect_streams_right() {
    for (const auto& [id, w] : works) {
      EXPECT_EQ(streams[id], ranks.expected(TestRanks::with_payloads(w.prompt), w.sampling.seed,
                                            static_cast<size_t>(w.tokens_max)))
          << "sequence " << id;
    }
  }

  BatchScheduler scheduler;
  TestRanks ranks;
  std::map<uint64_t, SequenceWork> works;
  std::map<uint64_t, std::vector<int32_t>> streams;
  std::map<uint64_t, std::vector<int32_t>> prompt_logprobs;
  std::vector<uint64_t> finished;
  StepPlan last;

 private:
  const size_t depth_;
  const uint32_t step_tokens_;
  std::deque<StepPlan> flying_;
};

// As the queue before a replica gives turns: a level counts as so much later.
constexpr TimeUs kAgeStep = 100;
inline void set_level(SequenceWork& work, uint8_t level, TimeUs arrived = 0) {
  work.level = level;
  work.turn = arrived + level * kAgeStep;
}

// Runs 150 events: sequences come, of several levels and with `beginnings` different starts of
// their prompts, some are ended, steps are made; then all run to their end. Expects every stream to
// be right.
inline void run_random_load(Bench& bench, PhiloxStream& random, uint64_t beginnings) {
  uint64_t next = 1;
  for (int event = 0; event < 150; ++event) {
    const uint64_t what = random.below(10);
    if (what < 2 && next < 30) {
      const auto prompt_tokens = static_cast<uint32_t>(1 + random.below(20));
      const auto tokens_max = static_cast<int32_t>(1 + random.below(20));
      const auto first = static_cast<int32_t>(random.below(beginnings) * 30);
      SequenceWork w = Bench::work(next++, prompt_tokens, tokens_max, first);
      set_level(w, static_cast<uint8_t>(random.below(3)), static_cast<TimeUs>(next * 7));
      w.sampling.prompt_logprobs = random.below(5) == 0;
      if (random.below(3) == 0)  // Among them the same payload at the same place.
        w.prompt.add_payload(random.below(2) == 0 ? "cat" : "dog", 5);
      bench.admit(w);
    } else if (what == 2 && next > 1) {
      const uint64_t id = 1 + random.below(next - 1);
      if (bench.scheduler.end(SequenceId{id})) bench.works.erase(id);
    } else {
      bench.step();
    }
  }
  bench.run();
  bench.expect_streams_right();
}

}  // namespace altlas::scheduler
