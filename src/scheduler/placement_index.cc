#include "scheduler/placement_index.h"

#include <algorithm>
#include <bit>

namespace altlas::scheduler {
namespace {

// The looser and the tighter of two limits, where 0 means that there is none.
template <class T>
T loosest(T a, T b) {
  return a == 0 || b == 0 ? T{0} : std::max(a, b);
}
template <class T>
T tightest(T a, T b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

PlacementDevice best_of(const PlacementDevice& a, const PlacementDevice& b) {
  PlacementDevice out;
  out.id = std::min(a.id, b.id);
  out.healthy = a.healthy || b.healthy;
  out.replica_running = a.replica_running || b.replica_running;
  out.replica_wanted = a.replica_wanted || b.replica_wanted;
  out.temperature = std::min(a.temperature, b.temperature);
  out.utilization = std::min(a.utilization, b.utilization);
  out.foreign_utilization = std::min(a.foreign_utilization, b.foreign_utilization);
  out.memory_total = std::max(a.memory_total, b.memory_total);
  out.memory_used = std::min(a.memory_used, b.memory_used);
  out.memory_fixed = std::min(a.memory_fixed, b.memory_fixed);
  out.memory_reserved = std::min(a.memory_reserved, b.memory_reserved);
  out.memory_growth = std::min(a.memory_growth, b.memory_growth);
  out.block_bytes = std::min(a.block_bytes, b.block_bytes);
  out.running = std::min(a.running + a.queued, b.running + b.queued);  // Only the sum is compared.
  out.tasks = std::min(a.tasks, b.tasks);
  out.tasks_max = loosest(a.tasks_max, b.tasks_max);
  out.block_tokens = loosest(a.block_tokens, b.block_tokens);
  out.kv_blocks_total = loosest(a.kv_blocks_total, b.kv_blocks_total);
  out.kv_blocks_free = std::max(a.kv_blocks_free, b.kv_blocks_free);
  out.model_len_max = loosest(a.model_len_max, b.model_len_max);
  out.cached_prefix_tokens = std::max(a.cached_prefix_tokens, b.cached_prefix_tokens);
  out.tokens_ahead = std::min(a.tokens_ahead, b.tokens_ahead);
  out.tokens_per_second = std::max(rate_of(a), rate_of(b));
  return out;
}

// A standing is asked of the result, never an order.
PlacementDevice worst_of(const PlacementDevice& a, const PlacementDevice& b) {
  PlacementDevice out;
  out.id = std::max(a.id, b.id);
  out.healthy = a.healthy && b.healthy;
  out.replica_running = a.replica_running && b.replica_running;
  out.replica_wanted = a.replica_wanted && b.replica_wanted;
  out.temperature = std::max(a.temperature, b.temperature);
  out.foreign_utilization = std::max(a.foreign_utilization, b.foreign_utilization);
  out.memory_total = std::min(a.memory_total, b.memory_total);
  out.memory_used = std::max(a.memory_used, b.memory_used);
  out.memory_fixed = std::max(a.memory_fixed, b.memory_fixed);
  out.memory_reserved = std::max(a.memory_reserved, b.memory_reserved);
  out.memory_growth = std::max(a.memory_growth, b.memory_growth);
  out.block_bytes = std::max(a.block_bytes, b.block_bytes);
  out.tasks = std::max(a.tasks, b.tasks);
  out.tasks_max = tightest(a.tasks_max, b.tasks_max);
  out.block_tokens = tightest(a.block_tokens, b.block_tokens);
  out.kv_blocks_total = tightest(a.kv_blocks_total, b.kv_blocks_total);
  out.kv_blocks_free = std::min(a.kv_blocks_free, b.kv_blocks_free);
  out.model_len_max = tightest(a.model_len_max, b.model_len_max);
  return out;
}

}  // namespace

PlacementIndex::PlacementIndex(std::vector<PlacementDevice> devices)
    : devices_(std::move(devices)),
      standings_(devices_.size(), Standing::kEligible),
      capacity_(std::bit_ceil(std::max<size_t>(devices_.size(), 1))),
      nodes_(2 * capacity_) {
  changed_.resize(devices_.size());
}

std::optional<size_t> PlacementIndex::find(DeviceId id) const {
  const auto found = std::ranges::lower_bound(devices_, id, {}, &PlacementDevice::id);
  if (found == devices_.end() || found->id != id) return std::nullopt;
  return static_cast<size_t>(found - devices_.begin());
}

void PlacementIndex::set(size_t index, const PlacementDevice& device, Standing standing) {
  devices_[index] = device;
  standings_[index] = standing;
  changed_.add(static_cast<uint32_t>(index));
}

PlacementIndex::Node PlacementIndex::root() const {
  for (const uint32_t index : changed_.take()) {
    size_t node = capacity_ + index;
    nodes_[node] = bounds_of(devices_[index], standings_[index]);
    while (node > 1) update(node /= 2);
  }
  return {this, 1};
}

PlacementIndex::Bounds PlacementIndex::bounds_of(const PlacementDevice& device, Standing standing) {
  Bounds out{device, device, uint64_t{device.running} + device.queued, device.id, {}, 1};
  out.standing[static_cast<size_t>(standing)] = 1;
  return out;
}

PlacementIndex::Bounds PlacementIndex::joined(const Bounds& a, const Bounds& b) {
  if (b.size == 0) return a;
  Bounds out{
      best_of(a.best, b.best), worst_of(a.worst, b.worst), a.load + b.load, b.last, a.standing,
      a.size + b.size};
  for (size_t s = 0; s < kStandings; ++s) out.standing[s] += b.standing[s];
  return out;
}

void PlacementIndex::update(size_t node) const {
  nodes_[node] = joined(nodes_[2 * node], nodes_[2 * node + 1]);
}

size_t PlacementIndex::Node::size() const {
  return index_->nodes_.empty() ? 0 : index_->nodes_[at_].size;
}

const PlacementDevice& PlacementIndex::Node::best() const {
  ++index_->looks_;
  return index_->nodes_[at_].best;
}

const PlacementDevice& PlacementIndex::Node::worst() const {
  ++index_->looks_;
  return index_->nodes_[at_].worst;
}

uint64_t PlacementIndex::Node::load() const { return index_->nodes_[at_].load; }

size_t PlacementIndex::Node::count(Standing upto) const {
  const auto& standing = index_->nodes_[at_].standing;
  size_t out = 0;
  for (size_t s = 0; s <= static_cast<size_t>(upto); ++s) out += standing[s];
  return out;
}

DeviceId PlacementIndex::Node::last() const { return index_->nodes_[at_].last; }

}  // namespace altlas::scheduler
