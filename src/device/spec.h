// The --devices language: "cpu", "cpu:2", "cpu:2:1:4GiB", "cuda", "cuda:0,2", "sim:h100:8", joined
// by '+'.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "device/probe.h"

namespace altlas::device {

struct DeviceSpec {
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;           // "cpu", "cuda", or the simulated kind.
  uint64_t memory_bytes = 0;  // The budget; 0 for cuda: all of the GPU's.
  uint32_t threads = 0;       // cpu: of its team, the leading one included.
  // cpu: its cores are [cpu_first, cpu_first + threads), modulo the machine's.
  uint32_t cpu_first = 0;
  uint32_t cuda_index = 0;
};

// cpu devices share the machine's cores evenly and 90 % of its memory, unless the spec says
// otherwise; more devices than cores share cores.  "cuda" without indices names all of
// machine.cuda_count (none there: kNotFound). Errors: as config::parse_device_list, which reads the
// text; kNotFound for a kind or GPU that is not there.
Result<std::vector<DeviceSpec>> parse_device_spec(std::string_view spec,
                                                  const MachineFacts& machine);
// The part that opens exactly this device again: "cpu:1:2:4294967296".
std::string to_string(const DeviceSpec& spec);

}  // namespace altlas::device
