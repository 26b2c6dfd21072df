// Tests of models with recurrent layers: groups that keep one state per sequence beside KV blocks,
// or instead of them.
#include <gtest/gtest.h>

#include "base/philox.h"
#include "scheduler/test_batch.h"

namespace altlas::scheduler {
namespace {

constexpr kv::GroupKind kState = kv::GroupKind::kState;

// Returns the groups of models with recurrent layers, by name: with full and window attention
// beside them, and alone.
std::vector<std::pair<std::string, std::vector<kv::GroupSpec>>> models(uint32_t blocks,
                                                                       uint32_t states) {
  const kv::GroupSpec full{.blocks = blocks}, window{kv::GroupKind::kWindow, blocks, 10},
      state{kState, states, 0};
  return {{"recurrent", {state}},
          {"mixed", {full, state}},
          {"two recurrent", {state, full, state}},
          {"all kinds", {full, window, state}}};
}

// Goal: the text of a model with recurrent layers is that of an undisturbed run, whatever gives
// way, is computed again or comes back from host memory. Method: TestRanks draw tokens from the
// state that the plans led to; expected() computes them without any engine. Blocks or states are
// scarce.
TEST(BatchState, TextIsThatOfAnUndisturbedRun) {
  for (const auto& [name, groups] : models(16, 3)) {
    for (const uint32_t places : {0u, 40u}) {
      for (const size_t depth : {1, 2, 4}) {
        SCOPED_TRACE(::testing::Message() << name << " places " << places << " depth " << depth);
        BatchOptions o = options(0, 6, 16);
        o.kv.groups = groups;
        o.kv.swap_places = places;
        Bench bench(o, depth);
        for (uint64_t id = 1; id <= 6; ++id) {
          SequenceWork w = Bench::work(id, 6, 40, static_cast<int32_t>(id % 2 * 100));
          set_level(w, 1);
          bench.admit(std::move(w));
        }
        for (int i = 0; i < 10; ++i) ASSERT_TRUE(bench.step());
        // These have a higher level: they take states from those that run.
        for (uint64_t id = 7; id <= 12; ++id) bench.admit(Bench::work(id, 9, 30));
        bench.run();
        bench.expect_streams_right();
        const BatchCounters& counters = bench.scheduler.counters();
        EXPECT_EQ(bench.finished.size(), 12u);
        EXPECT_GT(counters.preemptions, 0u);
        EXPECT_EQ(counters.swapped_blocks > 0, places > 0);
        EXPECT_EQ(counters.cached_tokens, 0u) << "prefixes of a state are not shared";
        for (uint32_t g = 0; g < groups.size(); ++g)
          EXPECT_EQ(bench.scheduler.kv().pool(g).used_count(), 0u);
      }
    }
  }
}

// Goal: a task that goes on elsewhere, after tokens of an earlier run, says the same there.
TEST(BatchState, ResumesAfterGeneratedTokens) {
  for (const auto& [name, groups] : models(50, 4)) {
    SCOPED_TRACE(name);
    BatchOptions o = options(0, 4, 5);
    o.kv.groups = groups;
    Bench bench(o, 2);
    SequenceWork w = Bench::work(1, 9, 20);
    w.generated = bench.ranks.expected(w.prompt, w.sampling.seed, 7);
    bench.admit(w);
    bench.run();
    bench.expect_streams_right();
  }
}

// Goal: as many sequences run as there are states; the others wait, and no sequence gives way for
// them.
TEST(BatchState, EverySequenceThatRunsHasAState) {
  BatchOptions o = options(0, 8, 64);
  o.kv.groups = {{.blocks = 100}, {kState, 3, 0}};
  Bench bench(o);
  for (uint64_t id = 1; id <= 7; ++id) bench.admit(Bench::work(id, 5, 10));
  size_t most = 0;
  while (bench.step()) most = std::max(most, bench.scheduler.running());
  EXPECT_EQ(most, 3u);
  EXPECT_EQ(bench.scheduler.counters().preemptions, 0u);
  bench.expect_streams_right();
}

// Goal: nothing is guessed, since a state can't forget a wrong guess. Method: TestRanks abort on
// one.
TEST(BatchState, GuessesNothing) {
  BatchOptions o = options(0, 4);
  o.kv.groups = {{.blocks = 100}, {kState, 4, 0}};
  o.guesses_max = 6;
  for (const bool draft : {true, false}) {
    o.draft_model = draft;
    Bench bench(o, 1, /*vocabulary=*/2);
    for (uint64_t id = 1; id <= 4; ++id) bench.admit(Bench::work(id, 12, 30));
    bench.run();
    bench.expect_streams_right();
    EXPECT_EQ(bench.scheduler.counters().guessed_tokens, 0u);
  }
}

// Goal: a state goes to host memory where that is cheaper than computing its tokens again.
TEST(BatchState, SwapsWhereItPays) {
  const auto swapped = [](uint64_t state_ns) {
    BatchOptions o = options(0, 2, 64);
    o.kv = {.block_tokens = 4, .groups = {{kState, 1, 0}}, .swap_places = 8};
    o.swap_state_ns = state_ns;
    o.prefill_token_ns = 10;
    Bench bench(o);
    SequenceWork low = Bench::work(1, 20, 30);
    set_level(low, 1);
    bench.admit(std::move(low));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(bench.step());
    // Its level is higher: it takes the only state.
    bench.admit(Bench::work(2, 5, 5));
    bench.run();
    bench.expect_streams_right();
    EXPECT_EQ(bench.scheduler.counters().preemptions, 1u);
    return bench.scheduler.counters().swapped_blocks;
  };
  EXPECT_EQ(swapped(100), 1u) << "200 ns there and back, for 24 tokens of 10 ns";
  EXPECT_EQ(swapped(130), 0u);
}

// Goal: random loads keep every invariant and every stream.
TEST(BatchState, RandomLoads) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    PhiloxStream random{.seed = seed};
    BatchOptions o = options(0, static_cast<uint32_t>(1 + random.below(6)),
                             static_cast<uint32_t>(1 + random.below(40)));
    o.kv.groups = models(static_cast<uint32_t>(12 + random.below(20)),
                         static_cast<uint32_t>(1 + random.below(6)))[random.below(4)]
                      .second;
    o.kv.swap_places = static_cast<uint32_t>(random.below(30));
    o.swap_state_ns = random.below(9);
    o.swap_block_ns = random.below(4);
    o.prefill_token_ns = random.below(3);
    Bench bench(o, 1 + random.below(3));
    run_random_load(bench, random, /*beginnings=*/1);
  }
}

}  // namespace
}  // namespace altlas::scheduler
