// What a configuration asks for that this build or this machine does not have, and what this
// machine has that the build leaves alone.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "config/validate.h"

namespace altlas::cli {

// An error for each: devices that no code is built in for, models that are neither here nor in the
// catalogue.
std::vector<config::Finding> missing_here(const config::Config& config);

// One line where the CPU is taken though the driver names GPUs; empty: nothing is passed over, or
// gpu.enabled or engine.devices says so.
std::string unused_gpus(const config::Config& config);

}  // namespace altlas::cli
