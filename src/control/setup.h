// From configuration to what the core is told: devices and deployments, replicas laid out over
// devices.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "control/core_setup.h"
#include "control/events.h"

namespace altlas::control {

// The model that `--model` names, or the default one: what deployments without a model of their own
// run.
struct ModelSetup {
  std::string id;                      // In the APIs.
  std::string name = "";               // In `models` and `deployments`, where it is another.
  std::string path;                    // A file.
  std::string deployment = "default";  // Name of its deployment where the configuration names none.
};

// What `engine` says of a replica: all but its model, devices and adapters.
engine::LoadReplica load_of(const config::EngineConfig& engine);

// Without `deployments` in the configuration the model gets one, with a replica on every device
// unless a layout says otherwise. `echo` is always there. Draws the seed of `random` where none is
// configured. Errors: kInvalid with the numbers and the field: more ranks than devices, a mapping
// to a device that is not there.
Result<CoreSetup> make_core_setup(const config::Config& config,
                                  std::span<const DeviceSetup> devices, const ModelSetup& model);

// What a reload may change of the core's limits. `devices`: their number. Errors: kInvalid for
// a mapping to a device that is not there.
Result<LimitsChanged> limits_of(const config::Config& config, size_t devices);

}  // namespace altlas::control
