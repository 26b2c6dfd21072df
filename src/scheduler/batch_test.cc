#include "scheduler/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/philox.h"
#include "scheduler/test_batch.h"

namespace altlas::scheduler {
namespace {

using ::testing::HasSubstr;

// Goal: a sequence's tokens do not depend on the batch, the chunk size, the steps in flight or the
// cache. Method: one load under every combination, compared with tokens computed without an engine.
TEST(Batch, TokensDoNotDependOnThePlan) {
  for (const size_t depth : {1, 2, 3}) {
    for (const uint32_t step_tokens : {1u, 5u, 32u, 512u}) {
      for (const bool caching : {true, false}) {
        SCOPED_TRACE(::testing::Message() << "depth " << depth << " step_tokens " << step_tokens
                                          << " cache " << caching);
        BatchOptions o = options(200, 4, step_tokens);
        o.kv.prefix_caching = caching;
        Bench bench(o, depth);
        for (uint64_t id = 1; id <= 9; ++id) {
          bench.admit(Bench::work(id, static_cast<uint32_t>(1 + id * 7 % 40),
                                  static_cast<int32_t>(1 + id * 5 % 17), id % 2 == 0 ? 0 : 50));
        }
        bench.run();
        bench.expect_streams_right();
        EXPECT_EQ(bench.finished.size(), 9u);
        EXPECT_EQ(bench.scheduler.kv().pool(0).used_count(), 0u);
      }
    }
  }
}

// Goal: when blocks run out, sequences give way and come back with the same tokens; none starves.
TEST(Batch, PreemptedSequencesGoOnAsIfNothingHappened) {
  for (const size_t depth : {1, 2, 4}) {
    BatchOptions o = options(14, 6);
    Bench bench(o, depth);
    for (uint64_t id = 1; id <= 12; ++id)
      bench.admit(Bench::work(id, 6, 40, static_cast<int32_t>(id * 100)));
    bench.run();
    bench.expect_streams_right();
    EXPECT_GT(bench.scheduler.counters().preemptions, 0u);
    EXPECT_EQ(bench.finished.front(), 1u) << "the first in order never gives way";
  }
}

// Goal: tokens that an earlier run generated are prefilled, and the stream goes on after them.
TEST(Batch, ResumesAfterGeneratedTokens) {
  Bench bench(options(50));
  SequenceWork w = Bench::work(1, 9, 20);
  w.generated = bench.ranks.expected(w.prompt, w.sampling.seed, 7);
  bench.admit(w);
  bench.run();
  bench.expect_streams_right();
  EXPECT_EQ(bench.scheduler.counters().generated_tokens, 13u);
}

// Goal: what can never fit is refused at once, with the numbers; so are a full queue and bad
// requests.
TEST(Batch, RefusesWithNumbers) {
  BatchOptions o = options(8);
  o.model_len_max = 30;
  o.waiting_max = 1;
  BatchScheduler scheduler(o);
  const auto long_one = scheduler.admit(Bench::work(1, 20, 11));
  ASSERT_FALSE(long_one.ok());
  EXPECT_EQ(long_one.error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(long_one.error().message(),
              HasSubstr("20 tokens + 11 to generate = 31; the model takes 30"));
  EXPECT_TRUE(scheduler.admit(Bench::work(2, 20, 10)).ok());
  EXPECT_EQ(scheduler.admit(Bench::work(3, 1, 1)).error().code(), ErrorCode::kBusy);
  EXPECT_EQ(scheduler.admit(Bench::work(2, 1, 1)).error().code(), ErrorCode::kConflict);
  EXPECT_EQ(scheduler.admit(Bench::work(4, 0, 1)).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(scheduler.admit(Bench::work(5, 1, 0)).error().code(), ErrorCode::kInvalid);

  o = options(8);
  BatchScheduler small(o);
  const auto big = small.admit(Bench::work(1, 20, 13));
  ASSERT_FALSE(big.ok());
  EXPECT_THAT(big.error().message(), HasSubstr("= 33; the KV cache holds 32"));
  EXPECT_TRUE(small.admit(Bench::work(2, 20, 12)).ok());
}

// Goal: a sequence as large as the whole pool runs, even if all of it is cached (there is no room
// for a copy then).
TEST(Batch, LargestSequenceFitsAloneAndAgain) {
  BatchOptions o = options(8);
  o.kv.groups.pop_back();
  Bench bench(o);
  bench.admit(Bench::work(1, 31, 1));
  bench.run();
  bench.admit(Bench::work(2, 28, 4));
  bench.admit(Bench::work(3, 31, 1));
  bench.run();
  bench.expect_streams_right();
  EXPECT_GT(bench.scheduler.counters().cached_tokens, 0u);
}

// Goal: a cancelled sequence is in no later plan and its blocks are free at once, whether it runs,
// waits or has a step in flight.
TEST(Batch, CancelsWithinOneStep) {
  Bench bench(options(50, 2), 2);
  for (uint64_t id = 1; id <= 3; ++id)
    bench.admit(Bench::work(id, 5, 30, static_cast<int32_t>(id * 100)));
  for (int i = 0; i < 4; ++i) bench.step();
  ASSERT_EQ(bench.scheduler.running(), 2u);
  const uint32_t used = bench.scheduler.kv().pool(0).used_count();
  EXPECT_TRUE(bench.scheduler.end(SequenceId{1}));
  EXPECT_LT(bench.scheduler.kv().pool(0).used_count(), used);
  EXPECT_FALSE(bench.scheduler.end(SequenceId{1}));
  const size_t tokens = bench.streams[1].size();
  bench.step();
  EXPECT_EQ(bench.last.ends, std::vector<int32_t>{0});
  for (const StepEntry& entry : bench.last.entries) EXPECT_NE(entry.slot, 0);
  EXPECT_TRUE(bench.scheduler.end(SequenceId{3}));
  bench.run();
  EXPECT_EQ(bench.streams[1].size(), tokens);
  EXPECT_TRUE(bench.streams[3].empty());
  bench.works.erase(1);
  bench.works.erase(3);
  bench.expect_streams_right();
}

// Goal: decode tokens go before chunks of prefill, which take the rest of the budget.
TEST(Batch, DecodeBeforePrefill) {
  Bench bench(options(100, 8, 16));
  bench.admit(Bench::work(1, 4, 30));
  bench.step();
  bench.admit(Bench::work(2, 100, 3, 500));
  for (int i = 0; i < 6; ++i) {
    bench.step();
    ASSERT_EQ(bench.last.entries.size(), 2u);
    EXPECT_EQ(bench.last.entries[0].tokens.size(), 1u);
    EXPECT_EQ(bench.last.entries[1].tokens.size(), 15u);
  }
  bench.run();
  bench.expect_streams_right();
}

// Goal: an equal prefix is computed once, and tokens are the same with and without the cache.
TEST(Batch, PrefixIsComputedOnce) {
  for (const bool caching : {true, false}) {
    BatchOptions o = options(100, 8, 64);
    o.kv.prefix_caching = caching;
    Bench bench(o);
    for (uint64_t id = 1; id <= 4; ++id) {
      bench.admit(Bench::work(id, 40, 4));
      bench.run();
    }
    bench.expect_streams_right();
    EXPECT_EQ(bench.scheduler.counters().cached_tokens, caching ? 3u * 39 : 0u)
        << "all but the last token";
    EXPECT_EQ(bench.scheduler.counters().prompt_tokens, caching ? 43u : 160u);
  }
}

// Goal: log-probabilities come once for every prompt token but the first, in order, despite chunks
// and preemption.
TEST(Batch, PromptLogprobsOnceEach) {
  for (const uint32_t blocks : {12u, 100u}) {
    Bench bench(options(blocks, 4, 7), 2);
    for (uint64_t id = 1; id <= 5; ++id) {
      auto w = Bench::work(id, 21, 20);
      w.sampling.prompt_logprobs = 2;
      if (id == 3) w.generated = bench.ranks.expected(w.prompt, w.sampling.seed, 5);
      bench.admit(w);
    }
    bench.run();
    bench.expect_streams_right();
    for (uint64_t id = 1; id <= 5; ++id) {
      const auto& prompt = bench.works[id].prompt;
      EXPECT_EQ(bench.prompt_logprobs[id], std::vector<int32_t>(prompt.begin() + 1, prompt.end()))
          << id;
    }
  }
}

// Goal: over a long random life every invariant holds after every step, the first in order moves
// on, and all tokens are right. Method: seeded arrivals, priorities, cancels, shared prefixes, few
// blocks; 10,000 steps for each depth.
TEST(Batch, RandomLife) {
  for (const size_t depth : {1, 2, 3}) {
    SCOPED_TRACE(depth);
    Bench bench(options(30, 5, 24), depth);
    PhiloxStream random{depth};
    uint64_t id = 0;
    uint64_t cancelled = 0;
    for (int i = 0; i < 10'000; ++i) {
      if (bench.scheduler.waiting() < 6 && random.below(8) == 0) {
        auto w = Bench::work(++id, static_cast<uint32_t>(1 + random.below(60)),
                             static_cast<int32_t>(1 + random.below(40)),
                             static_cast<int32_t>(random.below(3)) * 1000);
        set_level(w, static_cast<uint8_t>(random.below(3)), static_cast<TimeUs>(id * 7));
        w.sampling.prompt_logprobs = random.below(10) == 0;
        w.generated = bench.ranks.expected(w.prompt, w.sampling.seed,
                                           random.below(static_cast<uint64_t>(w.tokens_max)));
        bench.admit(w);
      }
      if (random.below(40) == 0 && id > 0) {
        const uint64_t victim = id - random.below(std::min<uint64_t>(id, 8));
        if (bench.scheduler.end(SequenceId{victim})) {
          ++cancelled;
          bench.works.erase(victim);
        }
      }
      bench.step();
    }
    bench.run();
    bench.expect_streams_right();
    EXPECT_GT(bench.finished.size(), 300u);
    EXPECT_GT(cancelled, 10u);
    EXPECT_GT(bench.scheduler.counters().preemptions, 50u);
    EXPECT_GT(bench.scheduler.counters().cached_tokens, 1000u);
    EXPECT_EQ(bench.finished.size() + cancelled, id);
  }
}

// Goal: the oldest sequence of the highest priority gets a token in every step once it has a slot,
// and gets a slot within two steps.
TEST(Batch, FirstInOrderAlwaysMovesOn) {
  Bench bench(options(20, 3, 8));
  PhiloxStream random{9};
  uint64_t id = 0;
  std::map<uint64_t, int32_t> slots;
  std::map<std::pair<uint8_t, uint64_t>, uint64_t> order;
  uint64_t stalled = 0;
  for (int i = 0; i < 5'000; ++i) {
    if (bench.scheduler.waiting() < 5) {
      auto w = Bench::work(++id, static_cast<uint32_t>(1 + random.below(40)),
                           static_cast<int32_t>(1 + random.below(30)));
      std::vector<int32_t> prompt = w.prompt.tokens();
      prompt[0] = static_cast<int32_t>(random.below(4));
      w.prompt = std::move(prompt);
      set_level(w, static_cast<uint8_t>(random.below(3)));
      order[{w.level, id}] = id;
      bench.admit(w);
    }
    ASSERT_TRUE(bench.step());
    while (!order.empty() &&
           std::ranges::find(bench.finished, order.begin()->second) != bench.finished.end())
      order.erase(order.begin());
    std::erase_if(order,
                  [&](const auto& o) { return !bench.scheduler.knows(SequenceId{o.second}); });
    ASSERT_FALSE(order.empty());
    const auto& first = bench.works.at(order.begin()->second);
    for (const SlotStart& start : bench.last.starts)
      slots[start.request->sampling.seed] = start.slot;
    const bool moved = slots.contains(first.id.value) &&
                       std::ranges::any_of(bench.last.entries, [&](const StepEntry& e) {
                         return e.slot == slots[first.id.value];
                       });
    stalled = moved || bench.streams[first.id.value].empty() ? 0 : stalled + 1;
    // If another sequence's end in this step made it the first, it moves in the next step, or in
    // the one after.
    ASSERT_LE(stalled, 2u) << "step " << i;
  }
}

// Goal: the same calls give the same state. Method: hashes of two runs after every step.
TEST(Batch, StateIsAFunctionOfTheCalls) {
  Bench a(options(20, 3, 8)), b(options(20, 3, 8));
  for (Bench* bench : {&a, &b}) {
    for (uint64_t id = 1; id <= 6; ++id) bench->admit(Bench::work(id, 12, 9));
  }
  const uint64_t begin = a.scheduler.hash();
  bool more = true;
  while (more) {
    more = a.step();
    b.step();
    ASSERT_EQ(a.scheduler.hash(), b.scheduler.hash());
  }
  EXPECT_NE(a.scheduler.hash(), begin);
}

// Goal: guesses, from the text or from a draft model, change nothing but the number of steps.
// Method: a vocabulary of 3 tokens, so that text repeats by chance; every depth, chunk size,
// pressure on blocks, cache and swap.
TEST(Batch, GuessesChangeNothingButTheSteps) {
  for (const bool draft_model : {false, true}) {
    for (const uint32_t blocks : {200u, 16u}) {
      for (const size_t depth : {1, 2}) {
        for (const uint32_t swap_places : {0u, 30u}) {
          SCOPED_TRACE(::testing::Message() << "draft model " << draft_model << " blocks " << blocks
                                            << " depth " << depth << " swap " << swap_places);
          BatchOptions o = options(blocks, 4);
          o.draft_model = draft_model;
          o.kv.swap_places = swap_places;
          uint64_t steps[2] = {};
          for (const uint32_t guesses : {0u, 6u}) {
            o.guesses_max = guesses;
            Bench bench(o, depth, draft_model ? 1000 : 3);
            for (uint64_t id = 1; id <= 9; ++id)
              bench.admit(Bench::work(id, static_cast<uint32_t>(1 + id * 7 % 20), 30, 50));
            bench.run();
            bench.expect_streams_right();
            EXPECT_EQ(bench.finished.size(), 9u);
            EXPECT_EQ(bench.scheduler.kv().pool(0).used_count(), 0u);
            const BatchCounters& counters = bench.scheduler.counters();
            steps[guesses > 0 ? 1 : 0] = counters.steps;
            if (depth == 1) EXPECT_EQ(counters.right_guesses > 0, guesses > 0);
            EXPECT_LE(counters.right_guesses, counters.guessed_tokens);
            EXPECT_EQ(counters.generated_tokens, 9u * 30);
          }
          if (depth == 1) EXPECT_LT(steps[1], steps[0]);
        }
      }
    }
  }
}

// Goal: guesses take what is left over: there are none while a prompt fills the step, and none for
// grammars.
TEST(Batch, GuessesTakeWhatIsLeft) {
  BatchOptions o = options(200, 4, 16);
  o.guesses_max = 8;
  o.draft_model = true;
  Bench bench(o);
  bench.admit(Bench::work(1, 4, 60));
  bench.step();
  bench.step();
  EXPECT_EQ(bench.last.entries.at(0).guesses, 4u);
  bench.admit(Bench::work(2, 40, 60, 300));
  bench.step();
  EXPECT_EQ(bench.last.tokens(), 16u);
  EXPECT_EQ(bench.last.entries.at(0).guesses, 0u) << "the prompt takes the step";
  bench.run();
  bench.expect_streams_right();

  Bench grammar(o);
  SequenceWork work = Bench::work(1, 4, 20);
  work.sampling.grammar = {GrammarKind::kRegex, "a*"};
  grammar.admit(work);
  grammar.run();
  EXPECT_EQ(grammar.scheduler.counters().guessed_tokens, 0u);
}

// Goal: with room in host memory, a sequence that gives way is not computed again, and says the
// same; if computing is cheaper, or there is no room, it is computed again.
TEST(Batch, SwapsWhatGivesWay) {
  for (const size_t depth : {1, 2, 4}) {
    for (const bool caching : {true, false}) {
      SCOPED_TRACE(::testing::Message() << "depth " << depth << " cache " << caching);
      BatchOptions o = options(14, 6);
      o.kv.prefix_caching = caching;
      const auto run = [&](uint32_t places, uint64_t swap_ns, uint64_t token_ns) {
        o.kv.swap_places = places;
        o.swap_block_ns = swap_ns;
        o.prefill_token_ns = token_ns;
        Bench bench(o, depth);
        for (uint64_t id = 1; id <= 12; ++id)
          bench.admit(Bench::work(id, 6, 40, static_cast<int32_t>(id * 100)));
        bench.run();
        bench.expect_streams_right();
        EXPECT_GT(bench.scheduler.counters().preemptions, 0u);
        EXPECT_EQ(bench.scheduler.kv().swap().free_count(0), places) << "every place is free again";
        return bench.scheduler.counters();
      };
      const BatchCounters again = run(0, 0, 0);
      EXPECT_EQ(again.swapped_blocks, 0u);
      const BatchCounters swapped = run(100, 0, 0);
      EXPECT_GT(swapped.swapped_blocks, 0u);
      EXPECT_EQ(swapped.prompt_tokens, 12u * 6) << "no prompt is computed twice";
      EXPECT_EQ(run(100, 1'000'000, 1).swapped_blocks, 0u) << "dear copies";
      const BatchCounters some = run(4, 0, 0);
      EXPECT_LT(some.swapped_blocks, swapped.swapped_blocks);
    }
  }
}

// Goal: a sequence that ends while it waits with KV in host memory gives its places back.
TEST(Batch, EndedSequencesGiveHostPlacesBack) {
  BatchOptions o = options(14, 6);
  o.kv.swap_places = 50;
  Bench bench(o);
  for (uint64_t id = 1; id <= 8; ++id)
    bench.admit(Bench::work(id, 6, 40, static_cast<int32_t>(id * 100)));
  while (bench.scheduler.kv().swap().free_count(0) == 50) ASSERT_TRUE(bench.step());
  for (uint64_t id = 1; id <= 8; ++id) EXPECT_TRUE(bench.scheduler.end(SequenceId{id}));
  bench.scheduler.check_integrity();
  bench.works.clear();
  bench.admit(Bench::work(20, 6, 4));
  bench.run();
  EXPECT_EQ(bench.scheduler.kv().swap().free_count(0), 50u);
  EXPECT_EQ(bench.scheduler.kv().pool(0).used_count(), 0u);
}

// Goal: random loads with guesses, swap, priorities, cancels and logprobs keep every invariant and
// every stream. Method: TestRanks abort on any KV value that is missing.
TEST(Batch, GuessesAndSwapUnderRandomLoads) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    PhiloxStream random{.seed = seed};
    BatchOptions o = options(static_cast<uint32_t>(12 + random.below(20)),
                             static_cast<uint32_t>(1 + random.below(6)),
                             static_cast<uint32_t>(1 + random.below(40)));
    o.kv.prefix_caching = random.below(2) == 0;
    o.kv.swap_places = static_cast<uint32_t>(random.below(30));
    o.guesses_max = static_cast<uint32_t>(random.below(9));
    o.draft_model = random.below(2) == 0;
    o.swap_block_ns = random.below(4);
    o.prefill_token_ns = random.below(3);
    Bench bench(o, 1 + random.below(3), static_cast<int32_t>(2 + random.below(8)));
    run_random_load(bench, random, /*beginnings=*/2);
  }
}

}  // namespace
}  // namespace altlas::scheduler
