#include "control/share_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <utility>

namespace altlas::control {
namespace {
constexpr double kRounding = 1e-9;  // Sums of shares are inexact: three times 1/3 should be 1.
constexpr double kLeast = 0.01;     // A smaller part is refused.
constexpr size_t kSearchStepsMax = 200'000;

std::vector<DeviceId> group_of(size_t first, size_t ranks) {
  std::vector<DeviceId> out;
  for (size_t rank = 0; rank < ranks; ++rank)
    out.push_back(DeviceId{static_cast<int32_t>(first + rank)});
  return out;
}

// The largest requests come first: what is left then still has room for the small ones.
std::vector<size_t> order_of(const std::vector<ShareRequest>& requests) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) {
    return std::pair(requests[i].share, requests[i].ranks);
  });
  return order;
}
}  // namespace

std::vector<size_t> ShareBook::starts(size_t ranks) const {
  std::vector<size_t> out;
  for (size_t begin = 0, end = 0; begin < nodes_.size(); begin = end) {
    while (end < nodes_.size() && nodes_[end] == nodes_[begin]) ++end;
    for (size_t first = begin; first + ranks <= end; first += ranks) out.push_back(first);
  }
  return out;
}

// Places the fixed shares greedily. Returns false, and sets `failed`, if a request finds no room.
bool ShareBook::place_fixed(const std::vector<ShareRequest>& requests, Fill fill,
                            std::vector<std::vector<DeviceId>>& out, size_t& failed) {
  for (const size_t i : order_of(requests)) {
    const ShareRequest& request = requests[i];
    if (request.share <= 0) continue;
    std::optional<size_t> best;
    double best_used = 0;
    for (const size_t first : starts(request.ranks)) {
      double used = 0;
      for (size_t rank = 0; rank < request.ranks; ++rank)
        used = std::max(used, devices_[first + rank].fixed);
      if (used + request.share > 1 + kRounding) continue;
      const bool better = fill == Fill::kSpread ? used < best_used : used > best_used;
      if (best && !better) continue;
      best = first;
      best_used = used;
    }
    if (!best) {
      failed = i;
      return false;
    }
    out[i] = group_of(*best, request.ranks);
    for (const DeviceId device : out[i])
      devices_[static_cast<size_t>(device.value)].fixed += request.share;
  }
  return true;
}

// The state of a search that tries fixed shares in every way until one fits.
struct ShareBook::Search {
  const std::vector<ShareRequest>& requests;
  std::vector<size_t> order;
  std::vector<std::vector<DeviceId>>& out;
  // Every request is for one device, so devices that are used alike are interchangeable.
  bool single = true;
  size_t steps = 0;
};

// Places the requests from `at` in the order on. Returns false if there is no way, or if there are
// too many ways to try.
bool ShareBook::search(Search& state, size_t at) {
  if (at == state.order.size()) return true;
  const ShareRequest& request = state.requests[state.order[at]];
  std::vector<double> tried;
  for (const size_t first : starts(request.ranks)) {
    if (++state.steps > kSearchStepsMax) return false;
    const auto group = group_of(first, request.ranks);
    const auto used = [&](DeviceId device) -> double& {
      return devices_[static_cast<size_t>(device.value)].fixed;
    };
    const bool full = std::ranges::any_of(
        group, [&](DeviceId device) { return used(device) + request.share > 1 + kRounding; });
    if (full) continue;
    const auto alike = [&](double other) {
      return std::abs(other - devices_[first].fixed) < kRounding;
    };
    if (state.single && std::ranges::any_of(tried, alike)) continue;
    tried.push_back(devices_[first].fixed);
    std::vector<double> before;
    for (const DeviceId device : group) {
      before.push_back(used(device));
      used(device) += request.share;
    }
    if (search(state, at + 1)) {
      state.out[state.order[at]] = group;
      return true;
    }
    for (size_t rank = 0; rank < group.size(); ++rank) used(group[rank]) = before[rank];
  }
  return false;
}

Result<std::vector<std::vector<DeviceId>>> ShareBook::place(
    const std::vector<ShareRequest>& requests) {
  const std::vector<Device> before = devices_;
  std::vector<std::vector<DeviceId>> out(requests.size());
  size_t failed = 0;
  if (!place_fixed(requests, Fill::kSpread, out, failed)) {
    // Spread over the devices, small shares may leave no whole device, though there is one when
    // they are packed.
    std::vector<Device> spread = std::exchange(devices_, before);
    size_t ignored = 0;
    bool placed = place_fixed(requests, Fill::kTight, out, ignored);
    if (!placed) {
      devices_ = before;
      Search state{requests, order_of(requests), out};
      std::erase_if(state.order, [&](size_t i) { return requests[i].share <= 0; });
      state.single =
          std::ranges::all_of(state.order, [&](size_t i) { return requests[i].ranks == 1; });
      placed = search(state, 0);
    }
    if (!placed) {
      devices_ = std::move(spread);
      const Error error = no_room(requests[failed], requests);
      devices_ = before;
      return error;
    }
  }
  for (const size_t i : order_of(requests)) {
    const ShareRequest& request = requests[i];
    if (request.share > 0) continue;
    std::optional<size_t> best;
    double best_part = 0;
    for (const size_t first : starts(request.ranks)) {
      double part = 1;
      for (size_t rank = 0; rank < request.ranks; ++rank) {
        const Device& device = devices_[first + rank];
        part = std::min(part, (1 - device.fixed) / (device.sharers + 1));
      }
      if (part < kLeast || (best && part <= best_part + kRounding)) continue;
      best = first;
      best_part = part;
    }
    if (!best) {
      const Error error = no_room(request, requests);
      devices_ = before;
      return error;
    }
    out[i] = group_of(*best, request.ranks);
    for (const DeviceId device : out[i]) ++devices_[static_cast<size_t>(device.value)].sharers;
  }
  return out;
}

double ShareBook::share_of(const std::vector<DeviceId>& devices, double fixed) const {
  if (fixed > 0) return fixed;
  double part = 1;
  for (const DeviceId id : devices) {
    const Device& device = devices_[static_cast<size_t>(id.value)];
    part = std::min(part, (1 - device.fixed) / std::max(device.sharers, 1u));
  }
  return part;
}

Error ShareBook::no_room(const ShareRequest& request, const std::vector<ShareRequest>& all) const {
  double asked = 0;
  for (const ShareRequest& one : all) asked += one.share * static_cast<double>(one.ranks);
  std::string left;
  for (size_t i = 0; i < devices_.size() && i < 16; ++i)
    left += fmt::format("{}device {} has {:.3g}", left.empty() ? "" : ", ", i,
                        std::max(0.0, 1 - devices_[i].fixed));
  if (devices_.size() > 16) left += ", …";
  const std::string want =
      request.share > 0
          ? fmt::format("needs {:.3g} of {}", request.share,
                        request.ranks == 1 ? std::string("a device")
                                           : fmt::format("each of {} devices", request.ranks))
          : std::string("finds no device with a part left");
  return invalid(
      fmt::format("a replica of deployment '{}' {}, {} left; num_gpus of all replicas make {:.3g}, "
                  "there {} {}",
                  request.deployment, want, left, asked, devices_.size() == 1 ? "is" : "are",
                  devices_.size() == 1 ? "1 device" : fmt::format("{} devices", devices_.size())),
      fmt::format("deployments.{}.num_gpus", request.deployment));
}

}  // namespace altlas::control
