// Micro batches: what a batch planner does for a pipeline of stages.
#include <gtest/gtest.h>

#include <algorithm>

#include "scheduler/batch.h"
#include "scheduler/test_batch.h"

namespace altlas::scheduler {
namespace {

// Goal: with any number of micro batches, guesses, few blocks or swap, streams are the same, and no
// step names a token that is not known yet: a stage does not see what the last one samples.
TEST(Pipeline, EveryTokenIsKnownWhenItIsPlanned) {
  for (const uint32_t micro_batches : {2u, 3u, 4u})
    for (const size_t depth : {1, 2, 4})
      for (const uint32_t blocks : {200u, 16u})
        for (const uint32_t guesses : {0u, 5u}) {
          SCOPED_TRACE(::testing::Message() << micro_batches << " micro batches, depth " << depth
                                            << ", " << blocks << " blocks, " << guesses);
          BatchOptions o = options(blocks, 6);
          o.micro_batches = micro_batches;
          o.guesses_max = guesses;
          o.kv.swap_places = blocks == 16 ? 30 : 0;
          Bench bench(o, depth, 3);
          for (uint64_t id = 1; id <= 9; ++id)
            bench.admit(Bench::work(id, static_cast<uint32_t>(1 + id * 7 % 20), 30, 50));
          int steps = 100'000;
          while (bench.step()) {
            ASSERT_GT(--steps, 0) << "no end in sight";
            for (const StepEntry& entry : bench.last.entries)
              EXPECT_EQ(std::ranges::count(entry.tokens, kTokenPending), 0);
          }
          bench.expect_streams_right();
          EXPECT_EQ(bench.finished.size(), 9u);
          EXPECT_EQ(bench.scheduler.kv().pool(0).used_count(), 0u);
        }
}

// Goal: sequences that decode are shared out, so that every stage has a step to work at; with fewer
// of them than micro batches a step has one.
TEST(Pipeline, StepsShareWhatDecodes) {
  struct Row {
    uint32_t micro_batches, sequences, each;
  };
  for (const Row& row : {Row{2, 8, 4}, Row{4, 8, 2}, Row{3, 8, 3}, Row{4, 2, 1}, Row{2, 7, 4}}) {
    BatchOptions o = options(400, 8, 512);
    o.micro_batches = row.micro_batches;
    Bench bench(o, row.micro_batches);
    for (uint64_t id = 1; id <= row.sequences; ++id) bench.admit(Bench::work(id, 3, 40));
    for (uint32_t i = 0; i < 3 * row.micro_batches; ++i) bench.step();  // Prompts are computed.
    uint32_t planned = 0;
    for (uint32_t i = 0; i < 4 * row.micro_batches; ++i) {
      bench.step();
      EXPECT_LE(bench.last.entries.size(), row.each);
      planned += static_cast<uint32_t>(bench.last.entries.size());
    }
    EXPECT_GE(planned, 3 * row.sequences) << "the pipeline is kept full";
    bench.run();
    bench.expect_streams_right();
  }
}

}  // namespace
}  // namespace altlas::scheduler
