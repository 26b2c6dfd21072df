// Measures this machine's devices for the control core: foreign load, temperature, power.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "control/core_setup.h"
#include "control/events.h"

namespace altlas::cli {

// A function that measures every device once. Its calls come from one thread. Our own load on a cpu
// device is known from its replicas; what others take of the cores, and the hottest core's
// temperature, are read from the kernel.
// cpu_yields, which may change and outlives the function: foreign load counts against
// gpu.utilization_threshold on cpu devices too. The kernel shares cores out by itself, so a busy
// machine only slows a cpu device; it closes only where the user has set the threshold.
std::function<std::vector<control::DeviceSampled>()> make_device_sampler(
    std::vector<control::DeviceSetup> devices, const std::atomic<bool>& cpu_yields);

// The hottest of the machine's CPU sensors in degrees Celsius, below 0 if there is none. `folder`:
// /sys/class/hwmon.
double cpu_temperature(const std::string& folder);

}  // namespace altlas::cli
