// What a collective costs between devices that are not here: links by latency and bandwidth.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "collective/types.h"
#include "hardware/device_kinds.h"

namespace altlas::collective {

struct Link {
  std::string_view name;  // "nvswitch", "pcie4", "infiniband-ndr", "ethernet-25g".
  double latency_s;       // One hop, as a collective's step sees it.
  double bytes_per_s;     // One direction of one device; 0: the device kind's own.
  bool switched;          // Every pair of devices at full speed at once.
};
std::span<const Link> links();

struct FabricOptions {
  std::string device = "h100";             // A device kind of hardware/device_kinds.h.
  std::string inside = "nvswitch";         // Within a node.
  std::string between = "infiniband-ndr";  // Between nodes, one port for each device.
  int devices_per_node = 8;
};

// Devices of one kind, their links within a node and between nodes.
class Fabric {
 public:
  // Errors: kNotFound, naming the known links or kinds; kInvalid for fewer than 1 device a node.
  static Result<Fabric> make(const FabricOptions& options);

  // Seconds that `call` takes among `ranks` that begin it together.
  double seconds(const Call& call, int ranks) const;
  // The quickest algorithm of an all_reduce.
  Algorithm choose(uint64_t bytes, int ranks) const;
  // "8 h100 a node over nvswitch, nodes over infiniband-ndr".
  std::string describe() const;

 private:
  Fabric(const DeviceKindInfo& device, Link inside, Link between, int devices_per_node)
      : device_(device), inside_(inside), between_(between), devices_per_node_(devices_per_node) {}
  DeviceKindInfo device_;
  Link inside_, between_;
  int devices_per_node_;
};

}  // namespace altlas::collective
