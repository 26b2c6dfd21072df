// Tests of the batch's order of service: levels, age, and who gives way.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "scheduler/batch.h"
#include "scheduler/test_batch.h"

namespace altlas::scheduler {
namespace {

// Goal: a higher priority takes the slot of a lower one at once; equal priorities go by arrival.
TEST(Batch, PriorityThenArrival) {
  Bench bench(options(50, 1));
  auto low = Bench::work(1, 5, 20), normal = Bench::work(2, 5, 5, 100),
       high = Bench::work(3, 5, 5, 200);
  set_level(low, 2);
  set_level(normal, 1);
  set_level(high, 0);
  bench.admit(low);
  for (int i = 0; i < 3; ++i) bench.step();
  bench.admit(normal);
  bench.admit(high);
  auto later = Bench::work(4, 5, 5, 300);
  set_level(later, 1);
  bench.admit(later);
  bench.run();
  EXPECT_EQ(bench.finished, (std::vector<uint64_t>{3, 2, 4, 1}));
  EXPECT_EQ(bench.scheduler.counters().preemptions, 1u);
  bench.expect_streams_right();
}

// Goal: the last sequence of a lower level gives way, wherever it is in the order. Method: two
// slots with sequences of several levels and arrivals, and one more; the one that gave way ends
// after it, though its turn keeps it before later ones.
TEST(Batch, TheLowerLevelGivesWay) {
  struct One {
    uint8_t level;
    TimeUs arrived;
  };
  struct Case {
    const char* name;
    One running[2], comes;
    int gives_way;  // The index into `running`; -1: none.
  };
  const Case cases[] = {
      {"the last is of its own level", {{2, 0}, {1, 120}}, {1, 60}, 0},
      {"the last is lower", {{1, 0}, {2, 0}}, {0, 50}, 1},
      {"both are lower", {{2, 10}, {2, 0}}, {1, 60}, 0},
      {"one has waited longer", {{2, 0}, {1, 0}}, {1, 150}, -1},
      {"both are of its level", {{1, 40}, {1, 50}}, {1, 20}, -1},
      {"lower, but older by a level", {{2, 0}, {2, 5}}, {1, 110}, -1},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Bench bench(options(100, 2));
    for (uint64_t i = 0; i < 2; ++i) {
      auto work = Bench::work(i, 5, 30, static_cast<int32_t>(i) * 100);
      set_level(work, one.running[i].level, one.running[i].arrived);
      bench.admit(work);
    }
    for (int i = 0; i < 3; ++i) bench.step();
    auto work = Bench::work(2, 5, 30, 200);
    set_level(work, one.comes.level, one.comes.arrived);
    bench.admit(work);
    bench.run();
    EXPECT_EQ(bench.scheduler.counters().preemptions, one.gives_way >= 0 ? 1u : 0u);
    ASSERT_EQ(bench.finished.size(), 3u);
    EXPECT_EQ(bench.finished.back(), static_cast<uint64_t>(one.gives_way >= 0 ? one.gives_way : 2));
    bench.expect_streams_right();
  }
}

// Goal: nothing starves: under a steady load of higher levels, a sequence of a low level is served
// once it has waited for the age steps between them, whether it never ran or had to give way.
// Method: one slot that is never free of work, or two that lack blocks; arrivals of levels above,
// at several rates; with one slot, the arrivals of all that were served before the low one.
TEST(Batch, NoneStarves) {
  struct Case {
    uint8_t low, high;
    TimeUs every;  // The time between two arrivals.
    bool runs_first;
    uint32_t slots, blocks;
  };
  const Case cases[] = {{2, 0, 10, false, 1, 50}, {2, 0, 10, true, 1, 50}, {1, 0, 5, false, 1, 50},
                        {2, 1, 25, true, 1, 50},  {2, 0, 5, true, 2, 8},   {1, 0, 1, true, 3, 8}};
  for (const Case& one : cases) {
    Bench bench(options(one.blocks, one.slots));
    TimeUs now = 0;
    auto low = Bench::work(1, 5, 20);
    set_level(low, one.low, now);
    bench.admit(low);
    if (one.runs_first)
      for (int i = 0; i < 3; ++i) bench.step();
    uint64_t id = 1;
    std::map<uint64_t, TimeUs> came;
    const auto ended = [&](uint64_t which) {
      return std::ranges::find(bench.finished, which) != bench.finished.end();
    };
    for (int step = 0; step < 4000 && !ended(1); ++step) {
      while (bench.scheduler.waiting() < 3) {
        auto high = Bench::work(++id, 5, 3, 100);
        now += one.every;
        set_level(high, one.high, now);
        came[id] = now;
        bench.admit(high);
      }
      bench.step();
    }
    ASSERT_TRUE(ended(1)) << "it starved behind " << bench.finished.size() << " others";
    for (const uint64_t before : bench.finished) {
      if (before == 1 || one.slots > 1) break;
      EXPECT_LE(came[before], (one.low - one.high) * kAgeStep);
    }
    bench.run();
    bench.expect_streams_right();
  }
}

}  // namespace
}  // namespace altlas::scheduler
