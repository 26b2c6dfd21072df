// Measures this machine's devices for the control core: foreign load, temperature, power.
#pragma once

#include <functional>
#include <vector>

#include "control/core_setup.h"
#include "control/events.h"

namespace altlas::cli {

// A function that measures every device once. Its calls come from one thread. Our own load on a cpu
// device is known from its replicas; what others take of the cores, and the hottest core's
// temperature, are read from the kernel.
std::function<std::vector<control::DeviceSampled>()> make_device_sampler(
    std::vector<control::DeviceSetup> devices);

// The hottest of the machine's CPU sensors in degrees Celsius, below 0 if there is none. `folder`:
// /sys/class/hwmon.
double cpu_temperature(const std::string& folder);

}  // namespace altlas::cli
