// Goal: a log replays to the same state; damage is reported, or ends the log. Method: the events of
// a core under load are logged.
#include "control/event_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

std::string path_of(const char* name) {
  return (std::filesystem::path(::testing::TempDir()) / name).string();
}

// Runs a few tasks through a core, and logs each event before its step. Returns the core's hash.
uint64_t run_logged(EventLog& log, const CoreSetup& setup) {
  CoreHarness h(setup);
  h.before_step = [&](const Event& event) { log.append(h.now, event); };
  h.start();
  for (int i = 0; i < 20; ++i) {
    TaskSpec spec = h.spec();
    spec.strategy = i % 2 == 0 ? Strategy::kRandom : Strategy::kRoundRobin;
    spec.sampling.stop = {"end"};
    spec.sampling.logit_bias = {{3, -1.0f}};
    spec.deadline = i % 3 == 0 ? std::optional(h.now + 5 * kSecond) : std::nullopt;
    h.submit({spec});
    h.advance(10 * kMillisecond);
    if (i % 4 == 3) h.tokens(h.runs.back(), 0, {1, 2});
    if (i == 10) h.step(WorkerLost{{h.runs.back().replica}, "killed by signal 9"});
  }
  h.advance(10 * kSecond);
  log.flush();
  return h.core.hash();
}

TEST(EventLog, SetupsSurviveTheirEncoding) {
  CoreSetup setup = test_setup(2);
  setup.task_specific = {{"image_segmentation", {DeviceId{1}}}};
  setup.priority_levels = {Priority::kLow, Priority::kHigh};
  const auto decoded = decode_setup(encode(setup));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(encode(*decoded), encode(setup));
}

TEST(EventLog, ReplaysToTheSameHash) {
  const std::string path = path_of("replay.events");
  const CoreSetup setup = test_setup(3);
  auto log = EventLog::open({.path = path}, setup);
  ASSERT_TRUE(log.ok());
  const uint64_t hash = run_logged(**log, setup);
  const auto replayed = replay_event_log(path);
  ASSERT_TRUE(replayed.ok()) << replayed.error().message();
  EXPECT_EQ(replayed->hash, hash);
  EXPECT_EQ(replayed->events, (*log)->appended());
  // Another run of the same has the same event hash.
  auto second = EventLog::open({}, setup);
  run_logged(**second, setup);
  EXPECT_EQ((*log)->hash(), (*second)->hash());
  uint64_t seen = 0;
  ASSERT_TRUE((*second)->visit_ring([&](LoggedEvent) { ++seen; }).ok());
  EXPECT_EQ(seen, (*second)->appended());
}

TEST(EventLog, ACutFileEndsEarlyACorruptOneIsRefused) {
  const std::string path = path_of("cut.events");
  const CoreSetup setup = test_setup(2);
  {
    auto log = EventLog::open({.path = path}, setup);
    run_logged(**log, setup);
  }
  const auto count = [&] {
    int events = 0;
    const auto read = read_event_log(path, [&](LoggedEvent) { ++events; });
    return read.ok() ? events : -1;
  };
  const int all = count();
  ASSERT_GT(all, 20);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  EXPECT_EQ(count(), all - 1);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path) / 2));
    file.put('\x5a').put('\xa5').put('\x33');
  }
  EXPECT_EQ(count(), -1);
}

TEST(EventLog, StopsAtItsLimitAndKeepsTheStart) {
  const std::string path = path_of("full.events");
  const CoreSetup setup = test_setup(1);
  auto log = EventLog::open({.path = path, .file_bytes_max = 4000, .ring_bytes_max = 1000}, setup);
  run_logged(**log, setup);
  EXPECT_GT((*log)->dropped(), 0u);
  EXPECT_LE(std::filesystem::file_size(path), 4000u);
  EXPECT_TRUE(replay_event_log(path).ok());
}

// Runs many tasks through a core whose log is small. Returns the core's hash.
uint64_t run_rotating(EventLog& log, CoreHarness& h, int tasks) {
  h.before_step = [&](const Event& event) { log.append(h.now, event); };
  h.after_step = [&] {
    if (log.wants_snapshot()) EXPECT_TRUE(log.rotate(h.core).ok());
  };
  h.start();
  for (int i = 0; i < tasks; ++i) {
    h.one(h.spec());
    h.advance(kSecond);
    h.tokens(h.runs.back(), 0, {1, 2, 3});
    if (i % 3 != 0) h.finish(h.runs.back());
    h.alive();
  }
  log.flush();
  return h.core.hash();
}

constexpr uint64_t kSmallLog = 350'000;

// Goal: a log that was full many times stays within its limit, loses no event, and replays to the
// live core from its newest snapshot.
TEST(EventLog, RotatesWithinItsBoundAndReplaysFromTheNewestSnapshot) {
  const std::string path = path_of("rotating.events");
  const CoreSetup setup = test_setup(3);
  auto log = EventLog::open({.path = path, .file_bytes_max = kSmallLog}, setup);
  CoreHarness h(setup);
  const uint64_t hash = run_rotating(**log, h, 300);
  EXPECT_GT((*log)->rotations(), 2u);
  EXPECT_EQ((*log)->dropped(), 0u);
  EXPECT_LE(std::filesystem::file_size(path) + std::filesystem::file_size(path + ".1"), kSmallLog);
  const auto replayed = replay_event_log(path);
  ASSERT_TRUE(replayed.ok()) << replayed.error().message();
  EXPECT_EQ(replayed->hash, hash);
  EXPECT_LT(replayed->events, (*log)->appended());
  EXPECT_EQ(replayed->damage, "");
}

