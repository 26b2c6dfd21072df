// ShareBook: which part of every device is promised to which replica; gives replicas their devices,
// spread, and never more than there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace altlas::control {

// What one replica asks for.
struct ShareRequest {
  std::string_view deployment;
  size_t ranks = 1;  // Devices, neighbours of each other.
  // The share of each of them, 0 < share ≤ 1; 0: an even part of what others leave.
  double share = 0;
};

// Pure. Groups of neighbours begin at multiples of the ranks, counted on each machine.
class ShareBook {
 public:
  explicit ShareBook(size_t devices) : ShareBook(std::vector<uint32_t>(devices, 0)) {}
  // nodes: by device, the machine that it belongs to; those of one machine are neighbours.
  explicit ShareBook(std::vector<uint32_t> nodes)
      : devices_(nodes.size()), nodes_(std::move(nodes)) {}

  // The first devices of groups of `ranks` that are on one machine each.
  std::vector<size_t> starts(size_t ranks) const;

  // Devices of each request, in its order. Fixed shares come first, then the others, each where
  // most is left.  Errors: kInvalid with what is left where; nothing is entered then.
  Result<std::vector<std::vector<DeviceId>>> place(const std::vector<ShareRequest>& requests);
  // What a replica on these devices has of the one that it has least of; after place().
  double share_of(const std::vector<DeviceId>& devices, double fixed) const;

 private:
  struct Device {
    double fixed = 0;      // Sum of fixed shares.
    uint32_t sharers = 0;  // Replicas that take an even part of the rest.
  };
  enum class Fill : uint8_t { kSpread, kTight };
  struct Search;
  bool place_fixed(const std::vector<ShareRequest>& requests, Fill fill,
                   std::vector<std::vector<DeviceId>>& out, size_t& failed);
  bool search(Search& state, size_t at);
  Error no_room(const ShareRequest& request, const std::vector<ShareRequest>& all) const;

  std::vector<Device> devices_;
  std::vector<uint32_t> nodes_;
};

}  // namespace altlas::control
