// What accelerators are like: memory, speeds and prices of the kinds that `sim` models, and a
// roofline over them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace altlas {

// Peak figures of one device. Sources stand beside each row of the table in device_kinds.cc.
struct DeviceKindInfo {
  std::string_view name;  // "a100-80gb".
  uint64_t memory_bytes;
  double memory_bytes_per_s;
  double bf16_flops;
  double int8_ops;
  double launch_s;          // One kernel launch.
  double link_bytes_per_s;  // To a peer in the same node, one direction.
  double power_watt_max;
  double power_watt_idle;
  double price_usd_per_hour;  // On demand.
  double price_spot_usd_per_hour;
  double fp8_flops = 0;  // 0: computes in BF16 instead.
  double fp4_flops = 0;
  uint32_t devices_per_node = 8;  // Joined by links of link_bytes_per_s.
};

std::span<const DeviceKindInfo> device_kinds();
// Errors: kNotFound, naming the known kinds.
Result<DeviceKindInfo> device_kind(std::string_view name);

// What one operator asks of a device.
struct OperatorCost {
  double flops = 0;
  double bytes = 0;  // Read and written.
  double launches = 1;
};
// Seconds by the roofline: the slower of compute and memory, plus launches. `efficiency` of each
// peak is reachable.
double roofline_seconds(const DeviceKindInfo& kind, const OperatorCost& cost,
                        double efficiency = 0.8);

}  // namespace altlas