// Goal: a damaged snapshot is reported, and the older one is used. Method: bytes of the newest
// snapshot are changed, one place after another.
TEST(EventLog, ADamagedSnapshotIsSaidAndTheOlderOneUsed) {
  const std::string path = path_of("damaged.events");
  const CoreSetup setup = test_setup(3);
  auto log = EventLog::open({.path = path, .file_bytes_max = kSmallLog}, setup);
  CoreHarness h(setup);
  run_rotating(**log, h, 300);
  for (const int part : {1, 2, 3}) {
    const auto at = static_cast<std::streamoff>(encode(setup).size() + 200 * part);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put('\x5a').put('\xa5').put('\x33');
    file.close();
    const auto replayed = replay_event_log(path);
    ASSERT_TRUE(replayed.ok()) << replayed.error().message();
    EXPECT_EQ(replayed->path, path + ".1");
    EXPECT_NE(replayed->damage, "");
    EXPECT_GT(replayed->events, 0u);
  }
  std::filesystem::remove(path + ".1");
  EXPECT_FALSE(replay_event_log(path).ok());
}

TEST(EventLog, ASnapshotThatLeavesNoRoomIsSaidAndTriedAgain) {
  const std::string path = path_of("tight.events");
  const CoreSetup setup = test_setup(3);
  auto log = EventLog::open({.path = path, .file_bytes_max = 6000}, setup);
  CoreHarness h(setup);
  int refused = 0;
  h.before_step = [&](const Event& event) { (*log)->append(h.now, event); };
  h.after_step = [&] {
    if (!(*log)->wants_snapshot()) return;
    const auto rotated = (*log)->rotate(h.core);
    EXPECT_EQ(rotated.error().code(), ErrorCode::kTooLarge);
    ++refused;
  };
  h.start();
  for (int i = 0; i < 30; ++i) h.one(h.spec());
  EXPECT_GE(refused, 2);
  EXPECT_LT(refused, 30);
  EXPECT_GT((*log)->dropped(), 0u);
  (*log)->flush();
  EXPECT_TRUE(replay_event_log(path).ok());
}

// Goal: events that follow a large snapshot are not each followed by another one. Method: the state
// grows by tasks with long prompts, from far below what a file takes to far above it; then come
// small events. The bytes of all snapshots stay in proportion to those of the events.
TEST(EventLog, LargeSnapshotsAreRare) {
  const std::string path = path_of("large.events");
  const CoreSetup setup = test_setup(1);
  for (const int tasks : {4, 10, 16, 20, 24, 28, 32, 36, 40, 44, 60}) {
    auto log = EventLog::open({.path = path, .file_bytes_max = kSmallLog}, setup);
    CoreHarness h(setup);
    uint64_t event_bytes = 0, snapshot_bytes = 0;
    h.before_step = [&](const Event& event) {
      (*log)->append(h.now, event);
      event_bytes += encode(event).size();
    };
    h.after_step = [&] {
      if (!(*log)->wants_snapshot()) return;
      snapshot_bytes += h.core.save().size();
      const auto rotated = (*log)->rotate(h.core);
      if (!rotated.ok()) EXPECT_EQ(rotated.error().code(), ErrorCode::kTooLarge);
    };
    h.start();
    TaskSpec spec = h.spec();
    spec.prompt = std::vector<int32_t>(1000, 1);
    for (int i = 0; i < tasks; ++i) {
      spec.id.low = h.next_id++;
      h.one(spec);
    }
    for (uint32_t i = 0; i < 2000; ++i) h.tokens(h.runs.front(), i, {1});
    EXPECT_LT(snapshot_bytes, 3 * event_bytes + 100'000) << tasks;
    EXPECT_LE(std::filesystem::file_size(path), kSmallLog / 2) << tasks;
  }
}

// Goal: the log tells why a device was chosen, from the older file too, until both have moved on;
// then it says so.
TEST(EventLog, ExplainsChoicesFromBothFiles) {
  const std::string path = path_of("explain.events");
  const CoreSetup setup = test_setup(3);
  auto log = EventLog::open({.path = path, .file_bytes_max = kSmallLog}, setup);
  CoreHarness h(setup);
  run_rotating(**log, h, 300);
  h.one(h.spec());  // It comes after the newest rotation, wherever that was.
  (*log)->flush();
  const TaskId newest{7, 301};
  const auto live = h.core.explain(newest);
  const std::atomic<bool> stop = false;
  const auto explain = [&](const TaskId& id) {
    return explain_from_event_log(open_event_log(path), id, stop);
  };
  const auto read = explain(newest);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->choice->reason, live->reason);
  EXPECT_EQ(read->choice->epoch, live->epoch);
  uint64_t first = 301;  // The oldest task whose choice is still in the log.
  while (first > 1 && explain({7, first - 1}).ok()) --first;
  std::filesystem::rename(path + ".1", path + ".away");
  EXPECT_FALSE(explain({7, first}).ok());
  EXPECT_TRUE(explain(newest).ok());
  EXPECT_GT(first, 1u);
  EXPECT_EQ(explain({7, 1}).error().code(), ErrorCode::kNotFound);
  const std::atomic<bool> stopped = true;
  EXPECT_FALSE(explain_from_event_log(open_event_log(path), {7, first}, stopped).ok());
}

TEST(EventLog, DecodingBadBytesFails) {
  EXPECT_FALSE(decode_event("").ok());
  EXPECT_FALSE(decode_event("\xff").ok());
  const std::string good = encode(Event{WorkerLost{{ReplicaId{3}}, "why"}});
  ASSERT_TRUE(decode_event(good).ok());
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_event(good.substr(0, size)).ok()) << size;
  EXPECT_FALSE(decode_event(good + "x").ok());
}

}  // namespace
}  // namespace altlas::control
