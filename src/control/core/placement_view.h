// PlacementView: what devices look like to placement, kept up to date: only sites of devices that
// have changed are looked at again, and only once somebody asks. It decides nothing and is not
// saved: all of it follows from the fleet, the memory ledger and the limits.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "base/change_set.h"
#include "control/core/fleet.h"
#include "control/core/memory_ledger.h"
#include "control/core_setup.h"
#include "scheduler/placement.h"

namespace altlas::control {

// Threads: one. Asking brings the view up to date, O(sites of devices that have changed).
class PlacementView {
 public:
  PlacementView(const CoreSetup& setup, const Fleet& fleet, const MemoryLedger& ledger,
                ChangeSet& changed);
  void limits_changed();  // The limits of the setup were changed: everything is looked at again.
  const scheduler::PlacementPolicy& policy() const { return policy_; }

  // One site as every task sees it, without cached prefixes.
  scheduler::PlacementDevice site(uint32_t site) const;
  // The same for a task that must leave alone only this many reserved bytes.
  scheduler::PlacementDevice site(uint32_t site, uint64_t reserved) const;
  // Sets the memory of another device in `seen`, of whose reservations memory_reserved counts.
  void set_memory(DeviceId device, scheduler::PlacementDevice& seen) const;
  // The bytes that the task with this number must leave alone: reservations of running tasks, and
  // of waiting ones that were accepted before it, with the KV blocks that these will need.
  // O(promised on the device).
  uint64_t reserved_ahead(DeviceId device, uint64_t task) const;
  // A deployment's sites in the order of their devices, with what they have cached of the prompt:
  // O(sites that have some of it cached). Valid until the next call of any function here.
  const scheduler::PlacementIndex& deployment(uint32_t deployment, std::string_view adapter,
                                              const Prompt& prompt) const;

  // Whether the device itself may start tasks of the site now, whatever the task.
  bool takes_tasks(uint32_t site) const;
  // Tasks that would start at once.
  uint32_t free_places(uint32_t site) const;
  uint32_t free_places_of_deployment(uint32_t deployment) const;
  // The first site of the deployment from `from` on with a free place.
  std::optional<uint32_t> next_free(uint32_t deployment, uint32_t from) const;
  // Tasks that run at once where nothing else does, on all sites, and on the largest one. Nothing:
  // a replica has never told what it takes.
  struct PlacesAtMost {
    uint64_t all = 0, largest = 0;
  };
  std::optional<PlacesAtMost> places_at_most(uint32_t deployment) const;
  std::optional<uint64_t> places_at_most_on(uint32_t site) const;

  // Sites that were looked at since the start, by changes and by choices.
  uint64_t looks() const;
  void check_integrity() const;

 private:
  struct SiteView {
    bool takes_tasks = false;
    uint32_t free_places = 0;
    std::optional<uint64_t> places_at_most;
    friend bool operator==(const SiteView&, const SiteView&) = default;
  };
  struct DeploymentSites {
    uint32_t first_site = 0;  // Its sites follow each other.
    scheduler::PlacementIndex devices;
    // Which of these have cached_prefix_tokens set.
    std::vector<uint32_t> with_prefix;
    uint64_t free_places = 0;
    std::set<uint32_t> free_sites;    // With free places.
    uint32_t unknown_sites = 0;       // Whose places_at_most is nothing.
    uint64_t places_at_most = 0;      // Sum of the others'.
    std::multiset<uint64_t> largest;  // The others', one by one.
  };
  scheduler::PlacementDevice look(const Site& site, uint64_t reserved) const;
  SiteView look(const Site& site, const scheduler::PlacementDevice& seen) const;
  void refresh() const;
  void refresh_site(uint32_t site) const;

  const CoreSetup& setup_;
  const Fleet& fleet_;
  const MemoryLedger& ledger_;
  ChangeSet& changed_;  // Devices.
  scheduler::PlacementPolicy policy_;
  mutable std::vector<SiteView> sites_;
  mutable std::vector<DeploymentSites> deployments_;
  mutable uint64_t looks_ = 0;
};

}  // namespace altlas::control
