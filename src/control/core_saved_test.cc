// Goal: a saved core goes on as the live one would. Method: a core under load is saved at every few
// events; a second one is loaded from that, and both step the same events from then on.
#include <gtest/gtest.h>

#include "control/event_log.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

TEST(CoreSaved, ALoadedCoreGoesOnAsTheLiveOne) {
  for (const TokenJournal tokens : {TokenJournal::kAsync, TokenJournal::kSync}) {
    CoreSetup setup = test_setup(3, 2);
    setup.tokens = tokens;
    setup.tasks_kept_max = 5;
    CoreHarness h(setup);
    std::vector<std::pair<TimeUs, std::string>> events;
    std::vector<std::pair<size_t, std::string>> saved;
    h.before_step = [&](const Event& event) {
      if (events.size() % 7 == 0) saved.emplace_back(events.size(), h.core.save());
      events.emplace_back(h.now, encode(event));
    };
    h.start();
    for (int i = 0; i < 25; ++i) {
      TaskSpec spec = h.spec();
      spec.idempotency_key = std::to_string(i);
      spec.estimated_memory = i % 4 == 0 ? 1 << 17 : 0;
      spec.deadline = i % 5 == 0 ? std::optional(h.now + 3 * kSecond) : std::nullopt;
      h.submit({spec});
      h.advance(200 * kMillisecond);
      if (!h.runs.empty()) h.tokens(h.runs.back(), 0, {1, 2});
      if (i % 3 == 0 && !h.runs.empty()) h.finish(h.runs[h.runs.size() / 2]);
      if (i == 9) h.step(ConcurrencyChanged{3});
      if (i == 12) h.step(WorkerLost{{h.runs.back().replica}, "killed by signal 9"});
      if (i == 15) h.load_all();
      if (i == 18) h.step(StrategyChanged{Strategy::kRandom});
    }
    ASSERT_GT(saved.size(), 8u);
    for (const auto& [first, bytes] : saved) {
      Core again(setup);
      const auto loaded = again.load(bytes);
      ASSERT_TRUE(loaded.ok()) << loaded.error().message();
      EXPECT_EQ(again.save(), bytes);
      again.check_integrity();
      std::vector<Action> actions;
      for (size_t i = first; i < events.size(); ++i)
        again.step(*decode_event(events[i].second), events[i].first, actions);
      again.check_integrity();
      ASSERT_EQ(again.hash(), h.core.hash()) << "saved before event " << first;
      EXPECT_EQ(again.next_deadline(), h.core.next_deadline());
    }
  }
}

TEST(CoreSaved, DamagedOrForeignBytesAreRefused) {
  CoreHarness h(test_setup(2));
  h.start();
  h.one(h.spec());
  const std::string bytes = h.core.save();
  for (size_t i = 0; i < bytes.size(); i += 97) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x21);
    EXPECT_FALSE(Core(test_setup(2)).load(damaged).ok()) << i;
  }
  EXPECT_FALSE(Core(test_setup(2)).load(bytes.substr(0, bytes.size() / 2)).ok());
  EXPECT_FALSE(Core(test_setup(3)).load(bytes).ok()) << "of another setup";
}

// Goal: whatever decides is in the hash. Method: events that change one thing each.
TEST(CoreSaved, TheHashCoversWhatDecides) {
  const auto hash_after = [](const std::vector<Event>& events) {
    CoreHarness h(test_setup(2));
    h.start();
    for (const Event& event : events) h.step(event);
    return h.core.hash();
  };
  const std::vector<Event> base = {Tick{}};
  std::set<uint64_t> seen = {hash_after(base)};
  const std::vector<Event> changes = {StrategyChanged{Strategy::kRandom},
                                      ConcurrencyChanged{3},
                                      LimitsChanged{.max_queue_size = 7},
                                      LimitsChanged{.task_specific = {{"a", {DeviceId{1}}}}},
                                      DeviceSampled{.device = DeviceId{1}, .temperature = 50},
                                      DeviceSampled{.device = DeviceId{1}, .power = 50},
                                      DrainRequested{},
                                      AdmissionRequested{5, "", "model", 2},
                                      AdmissionRequested{5, "", "model", 3},
                                      AdmissionRequested{6, "", "model", 3},
                                      AdapterLoadRequested{7, "model", {"poet", "/poet"}},
                                      AdapterLoadRequested{7, "model", {"poet", "/other"}}};
  for (const Event& event : changes) EXPECT_TRUE(seen.insert(hash_after({event})).second);
}

TEST(CoreSaved, TheSameEventsGiveTheSameHash) {
  const auto run = [](int tasks) {
    CoreHarness h(test_setup(3));
    h.start();
    for (int i = 0; i < tasks; ++i) {
      TaskSpec spec = h.spec();
      spec.strategy = Strategy::kRandom;
      h.one(spec);
    }
    return h.core.hash();
  };
  EXPECT_EQ(run(9), run(9));
  EXPECT_NE(run(9), run(8));
}

}  // namespace
}  // namespace altlas::control
