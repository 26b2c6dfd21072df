// Goal: each strategy distributes as its name says, every rejection says why, and a device is
// always chosen. Method: tables of devices by hand; distributions over sequences of choices, as
// programs make them.
#include "scheduler/placement.h"

#include <gtest/gtest.h>

#include <map>

namespace altlas::scheduler {
namespace {

PlacementDevice device(int32_t id, uint64_t memory = 1000) {
  PlacementDevice d;
  d.id = DeviceId{id};
  d.memory_total = memory;
  d.block_tokens = 16;
  d.kv_blocks_total = d.kv_blocks_free = 100;
  d.model_len_max = 1024;
  return d;
}
std::vector<PlacementDevice> devices(int count) {
  std::vector<PlacementDevice> out;
  for (int i = 0; i < count; ++i) out.push_back(device(i));
  return out;
}
PlacementRequest request(Strategy strategy) {
  PlacementRequest r;
  r.strategy = strategy;
  r.type = "text_generation";
  r.prompt_tokens = 10;
  r.sequence_tokens = 100;
  return r;
}
Result<Placement> choose(const PlacementPolicy& policy, const std::vector<PlacementDevice>& d,
                         const PlacementRequest& r, PlacementCursor& cursor) {
  return scheduler::choose(policy, index_of(policy, d), r, cursor);
}
int32_t winner(const PlacementPolicy& policy, const std::vector<PlacementDevice>& d,
               const PlacementRequest& r, PlacementCursor& cursor) {
  const auto placed = choose(policy, d, r, cursor);
  return placed.ok() ? placed->winner.value : -1;
}

TEST(Placement, RoundRobinTakesTurnsAlsoWhenDevicesAreBusy) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  std::vector<int32_t> got;
  for (int i = 0; i < 5; ++i) {
    got.push_back(winner(policy, d, request(Strategy::kRoundRobin), cursor));
    d[got.back()].tasks_max = 1;
    d[got.back()].tasks += 1;
  }
  EXPECT_EQ(got, (std::vector<int32_t>{0, 1, 0, 1, 0}));
}

TEST(Placement, RoundRobinPassesOverTheUnhealthy) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(3);
  d[1].healthy = false;
  std::vector<int32_t> got;
  for (int i = 0; i < 4; ++i)
    got.push_back(winner(policy, d, request(Strategy::kRoundRobin), cursor));
  EXPECT_EQ(got, (std::vector<int32_t>{0, 2, 0, 2}));
  d[1].healthy = true;
  d[0].temperature = 90;
  EXPECT_EQ(winner(policy, d, request(Strategy::kRoundRobin), cursor), 1);
  EXPECT_EQ(winner(policy, d, request(Strategy::kRoundRobin), cursor), 2);
  EXPECT_EQ(winner(policy, d, request(Strategy::kRoundRobin), cursor), 1);
}

TEST(Placement, LeastLoadedCountsTasksThenUtilization) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(3);
  d[0].running = 2;
  d[1].queued = 1;
  d[2].running = 1;
  d[1].utilization = 50;
  d[2].utilization = 20;
  const auto placed = choose(policy, d, request(Strategy::kLeastLoaded), cursor);
  ASSERT_TRUE(placed.ok());
  EXPECT_EQ(placed->winner.value, 2);
  EXPECT_EQ(placed->runner_up->value, 1);
  EXPECT_NE(placed->reason.find("1 running"), std::string::npos) << placed->reason;
}

TEST(Placement, MemoryOptimizedTakesMostFreeThatFits) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(3);
  d[0].memory_used = 500;
  d[1].memory_used = 100;
  d[2].memory_used = 300;
  PlacementRequest r = request(Strategy::kMemoryOptimized);
  r.estimated_memory = 800;
  const auto placed = choose(policy, d, r, cursor);
  EXPECT_EQ(placed->winner.value, 1);
  EXPECT_EQ(placed->rejected.size(), 2u);  // The others have no room for it now.
  EXPECT_EQ(placed->rejected[0].reason, "memory: needs 800 bytes, 500 free");
}

TEST(Placement, TaskSpecificFollowsTheMapAndSaysWhenItCannot) {
  PlacementPolicy policy;
  policy.task_specific["image_segmentation"] = {DeviceId{1}};
  policy.task_specific["text_generation"] = {DeviceId{1}, DeviceId{2}};
  PlacementCursor cursor;
  auto d = devices(3);
  d[1].running = 5;
  PlacementRequest r = request(Strategy::kTaskSpecific);
  EXPECT_EQ(winner(policy, d, r, cursor), 2);
  r.type = "image_segmentation";
  EXPECT_EQ(winner(policy, d, r, cursor), 1);
  d[1].tasks = d[1].tasks_max = 1;  // Being busy is no reason to leave the mapping.
  EXPECT_EQ(winner(policy, d, r, cursor), 1);
  d[1].healthy = false;
  auto placed = choose(policy, d, r, cursor);
  EXPECT_EQ(placed->winner.value, 0);
  EXPECT_EQ(placed->strategy, Strategy::kLeastLoaded);
  EXPECT_NE(placed->note.find("no mapped device is ready for type 'image_segmentation'"),
            std::string::npos);
  r.type = "other";
  placed = choose(policy, d, r, cursor);
  EXPECT_NE(placed->note.find("no mapping for type 'other'"), std::string::npos);
}

