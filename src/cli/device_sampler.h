// Measures this machine's devices for the control core: foreign load, temperature, power.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "control/core_setup.h"
#include "control/events.h"
#include "telemetry/registry.h"

namespace altlas::cli {

// A function that measures every device once. Its calls come from one thread. Our own load on a cpu
// device is known from its replicas; what others take of the cores, and the hottest core's
// temperature, are read from the kernel.
// The power of the processor's sockets, where the kernel counts it (RAPL), is shared out evenly
// among the cpu devices. The mean clock of the cores goes to
// `metrics`, which may be null and outlives the function.
// cpu_yields, which may change and outlives the function: foreign load counts against
// gpu.utilization_threshold on cpu devices too. The kernel shares cores out by itself, so a busy
// machine only slows a cpu device; it closes only where the user has set the threshold.
std::function<std::vector<control::DeviceSampled>()> make_device_sampler(
    std::vector<control::DeviceSetup> devices, const std::atomic<bool>& cpu_yields,
    telemetry::Registry* metrics);

// The hottest of the machine's CPU sensors in degrees Celsius, below 0 if there is none. `folder`:
// /sys/class/hwmon.
double cpu_temperature(const std::string& folder);
// The mean clock of the cores in MHz, below 0 if the kernel does not tell it. `folder`:
// /sys/devices/system/cpu.
double cpu_clock_mhz(const std::string& folder);

// The power that the machine's sockets take, from their counters of energy.
class SocketPower {
 public:
  // `folder`: /sys/class/powercap.
  explicit SocketPower(std::string folder) : folder_(std::move(folder)) {}
  // Watts since the last call; below 0 at the first one, and where there is no counter that may be
  // read. A counter that has gone round counts from 0 again.
  double sample(int64_t now_us);

 private:
  const std::string folder_;
  std::map<std::string, uint64_t> energy_uj_;  // By zone, as the last call read it.
  int64_t last_us_ = 0;
};

}  // namespace altlas::cli
