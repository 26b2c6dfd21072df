// The SPEC of --devices: "cpu:2:1:4GiB+sim:a100-80gb:8" as plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::config {

inline constexpr int64_t kDevicesMax = 1024;  // In one spec, all parts together.
inline constexpr int64_t kThreadsPerDeviceMax = 4096;
inline constexpr size_t kDeviceSpecBytesMax = 4096;

struct DevicePart {
  enum class Kind : uint8_t { kCpu, kCuda, kSim };
  Kind kind = Kind::kCpu;
  int64_t count = 1;             // kCpu, kSim.
  int64_t threads = 0;           // kCpu: of each device; 0 shares the cores out evenly.
  uint64_t memory_bytes = 0;     // kCpu: of each device; 0 shares 90 % of the machine's out evenly.
  std::vector<int64_t> indices;  // kCuda: in the order given, no repetition; empty is every GPU.
  std::string sim_kind;          // kSim: as written; the caller looks it up.
  bool operator==(const DevicePart&) const = default;
};
// All that --devices names.
struct DeviceList {
  std::vector<DevicePart> parts;  // At least one.
  bool operator==(const DeviceList&) const = default;
};

// cpu[:count[:threads[:memory]]] · cuda[:index,index] · sim:kind[:count], joined by '+'.
// Errors: kInvalid, naming the part that is wrong and what would be right.
Result<DeviceList> parse_device_list(std::string_view text);
// The spec in its shortest form; parsing it gives the same value.
std::string to_string(const DeviceList& spec);

}  // namespace altlas::config
