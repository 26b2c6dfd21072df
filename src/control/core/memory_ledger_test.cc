// Goal: a device's used bytes are the sum of what its holders hold, and the last one gives up
// first.
#include "control/core/memory_ledger.h"

#include "control/core/core_parts_test.h"

namespace altlas::control {
namespace {

constexpr DeviceId kFirst{0}, kOther{1};

struct Ledger {
  Ledger() {
    changed.resize(2);
    ledger.add_device(1000);
    ledger.add_device(500);
    ledger.add_slot({kFirst, kOther});
    ledger.add_slot({kFirst});
    changed.take();
  }
  MemoryLedger* operator->() { return &ledger; }
  ChangeSet changed;
  MemoryLedger ledger{changed};
};

TEST(MemoryLedger, CountsWhatReplicasHoldOnEachOfTheirDevices) {
  Ledger one;
  one->hold(0, 0, {.fixed = 100, .kv_used = 20, .kv_growth = 10});
  one->hold(0, 1, {.fixed = 60, .kv_used = 40, .kv_growth = 30});
  one->hold(1, 0, {.fixed = 50});
  EXPECT_EQ(one->used(kFirst), 170u);
  EXPECT_EQ(one->used(kOther), 100u);
  EXPECT_EQ(one->fixed(kFirst), 150u);
  EXPECT_EQ(one->growth(kOther), 30u);
  EXPECT_EQ(one.changed.take().size(), 2u);
  // The same figures change nothing.
  one->hold(0, 1, {.fixed = 60, .kv_used = 40, .kv_growth = 30});
  EXPECT_TRUE(one.changed.empty());
  one->hold(0, 1, {});
  EXPECT_EQ(one->used(kOther), 0u);
  EXPECT_EQ(one->used(kFirst), 170u);
  one->check_integrity();
}

TEST(MemoryLedger, TheLastPromiseIsGivenUpFirst) {
  Ledger one;
  one->hold(1, 0, {.fixed = 300});
  one->promise(kFirst, 4, {.bytes = 300});
  one->promise(kFirst, 9, {.bytes = 300});
  EXPECT_TRUE(one->has_room(kFirst, 100));
  EXPECT_FALSE(one->has_room(kFirst, 101));
  EXPECT_FALSE(one->next_to_give_up(kFirst));
  one->keep_for_run(kFirst, 9);
  EXPECT_EQ(one->reserved_by_runs(kFirst), 300u);
  one->hold(1, 0, {.fixed = 500});
  EXPECT_EQ(one->next_to_give_up(kFirst), 4u);
  one->release(kFirst, 4, 300);
  EXPECT_FALSE(one->next_to_give_up(kFirst));
  one->promise_again(kFirst, 9, {.bytes = 300});
  EXPECT_EQ(one->reserved(kFirst), 300u);
  EXPECT_EQ(one->reserved_by_runs(kFirst), 0u);
  one->check_integrity();
  one->release(kFirst, 9, 300);
  EXPECT_EQ(one->reserved(kFirst), 0u);
}

TEST(MemoryLedger, IsSaved) {
  Ledger one;
  one->promise(kOther, 4, {.bytes = 30, .site = 1, .sequence_tokens = 9});
  one->promise(kFirst, 5, {.bytes = 70});
  one->keep_for_run(kFirst, 5);
  struct Handle {
    MemoryLedger* operator->() { return &made->ledger; }
    std::shared_ptr<Ledger> made = std::make_shared<Ledger>();
  };
  expect_saved(one.ledger, [] { return Handle(); });
}

}  // namespace
}  // namespace altlas::control
