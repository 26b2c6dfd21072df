#include "simulation/faulty_vfs.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/philox.h"
#include "journal/store.h"

namespace altlas::simulation {
namespace {

constexpr int kGroup = 3;  // The events of one append.

std::vector<journal::TaskEvent> group(uint64_t number) {
  std::vector<journal::TaskEvent> events;
  for (int i = 0; i < kGroup; ++i)
    events.push_back(
        {TaskId{1, number}, static_cast<TimeUs>(number),
         journal::TaskTokens{0, std::vector<int32_t>(20 + number % 300, static_cast<int32_t>(i))}});
  return events;
}

// The outcome of each append that was tried.
struct Tried {
  std::set<uint64_t> durable;    // Their append was answered ok.
  std::set<uint64_t> forgotten;  // Their forget() was answered ok.
  // forget() or append() failed, or the power went: all of it or nothing is there.
  std::set<uint64_t> open;
  uint64_t next = 1;
};

// Checks that every durable group is whole and in order, every other one whole or absent, and that
// nothing forgotten is there.
void check(journal::Store& store, const Tried& tried) {
  std::vector<uint64_t> numbers;
  const Result<void> read = store.replay([&](journal::TaskEvent event) -> Result<void> {
    numbers.push_back(event.task.low);
    return {};
  });
  ASSERT_TRUE(read.ok()) << read.error().message();
  std::set<uint64_t> found;
  uint64_t last = 0;
  ASSERT_EQ(numbers.size() % kGroup, 0u) << "an append is there by half";
  for (size_t i = 0; i < numbers.size(); i += kGroup) {
    ASSERT_LT(last, numbers[i]) << "order";
    last = numbers[i];
    for (size_t j = 1; j < kGroup; ++j)
      ASSERT_EQ(numbers[i + j], numbers[i]) << "an append is there by half";
    ASSERT_TRUE(tried.durable.contains(numbers[i]) || tried.open.contains(numbers[i]))
        << numbers[i];
    found.insert(numbers[i]);
  }
  for (const uint64_t number : tried.durable)
    ASSERT_TRUE(found.contains(number)) << "append " << number << " is lost";
}

struct Outcome {
  uint64_t hash = 0, errors = 0, power_losses = 0, appended = 0;
};

// Appends and forgets while the disk fails, reopens after each power loss, and checks each time.
Outcome run(uint64_t seed) {
  PhiloxStream random{seed};
  FaultyVfs disk(seed);
  Tried tried;
  DiskFaults faults;
  faults.read_error = 0.002;
  faults.write_error = 0.01;
  faults.sync_error = 0.02;
  for (int life = 0; life < 6; ++life) {
    disk.set_faults({});
    auto opened = journal::open_sqlite_store("journal", disk.name());
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    if (!opened.ok()) break;
    std::unique_ptr<journal::Store> store = std::move(opened).value();
    check(*store, tried);
    if (::testing::Test::HasFatalFailure()) break;
    disk.set_faults(faults);
    const uint64_t losses = disk.power_losses();
    disk.power_loss_after(1 + random.below(1500));
    while (disk.power_losses() == losses) {
      if (random.below(10) == 0 && !tried.durable.empty()) {
        const uint64_t number = *tried.durable.begin();
        tried.durable.erase(number);
        const TaskId id{1, number};
        if (store->forget(std::span(&id, 1)).ok())
          tried.forgotten.insert(number);
        else
          tried.open.insert(number);
        continue;
      }
      const uint64_t number = tried.next++;
      (store->append(group(number)).ok() ? tried.durable : tried.open).insert(number);
    }
  }
  return {disk.hash(), disk.errors(), disk.power_losses(), tried.next - 1};
}

// Goal: the journal keeps its promises on a disk that fails in every way. Method: 20 seeds of
// errors and power losses.
TEST(FaultyVfs, JournalSurvivesErrorsAndPowerLoss) {
  Outcome sum;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Outcome got = run(seed);
    if (::testing::Test::HasFailure()) return;
    sum.errors += got.errors;
    sum.power_losses += got.power_losses;
    sum.appended += got.appended;
  }
  EXPECT_GT(sum.errors, 150u);
  EXPECT_EQ(sum.power_losses, 120u);
  EXPECT_GT(sum.appended, 1500u);
}

TEST(FaultyVfs, SameSeedSameDisk) {
  EXPECT_EQ(run(3).hash, run(3).hash);
  EXPECT_NE(run(3).hash, run(4).hash);
}

// Goal: the disk really forgets; otherwise the test above would show nothing. Method: a store that
// believes it has synchronised, on a disk that says it did and lost power before.
TEST(FaultyVfs, UnsynchronisedWritesAreLost) {
  FaultyVfs disk(1);
  auto store = journal::open_sqlite_store("journal", disk.name()).value();
  ASSERT_TRUE(store->append(group(1)).ok());
  const uint64_t before = disk.hash();
  disk.power_loss();
  EXPECT_NE(disk.hash(), before);
  EXPECT_FALSE(store->append(group(2)).ok()) << "open files are dead";
  store.reset();
  store = journal::open_sqlite_store("journal", disk.name()).value();
  size_t events = 0;
  ASSERT_TRUE(store
                  ->replay([&](journal::TaskEvent) -> Result<void> {
                    ++events;
                    return {};
                  })
                  .ok());
  EXPECT_EQ(events, static_cast<size_t>(kGroup));
}

std::vector<uint64_t> numbers_in(journal::Store& store) {
  std::vector<uint64_t> numbers;
  const Result<void> read = store.replay([&](journal::TaskEvent event) -> Result<void> {
    numbers.push_back(event.task.low);
    return {};
  });
  EXPECT_TRUE(read.ok()) << read.error().message();
  return numbers;
}

// Goal: a commit is durable even after one whose synchronisation failed: if another process reads
// that one from the file, the next power loss must not take it. Method: an append fails in its last
// step, the process ends, another one reads what is there and commits, then the power goes.
TEST(FaultyVfs, ACommitBehindAFailedSynchronisationSurvivesPowerLoss) {
  int told_unsynchronised = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    FaultyVfs disk(seed);
    auto store = journal::open_sqlite_store("journal", disk.name()).value();
    ASSERT_TRUE(store->append(group(1)).ok());
    DiskFaults faults;
    faults.sync_error = 1;
    disk.set_faults(faults);
    ASSERT_FALSE(store->append(group(2)).ok());
    store.reset();
    disk.set_faults({});
    store = journal::open_sqlite_store("journal", disk.name()).value();
    std::vector<uint64_t> told = numbers_in(*store);
    told_unsynchronised += told.size() > static_cast<size_t>(kGroup);
    ASSERT_TRUE(store->append(group(3)).ok());
    told.insert(told.end(), kGroup, 3);
    disk.power_loss();
    store.reset();
    store = journal::open_sqlite_store("journal", disk.name()).value();
    EXPECT_EQ(numbers_in(*store), told);
  }
  EXPECT_GT(told_unsynchronised, 0);  // Otherwise this would show nothing.
}

TEST(FaultyVfs, FullDiskIsAnErrorThatPasses) {
  FaultyVfs disk(1);
  auto store = journal::open_sqlite_store("journal", disk.name()).value();
  DiskFaults faults;
  faults.bytes_max = 200'000;
  disk.set_faults(faults);
  Result<void> got;
  Tried tried;
  while (got.ok() && tried.next < 10'000) {
    got = store->append(group(tried.next));
    (got.ok() ? tried.durable : tried.open).insert(tried.next++);
  }
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kIo);
  EXPECT_LE(disk.bytes_used(), 200'000u);
  check(*store, tried);
  disk.set_faults({});
  ASSERT_TRUE(store->append(group(tried.next)).ok());
  tried.durable.insert(tried.next);
  check(*store, tried);
}

TEST(FaultyVfs, SecondConnectionIsKeptOut) {
  FaultyVfs disk(1);
  const auto store = journal::open_sqlite_store("journal", disk.name()).value();
  const auto second = journal::open_sqlite_store("journal", disk.name());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict) << second.error().message();
}

}  // namespace
}  // namespace altlas::simulation
