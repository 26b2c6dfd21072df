// How many replicas a deployment is to have, and in which slots.
#include <algorithm>
#include <tuple>

#include "control/core/fleet.h"

namespace altlas::control {

void Fleet::want(uint32_t index, bool wanted, TimeUs now) {
  ReplicaSlot& slot = slots_[index];
  if (slot.wanted == wanted) return;
  Deployment& one = deployments_[slot.deployment];
  slot.wanted = wanted;
  if (wanted) {  // Whoever asks again wants it to be tried again.
    slot.given_up = false;
    slot.failures = 0;
  }
  one.target += wanted ? 1 : uint32_t{} - 1;
  if (slot.state == ReplicaState::kRunning)
    slot.wake = wanted ? INT64_MAX : now + one.setup.graceful_shutdown_timeout_us;
  if (!wanted && slot.state == ReplicaState::kBackoff) {
    slot.state = ReplicaState::kStopped;
    slot.since = now;
    slot.wake = INT64_MAX;
    slot.message = "";
  }
  settle(index);
  // Without any replica that is wanted, all sites are equal.
  if (one.target <= 1)
    for (const uint32_t site : one.sites) device_changed(sites_[site].device);
}

std::vector<uint32_t> Fleet::slots_to_change(uint32_t deployment, uint32_t replicas) const {
  const Deployment& one = deployments_[deployment];
  const bool more = replicas > one.target;
  std::vector<uint32_t> out;
  for (const uint32_t slot : one.slots)
    if (slots_[slot].wanted != more) out.push_back(slot);
  const auto key = [&](uint32_t index) {
    const ReplicaSlot& slot = slots_[index];
    if (more)
      return std::tuple(slot.state == ReplicaState::kRunning ? 0 : 1,
                        -int64_t{sites_[slot.site].queued}, int64_t{index});
    return std::tuple(slot.state == ReplicaState::kRunning ? 1 : 0,
                      static_cast<int64_t>(slot.runs.size()), -int64_t{index});
  };
  std::ranges::sort(out, {}, key);
  const size_t count = more ? replicas - one.target : one.target - replicas;
  out.resize(std::min(out.size(), count));
  return out;
}

bool Fleet::is_wanted_on(const Site& site) const {
  return std::ranges::any_of(site.slots, [&](uint32_t slot) { return slots_[slot].wanted; });
}

std::string Fleet::why_given_up(uint32_t deployment) const {
  for (const uint32_t slot : deployments_[deployment].slots)
    if (slots_[slot].wanted && slots_[slot].given_up) return slots_[slot].message;
  return "it has no replica";
}

std::optional<uint32_t> Fleet::site_of_wanted(uint32_t deployment) const {
  std::optional<uint32_t> out;
  const auto load = [&](uint32_t site) { return sites_[site].running + sites_[site].queued; };
  for (const uint32_t site : deployments_[deployment].sites)
    if (is_wanted_on(site) && (!out || load(site) < load(*out))) out = site;
  return out;
}

}  // namespace altlas::control
