#include "control/core/placement_view.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/integers.h"

namespace altlas::control {

using scheduler::PlacementDevice;

namespace {

scheduler::PlacementPolicy policy_of(const CoreSetup& setup) {
  scheduler::PlacementPolicy policy;
  policy.memory_threshold = setup.memory_threshold;
  policy.utilization_threshold = setup.utilization_threshold;
  policy.max_temperature = setup.max_temperature;
  for (const auto& [type, devices] : setup.task_specific) policy.task_specific[type] = devices;
  return policy;
}

}  // namespace

PlacementView::PlacementView(const CoreSetup& setup, const Fleet& fleet, const MemoryLedger& ledger,
                             ChangeSet& changed)
    : setup_(setup),
      fleet_(fleet),
      ledger_(ledger),
      changed_(changed),
      policy_(policy_of(setup)),
      deployments_(fleet.deployments().size()) {
  for (uint32_t index = 0; index < deployments_.size(); ++index) {
    const std::vector<uint32_t>& sites = fleet_.deployment(index).sites;
    deployments_[index].first_site = sites.empty() ? 0 : sites.front();
    std::vector<PlacementDevice> devices(sites.size());
    for (size_t i = 0; i < sites.size(); ++i) devices[i].id = fleet_.site(sites[i]).device;
    deployments_[index].devices = scheduler::PlacementIndex(std::move(devices));
    deployments_[index].unknown_sites = static_cast<uint32_t>(sites.size());
  }
}

void PlacementView::limits_changed() {
  policy_ = policy_of(setup_);
  changed_.add_all();
}

PlacementDevice PlacementView::look(const Site& site, uint64_t reserved) const {
  const FleetDevice& one = fleet_.device(site.device);
  PlacementDevice out;
  out.id = site.device;
  out.healthy = one.healthy;
  out.replica_running = false;
  out.replica_wanted = fleet_.deployment(site.deployment).target == 0 || fleet_.is_wanted_on(site);
  out.temperature = one.temperature;
  out.utilization = fleet_.utilization(one);
  out.foreign_utilization = one.foreign_utilization;
  out.memory_reserved = reserved;
  set_memory(site.device, out);
  out.running = one.running;
  out.queued = one.queued;
  out.tasks = site.running + site.queued;
  out.tokens_ahead = site.tokens_ahead;
  const engine::ReplicaLoaded& limits = fleet_.deployment(site.deployment).limits;
  out.block_tokens = limits.block_tokens;
  out.model_len_max = limits.model_len_max;
  uint64_t blocks_max = 0;
  for (const uint32_t index : site.slots) {
    const ReplicaSlot& slot = fleet_.slot(index);
    if (slot.needs && !slot.given_up) {
      out.block_bytes = std::max(out.block_bytes, slot.needs->rank(0).block_bytes());
      blocks_max = std::max<uint64_t>(blocks_max, slot.needs->kv_blocks);
    }
    if (!slot.takes_tasks()) continue;
    out.replica_running = true;
    out.tasks_max += fleet_.tasks_max(slot);
    out.tasks += slot.runs_given_up;
    // A prompt goes to one replica, so the pool of the roomiest one counts.
    const uint64_t free =
        slot.loaded.kv_blocks - std::min<uint64_t>(slot.loaded.kv_blocks, slot.kv_blocks_used);
    out.kv_blocks_total = std::max(out.kv_blocks_total, slot.loaded.kv_blocks);
    out.kv_blocks_free = std::max(out.kv_blocks_free, static_cast<uint32_t>(free));
    out.tokens_per_second += slot.tokens_per_second;
  }
  if (!out.replica_running)
    out.kv_blocks_total = out.kv_blocks_free = static_cast<uint32_t>(blocks_max);
  // A block needs memory that nothing else holds, so reservations leave fewer free blocks.
  if (out.block_bytes > 0)
    out.kv_blocks_free = static_cast<uint32_t>(std::min<uint64_t>(
        out.kv_blocks_free,
        (out.memory_total - std::min(out.memory_total, out.memory_used)) / out.block_bytes));
  // The tighter of the two limits counts: the replicas' or the device's.
  if (const uint32_t most = setup_.max_concurrent_tasks; most > 0) {
    const int64_t here = int64_t{out.tasks_max} - out.tasks;
    const int64_t all = int64_t{most} - one.running - one.queued;
    if (!out.replica_running || all < here) {
      out.tasks = one.running + one.queued;
      out.tasks_max = most;
    }
  }
  return out;
}

void PlacementView::set_memory(DeviceId device, PlacementDevice& seen) const {
  seen.memory_total = ledger_.total(device);
  seen.memory_used = ledger_.used(device) - ledger_.reserved(device) + seen.memory_reserved;
  seen.memory_fixed = ledger_.fixed(device);
  seen.memory_growth = ledger_.growth(device);
}

PlacementView::SiteView PlacementView::look(const Site& site, const PlacementDevice& seen) const {
  SiteView out;
  PlacementDevice for_runs = look(site, ledger_.reserved_by_runs(site.device));
  // The tasks queued here are those that ask, so they don't count.
  for_runs.tasks = fleet_.device(site.device).running;
  for_runs.tasks_max = setup_.max_concurrent_tasks;
  out.takes_tasks = scheduler::standing_of(policy_, for_runs, {}) == scheduler::Standing::kEligible;
  if (out.takes_tasks && seen.tasks < seen.tasks_max) out.free_places = seen.tasks_max - seen.tasks;
  uint64_t places = 0;
  for (const uint32_t index : site.slots) {
    const ReplicaSlot& slot = fleet_.slot(index);
    if (slot.given_up || !slot.wanted) continue;
    const uint32_t asked = fleet_.deployment(slot.deployment).setup.max_ongoing;
    if (asked == 0 && !slot.needs) return out;
    places += asked > 0 ? asked : std::max(slot.needs->sequences_max, 1u);
  }
  const uint32_t most = setup_.max_concurrent_tasks;
  out.places_at_most = most == 0 ? places : std::min<uint64_t>(places, most);
  return out;
}

void PlacementView::refresh() const {
  if (changed_.empty()) return;
  for (const uint32_t device : changed_.take())
    for (const uint32_t site : fleet_.devices()[device].sites) refresh_site(site);
}

void PlacementView::refresh_site(uint32_t index) const {
  const Site& site = fleet_.site(index);
  if (site.slots.empty()) return;  // A site without slots takes no tasks.
  ++looks_;
  if (sites_.size() <= index) sites_.resize(index + 1);
  DeploymentSites& one = deployments_[site.deployment];
  const PlacementDevice seen = look(site, ledger_.reserved(site.device));
  one.devices.set(index - one.first_site, seen, scheduler::standing_of(policy_, seen, {}));
  const SiteView before = sites_[index];
  const SiteView& now = sites_[index] = look(site, seen);
  one.free_places += now.free_places - uint64_t{before.free_places};
  if (now.free_places > 0) {
    one.free_sites.insert(index);
  } else {
    one.free_sites.erase(index);
  }
  if (now.places_at_most == before.places_at_most) return;
  const auto count = [&](const std::optional<uint64_t>& places, bool more) {
    const uint64_t sign = more ? 1 : uint64_t{} - 1;
    if (!places) {
      one.unknown_sites += static_cast<uint32_t>(sign);
      return;
    }
    one.places_at_most += sign * *places;
    if (more) {
      one.largest.insert(*places);
    } else {
      one.largest.erase(one.largest.find(*places));
    }
  };
  count(before.places_at_most, false);
  count(now.places_at_most, true);
}

PlacementDevice PlacementView::site(uint32_t index) const {
  refresh();
  const Site& site = fleet_.site(index);
  if (site.slots.empty()) return look(site, ledger_.reserved(site.device));
  const DeploymentSites& one = deployments_[site.deployment];
  PlacementDevice out = one.devices[index - one.first_site];
  out.cached_prefix_tokens = 0;
  return out;
}

PlacementDevice PlacementView::site(uint32_t index, uint64_t reserved) const {
  return look(fleet_.site(index), reserved);
}

uint64_t PlacementView::reserved_ahead(DeviceId device, uint64_t task) const {
  uint64_t out = ledger_.reserved_by_runs(device);
  for (const auto& [number, promised] : ledger_.promised(device)) {
    if (number >= task) break;
    out += promised.bytes;
    uint64_t block_tokens = 0, block_bytes = 0;
    for (const uint32_t slot : fleet_.site(promised.site).slots) {
      if (!fleet_.slot(slot).needs) continue;
      block_tokens = fleet_.slot(slot).needs->block_tokens;
      block_bytes = fleet_.slot(slot).needs->rank(0).block_bytes();
    }
    const uint64_t tokens = promised.sequence_tokens;
    if (block_tokens > 0) out += ceil_div(tokens, block_tokens) * block_bytes;
  }
  return out;
}

const scheduler::PlacementIndex& PlacementView::deployment(uint32_t index, std::string_view adapter,
                                                           const Prompt& prompt) const {
  refresh();
  DeploymentSites& one = deployments_[index];
  const auto set_cached = [&](uint32_t which, uint32_t tokens) {
    PlacementDevice device = one.devices[which];
    device.cached_prefix_tokens = tokens;
    one.devices.set(which, device, scheduler::standing_of(policy_, device, {}));
  };
  for (const uint32_t which : std::exchange(one.with_prefix, {})) set_cached(which, 0);
  const Deployment& deployment = fleet_.deployment(index);
  for (const auto& [device, tokens] : deployment.prefixes.cached_tokens(adapter, prompt)) {
    const auto site = deployment.site_on.find(device);
    if (site == deployment.site_on.end()) continue;
    one.with_prefix.push_back(site->second - one.first_site);
    set_cached(one.with_prefix.back(), tokens);
  }
  return one.devices;
}

uint64_t PlacementView::looks() const {
  uint64_t out = looks_;
  for (const DeploymentSites& one : deployments_) out += one.devices.looks();
  return out;
}

bool PlacementView::takes_tasks(uint32_t site) const {
  refresh();
  return site < sites_.size() && sites_[site].takes_tasks;
}

uint32_t PlacementView::free_places(uint32_t site) const {
  refresh();
  return site < sites_.size() ? sites_[site].free_places : 0;
}

uint32_t PlacementView::free_places_of_deployment(uint32_t deployment) const {
  refresh();
  return static_cast<uint32_t>(std::min<uint64_t>(deployments_[deployment].free_places,
                                                  std::numeric_limits<uint32_t>::max()));
}

std::optional<uint32_t> PlacementView::next_free(uint32_t deployment, uint32_t from) const {
  refresh();
  const std::set<uint32_t>& sites = deployments_[deployment].free_sites;
  const auto found = sites.lower_bound(from);
  if (found == sites.end()) return std::nullopt;
  return *found;
}

std::optional<PlacementView::PlacesAtMost> PlacementView::places_at_most(uint32_t index) const {
  refresh();
  const DeploymentSites& one = deployments_[index];
  if (one.unknown_sites > 0) return std::nullopt;
  return PlacesAtMost{one.places_at_most, one.largest.empty() ? 0 : *one.largest.rbegin()};
}

std::optional<uint64_t> PlacementView::places_at_most_on(uint32_t site) const {
  refresh();
  return site < sites_.size() ? sites_[site].places_at_most : std::optional<uint64_t>(0);
}

void PlacementView::check_integrity() const {
  refresh();
  std::vector<uint64_t> free(deployments_.size());
  for (uint32_t index = 0; index < fleet_.sites().size(); ++index) {
    const Site& site = fleet_.site(index);
    if (site.slots.empty()) continue;
    const PlacementDevice seen = this->site(index);
    ALTLAS_CHECK(seen == look(site, ledger_.reserved(site.device)), "a site's view is up to date");
    ALTLAS_CHECK(sites_[index] == look(site, seen), "what follows from it too");
    free[site.deployment] += sites_[index].free_places;
    ALTLAS_CHECK(
        deployments_[site.deployment].free_sites.contains(index) == (sites_[index].free_places > 0),
        "free sites are those with free places");
  }
  for (size_t i = 0; i < deployments_.size(); ++i)
    ALTLAS_CHECK(deployments_[i].free_places == free[i], "a deployment's places are its sites'");
}

}  // namespace altlas::control