TEST(Placement, RandomIsSeededAndEven) {
  PlacementPolicy policy;
  const auto d = devices(4);
  PlacementCursor a, b;
  a.random.seed = b.random.seed = 7;
  std::map<int32_t, int> counts;
  for (int i = 0; i < 4000; ++i) {
    const int32_t got = winner(policy, d, request(Strategy::kRandom), a);
    ASSERT_EQ(got, winner(policy, d, request(Strategy::kRandom), b));
    ++counts[got];
  }
  for (const auto& [id, count] : counts) EXPECT_NEAR(count, 1000, 120) << id;
  EXPECT_EQ(counts.size(), 4u);
}

TEST(Placement, PrefixAffinityHoldsTheLoadBound) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[1].cached_prefix_tokens = 64;
  d[1].running = 1;
  EXPECT_EQ(winner(policy, d, request(Strategy::kPrefixAffinity), cursor), 1);
  d[1].running = 10;  // The bound is 1.25 * 5 + 1.
  EXPECT_EQ(winner(policy, d, request(Strategy::kPrefixAffinity), cursor), 0);
}

TEST(Placement, EarliestFinishWeighsSpeed) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[0].tokens_ahead = 1000;
  d[0].tokens_per_second = 1000;
  d[1].tokens_ahead = 100;
  d[1].tokens_per_second = 10;
  EXPECT_EQ(winner(policy, d, request(Strategy::kEarliestFinish), cursor), 0);
}

TEST(Placement, EveryReasonForRejectionIsNamed) {
  PlacementPolicy policy;
  const PlacementRequest r = request(Strategy::kLeastLoaded);
  const auto reason = [&](auto&& change) {
    PlacementDevice d = device(0);
    change(d);
    return assess(policy, d, r);
  };
  EXPECT_EQ(reason([](auto&) {}).standing, Standing::kEligible);
  EXPECT_EQ(reason([](auto& d) { d.healthy = false; }).standing, Standing::kUnhealthy);
  EXPECT_EQ(reason([](auto& d) { d.temperature = 85.5; }).standing, Standing::kHot);
  EXPECT_EQ(reason([](auto& d) { d.temperature = 85; }).standing, Standing::kEligible);
  EXPECT_EQ(reason([](auto& d) { d.foreign_utilization = 96; }).standing, Standing::kHot);
  // The utilization of our own decoding never closes a device.
  EXPECT_EQ(reason([](auto& d) { d.utilization = 100; }).standing, Standing::kEligible);
  EXPECT_EQ(reason([](auto& d) { d.replica_running = false; }).standing, Standing::kDown);
  EXPECT_EQ(reason([](auto& d) { d.tasks = d.tasks_max = 3; }).reason, "tasks: 3 of at most 3");
  EXPECT_EQ(reason([](auto& d) { d.memory_used = 951; }).standing, Standing::kBusy);
  EXPECT_EQ(reason([](auto& d) { d.memory_used = 950; }).standing, Standing::kEligible);
  EXPECT_EQ(reason([](auto& d) { d.kv_blocks_free = 0; }).reason, "kv: needs 1 blocks, 0 free");
  EXPECT_EQ(reason([](auto& d) { d.model_len_max = 99; }).standing, Standing::kNever);
  EXPECT_EQ(reason([](auto& d) { d.kv_blocks_total = 6; }).standing, Standing::kNever);
}

TEST(Placement, ADeviceIsChosenAlsoWhenNoneIsEligible) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  for (size_t i = 0; i < kStrategyCount; ++i) {
    const PlacementRequest r = request(static_cast<Strategy>(i));
    auto d = devices(3);
    d[0].healthy = false;
    d[1].temperature = 99;
    d[2].tasks = d[2].tasks_max = 1;
    EXPECT_EQ(winner(policy, d, r, cursor), 2) << i;
    d[2].healthy = false;
    EXPECT_EQ(winner(policy, d, r, cursor), 1) << i;
    d[1].healthy = false;
    const auto placed = choose(policy, d, r, cursor);
    ASSERT_TRUE(placed.ok());
    EXPECT_EQ(placed->standing, Standing::kUnhealthy);
    EXPECT_EQ(placed->rejected.size(), 3u);
  }
}

TEST(Placement, SpecificDeviceIsHonouredOrRefusedWithTheIds) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[1].healthy = false;
  PlacementRequest r = request(Strategy::kRoundRobin);
  r.specific_device = DeviceId{1};
  EXPECT_EQ(winner(policy, d, r, cursor), 1);
  r.specific_device = DeviceId{7};
  const auto refused = choose(policy, d, r, cursor);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(refused.error().message().find("0, 1"), std::string::npos);
  EXPECT_EQ(refused.error().field(), "gpu_options.specific_gpu_id");
}

