// Goal: slots, sites and deployments agree through a replica's life; waiting tasks, adapters and
// the placement view follow. Method: the parts by hand, on two devices.
#include "control/core/fleet.h"

#include "control/core/adapters.h"
#include "control/core/core_parts_test.h"
#include "control/core/placement_view.h"
#include "control/core/waiting_tasks.h"
#include "control/test_harness.h"

namespace altlas::control {
namespace {

struct Parts {
  CoreSetup setup = test_setup(2);
  ChangeSet changed;
  MemoryLedger ledger{changed};
  Fleet fleet{setup, ledger, changed};
  WaitingTasks waiting{setup, fleet};
  Adapters adapters{setup, fleet};
  PlacementView view{setup, fleet, ledger, changed};

  void load(uint32_t slot, TimeUs now) {
    fleet.start(slot, now, {});
    fleet.connected(slot, 0, 100, now);
    engine::ReplicaLoaded loaded;
    loaded.sequences_max = 4;
    loaded.block_tokens = 16;
    loaded.kv_blocks = 100;
    loaded.ranks = {{1000, 0, {10}}};
    fleet.heard(slot, 0, now);
    EXPECT_TRUE(fleet.loaded(slot, 0, loaded, now));
  }
  void check() {
    fleet.check_integrity();
    ledger.check_integrity();
    waiting.check_integrity();
    adapters.check_integrity();
    view.check_integrity();
  }
};

// A part of a whole set of parts; the set lives as long as the part.
template <class Part>
struct PartOf {
  explicit PartOf(Part Parts::* which) : part(&(made.get()->*which)) {}
  Part* operator->() { return part; }
  std::shared_ptr<Parts> made = std::make_shared<Parts>();
  Part* part;
};

TEST(Fleet, AReplicaLivesAndItsDeploymentCountsIt) {
  Parts p;
  EXPECT_EQ(p.fleet.deployment(0).fresh_slots, 2u);
  EXPECT_EQ(p.fleet.next_deadline(), INT64_MAX);
  p.load(0, 1000);
  p.check();
  EXPECT_EQ(p.fleet.deployment(0).running_slots, 1u);
  EXPECT_EQ(p.ledger.fixed(DeviceId{0}), 1000u);
  const TimeUs hang = 1000 + p.setup.deployments[0].health_check_timeout_us;
  EXPECT_EQ(p.fleet.next_deadline(), hang);
  p.fleet.heard(0, 0, 2000);
  EXPECT_EQ(p.fleet.next_deadline(), hang + 1000);
  const SequenceId run = p.fleet.begin_run(0, 7, 20, 40, 3000);
  EXPECT_EQ(p.fleet.slot(0).kv_blocks_used, 2u);
  EXPECT_EQ(p.ledger.growth(DeviceId{0}), 10u);
  p.fleet.run_goes_on(0, run, 33, 4000);
  EXPECT_EQ(p.fleet.slot(0).kv_blocks_used, 3u);
  p.check();
  const auto runs = p.fleet.lose(0, "killed", 5000, false);
  EXPECT_EQ(runs.at(run).task, 7u);
  EXPECT_EQ(p.fleet.next_deadline(), 5000 + kBackoffMinUs);
  EXPECT_EQ(p.fleet.due(5000 + kBackoffMinUs), std::set<uint32_t>{0});
  EXPECT_EQ(p.ledger.fixed(DeviceId{0}), 1000u) << "it will need that again";
  EXPECT_EQ(p.fleet.deployment(0).running_slots, 0u);
  p.check();
}

TEST(Fleet, IsSaved) {
  Parts p;
  p.load(0, 1000);
  p.load(1, 1000);
  p.fleet.begin_run(1, 7, 20, 40, 3000);
  p.fleet.prompt_runs(1, "", std::vector<int32_t>(40, 3));
  p.fleet.lose(0, "killed", 5000, false);
  expect_saved(p.fleet, [] { return PartOf(&Parts::fleet); });
}

TEST(WaitingTasks, AreInTheirOrderAndSaved) {
  Parts p;
  Task first, second;
  first.number = 1, second.number = 2;
  second.spec.estimated_memory = 10;
  p.waiting.push(first, 900, false);
  p.waiting.push(second, 800, true);
  EXPECT_EQ(p.waiting.of_deployment(0), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(p.waiting.take_unsettled(), std::set<uint64_t>{2});
  p.waiting.settle_again();
  p.waiting.move(first, 1);
  first.site = 1;
  EXPECT_EQ(p.waiting.sites(0), (std::set<uint32_t>{0, 1}));
  p.check();
  expect_saved(p.waiting, [] { return PartOf(&Parts::waiting); });
  p.waiting.erase(first);
  p.waiting.erase(second);
  EXPECT_TRUE(p.waiting.sites(0).empty());
  p.check();
}

TEST(Adapters, LoadOnRunningReplicasAndAreSaved) {
  Parts p;
  p.load(0, 1000);
  p.load(1, 1000);
  std::vector<Action> out;
  Step step{2000, out};
  AdapterLoadRequested request{5, "model", {"poet", "/poet"}};
  p.adapters.load(0, request, step);
  EXPECT_EQ(out.size(), 2u);
  const auto& sent = std::get<engine::LoadAdapter>(std::get<SendCommand>(out[0]).command);
  engine::AdapterLoaded report{.name = "poet", .bytes = 64, .load = sent.load};
  EXPECT_TRUE(p.adapters.adapter_loaded(0, report));
  EXPECT_FALSE(p.adapters.adapter_loaded(0, report)) << "nobody waits for it any more";
  EXPECT_EQ(p.ledger.fixed(DeviceId{0}), 1064u);
  EXPECT_FALSE(p.adapters.check(0, "poet").ok());
  expect_saved(p.adapters, [] { return PartOf(&Parts::adapters); });
  EXPECT_TRUE(p.adapters.adapter_loaded(1, report));
  p.adapters.conclude(0, "poet", step);
  EXPECT_TRUE(p.adapters.check(0, "poet").ok());
  EXPECT_TRUE(p.adapters.slot_has(1, "poet"));
  p.check();
}

TEST(PlacementView, LooksOnlyAtWhatHasChanged) {
  Parts p;
  p.load(0, 1000);
  p.load(1, 1000);
  EXPECT_EQ(p.view.free_places_of_deployment(0), 8u);
  EXPECT_EQ(p.view.next_free(0, 1), 1u);
  const uint64_t before = p.view.looks();
  EXPECT_EQ(p.view.free_places(0), 4u);
  EXPECT_EQ(p.view.looks(), before);
  p.fleet.count(1, {.queued = 4});
  EXPECT_EQ(p.view.free_places(1), 0u);
  EXPECT_FALSE(p.view.next_free(0, 1));
  EXPECT_EQ(p.view.looks(), before + 1) << "device 1 has one site";
  EXPECT_EQ(p.view.places_at_most(0)->all, 8u);
  EXPECT_EQ(p.view.places_at_most(0)->largest, 4u);
  EXPECT_FALSE(p.view.places_at_most(1)) << "the echo replica never loaded";
  p.check();
}

}  // namespace
}  // namespace altlas::control
