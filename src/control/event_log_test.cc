// Goal: a log replays to the same state; damage is said or is the end. Method: a core under load,
// its events logged.
#include "control/event_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

std::string path_of(const char* name) {
  return (std::filesystem::path(::testing::TempDir()) / name).string();
}

// A few tasks through a core, each event logged before it is stepped. Returns the core's hash.
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
    if (i == 10) h.step(WorkerLost{h.runs.back().replica, "killed by signal 9"});
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
  EXPECT_EQ(*replayed, hash);
  // The same run again has the same event hash.
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

TEST(EventLog, DecodingBadBytesFails) {
  EXPECT_FALSE(decode_event("").ok());
  EXPECT_FALSE(decode_event("\xff").ok());
  const std::string good = encode(Event{WorkerLost{ReplicaId{3}, "why"}});
  ASSERT_TRUE(decode_event(good).ok());
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_event(good.substr(0, size)).ok()) << size;
  EXPECT_FALSE(decode_event(good + "x").ok());
}

}  // namespace
}  // namespace altlas::control