// Goal: the alternatives are what each strategy would have chosen without it, not the device that
// was asked for.
TEST(Placement, ASpecificDeviceHasTheAlternativesOfAllStrategies) {
  const PlacementPolicy policy;
  const PlacementCursor cursor{.last = DeviceId{0}};
  auto d = devices(3);
  d[0].running = d[1].running = 2;
  PlacementRequest r = request(Strategy::kLeastLoaded);
  r.specific_device = DeviceId{0};
  const auto others = alternatives(policy, index_of(policy, d), r, cursor, r.strategy);
  EXPECT_EQ(others.size(), kStrategyCount);
  for (const auto& [strategy, chosen] : others) {
    if (strategy == Strategy::kLeastLoaded) EXPECT_EQ(chosen, DeviceId{2});
    if (strategy == Strategy::kRoundRobin) EXPECT_EQ(chosen, DeviceId{1});
  }
}

// Goal: the reason says on which side of its bound a device's load is. Method: one device within
// it, one that has the prefix and is over it, and one that is over it alone.
TEST(Placement, PrefixAffinitySaysWhetherTheLoadIsWithinItsBound) {
  const PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[0].cached_prefix_tokens = 64;
  EXPECT_EQ(choose(policy, d, request(Strategy::kPrefixAffinity), cursor)->reason,
            "64 tokens of the prompt cached, load 0 within the bound of 1.0");
  d[0].running = 9;
  EXPECT_EQ(choose(policy, d, request(Strategy::kPrefixAffinity), cursor)->reason,
            "0 tokens of the prompt cached, load 0 within the bound of 6.6");
  d[1].healthy = false;
  EXPECT_EQ(choose(policy, d, request(Strategy::kPrefixAffinity), cursor)->reason,
            "64 tokens of the prompt cached, load 9 over the bound of 6.6");
}

TEST(Placement, RefusesWithNumbersOnlyWhatNoDeviceCouldEverTake) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[1].memory_total = 4000;
  PlacementRequest r = request(Strategy::kLeastLoaded);
  r.estimated_memory = 4000;
  EXPECT_EQ(winner(policy, d, r, cursor), 1);  // Device 0 can never hold it.
  r.estimated_memory = 4001;
  auto refused = choose(policy, d, r, cursor);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("4001"), std::string::npos);
  EXPECT_NE(refused.error().message().find("4000"), std::string::npos);
  r.estimated_memory = 0;
  r.sequence_tokens = 1025;
  refused = choose(policy, d, r, cursor);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("1025"), std::string::npos);
  EXPECT_NE(refused.error().message().find("1024"), std::string::npos);
}

TEST(Placement, AlternativesLeaveTheCursorAlone) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  const auto d = devices(2);
  const auto others = alternatives(policy, index_of(policy, d), request(Strategy::kLeastLoaded),
                                   cursor, Strategy::kLeastLoaded);
  EXPECT_EQ(others.size(), kStrategyCount - 1);
  EXPECT_FALSE(cursor.last.has_value());
  EXPECT_EQ(cursor.random.counter, 0u);
}

TEST(Placement, ADeviceTooSmallBesideItsWeightsIsTheLastChoiceAndNoRefusal) {
  PlacementPolicy policy;
  PlacementCursor cursor;
  auto d = devices(2);
  d[0].memory_fixed = d[0].memory_used = 600;
  d[0].block_bytes = 10;
  PlacementRequest r = request(Strategy::kLeastLoaded);  // It takes 7 blocks at its longest.
  r.estimated_memory = 330;
  EXPECT_EQ(assess(policy, d[0], r).standing, Standing::kEligible);
  r.estimated_memory = 331;
  const Assessment crowded = assess(policy, d[0], r);
  EXPECT_EQ(crowded.standing, Standing::kCrowded);
  EXPECT_NE(crowded.reason.find("needs 331 bytes and 70 of KV blocks"), std::string::npos);
  EXPECT_NE(crowded.reason.find("the device has 400"), std::string::npos);
  d[1].healthy = false;
  for (size_t i = 0; i < kStrategyCount; ++i) {
    r.strategy = static_cast<Strategy>(i);
    EXPECT_EQ(winner(policy, d, r, cursor), 1) << i;
  }
  d.pop_back();
  EXPECT_EQ(winner(policy, d, r, cursor), 0);  // The task queues there.
}

TEST(Placement, BesideReservationsTheWholeSequenceCounts) {
  PlacementPolicy policy;
  auto d = device(0);
  d.block_bytes = 10;
  d.memory_used = 700;
  d.memory_growth = 231;
  // It takes 1 block now, 7 at its longest.
  const PlacementRequest r = request(Strategy::kLeastLoaded);
  EXPECT_EQ(assess(policy, d, r).standing, Standing::kEligible);
  d.memory_reserved = 100;
  EXPECT_EQ(assess(policy, d, r).standing, Standing::kBusy);
  EXPECT_NE(assess(policy, d, r).reason.find("69 free beside 100 reserved"), std::string::npos);
  d.memory_growth = 230;
  EXPECT_EQ(assess(policy, d, r).standing, Standing::kEligible);
}

}  // namespace
}  // namespace altlas::scheduler
