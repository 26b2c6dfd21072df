// Goal: a choice over the index is the one that a look at every device gives, and looks at few.
// Method: random devices with few different values, changed one by one; every strategy compared
// with the scan; the devices looked at are counted, for 100 and for 10,000 devices.
#include "scheduler/placement_index.h"

#include <gtest/gtest.h>

#include "scheduler/placement.h"
#include "scheduler/test_scan_placement.h"

namespace altlas::scheduler {
namespace {

class RandomDevices {
 public:
  explicit RandomDevices(uint64_t seed) : random_{.seed = seed} {
    vary_ = below(3);
    for (uint32_t i = 0, n = 1 + below(40); i < n; ++i) {
      devices_.push_back(device(DeviceId{static_cast<int32_t>(2 * i)}));
    }
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_.below(n)); }
  bool one_in(uint32_t n) { return below(n) == 0; }
  PlacementDevice device(DeviceId id) {
    PlacementDevice d;
    d.id = id;
    d.memory_total = 1000 * (1 + below(2));
    d.block_tokens = 16;
    d.block_bytes = 4;
    d.kv_blocks_total = 50;
    d.kv_blocks_free = 50;
    d.model_len_max = 512;
    if (vary_ == 0) return d;
    d.healthy = !one_in(8);
    d.replica_running = !one_in(8);
    d.temperature = one_in(8) ? 90 : -1;
    d.utilization = 10 * below(4);
    d.foreign_utilization = one_in(8) ? 99 : 0;
    d.memory_used = 100 * below(12);
    d.running = below(3);
    d.queued = below(2);
    d.tasks = below(4);
    d.tasks_max = below(4);
    d.kv_blocks_free = below(20);
    d.tokens_ahead = 100 * below(4);
    d.tokens_per_second = below(3);
    d.cached_prefix_tokens = one_in(3) ? 16 * below(4) : 0;
    if (vary_ == 1) return d;
    d.memory_fixed = 100 * below(12);
    d.memory_reserved = one_in(3) ? 100 * below(4) : 0;
    d.memory_growth = 100 * below(3);
    d.block_tokens = 8 * below(3);
    d.kv_blocks_total = 25 * below(3);
    d.model_len_max = 256 * below(3);
    return d;
  }
  PlacementRequest request(Strategy strategy) {
    PlacementRequest r;
    r.strategy = strategy;
    r.type = one_in(2) ? "mapped" : "other";
    if (one_in(6)) r.specific_device = DeviceId{static_cast<int32_t>(below(20))};
    r.estimated_memory = one_in(3) ? 100 * below(12) : 0;
    r.prompt_tokens = below(200);
    r.sequence_tokens = r.prompt_tokens + below(400);
    return r;
  }
  std::vector<PlacementDevice>& all() { return devices_; }

 private:
  PhiloxStream random_;
  uint32_t vary_ = 0;
  std::vector<PlacementDevice> devices_;
};

TEST(PlacementIndex, ChoosesWhatAScanChooses) {
  PlacementPolicy policy;
  policy.task_specific["mapped"] = {DeviceId{4}, DeviceId{0}, DeviceId{6}, DeviceId{90}};
  size_t placed = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    RandomDevices random(seed);
    PlacementIndex index = index_of(policy, random.all());
    PlacementCursor cursor{std::nullopt, {.seed = seed}};
    for (uint32_t step = 0; step < 40; ++step) {
      const auto strategy = static_cast<Strategy>(random.below(kStrategyCount));
      const PlacementRequest request = random.request(strategy);
      PlacementCursor other = cursor;
      const auto want = testing_support::scan(policy, random.all(), request, other);
      const auto got = choose(policy, index, request, cursor);
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " step " << step << " strategy "
                                        << static_cast<int>(strategy));
      ASSERT_EQ(got.ok(), want.ok());
      EXPECT_EQ(cursor.last, other.last);
      EXPECT_EQ(cursor.random.counter, other.random.counter);
      if (got.ok()) {
        ++placed;
        ASSERT_EQ(got->winner, want->winner);
        EXPECT_EQ(got->runner_up, want->runner_up);
        EXPECT_EQ(got->standing, want->standing);
        EXPECT_EQ(got->strategy, want->strategy);
        EXPECT_EQ(got->note.empty(), want->note.empty());
        ASSERT_EQ(got->rejected.size(), want->rejected.size());
        for (size_t i = 0; i < got->rejected.size(); ++i) {
          EXPECT_EQ(got->rejected[i].device, want->rejected[i].device);
          EXPECT_EQ(got->rejected[i].reason, want->rejected[i].reason);
        }
      } else {
        ++refused;
        EXPECT_EQ(got.error().code(), want.error().code());
      }
      const size_t which = random.below(static_cast<uint32_t>(random.all().size()));
      random.all()[which] = random.device(random.all()[which].id);
      index.set(which, random.all()[which], standing_of(policy, random.all()[which], {}));
    }
  }
  EXPECT_GT(placed, 1000u);
  EXPECT_GT(refused, 50u);
}

TEST(PlacementIndex, AChoiceLooksAtFewDevices) {
  for (const int32_t count : {100, 10'000}) {
    std::vector<PlacementDevice> devices;
    for (int32_t i = 0; i < count; ++i) {
      PlacementDevice d;
      d.id = DeviceId{i};
      d.memory_total = 1000;
      d.running = static_cast<uint32_t>(i % 3);
      d.utilization = i % 7;
      d.tokens_ahead = static_cast<uint64_t>(10 * (i % 5));
      d.healthy = i % 11 != 3;
      d.temperature = i % 9 == 4 ? 99 : 50;
      devices.push_back(d);
    }
    const PlacementIndex index = index_of(PlacementPolicy{}, devices);
    for (size_t i = 0; i < kStrategyCount; ++i) {
      PlacementCursor cursor{DeviceId{count / 2}, {.seed = 1}};
      const PlacementRequest request{.strategy = static_cast<Strategy>(i), .sequence_tokens = 8};
      const uint64_t before = index.looks();
      ASSERT_TRUE(choose(PlacementPolicy{}, index, request, cursor).ok());
      EXPECT_LE(index.looks() - before, 1200u) << count << " devices, strategy " << i;
    }
  }
}

}  // namespace
}  // namespace altlas::scheduler
