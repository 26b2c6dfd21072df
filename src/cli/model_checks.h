// What the configuration says of a model's files, held against them before anything is loaded.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/config.h"
#include "control/core_setup.h"
#include "replica/limits.h"

namespace altlas::cli {

// The entry of section `models` with this name; null: there is none.
const config::ModelConfig* find_model(const config::Config& config, std::string_view name);

// models[].sha256. Errors: kInvalid if the file has another sum, or is a folder or one of several
// files; as weights::sha256_of_file.
Result<void> check_sha256(const config::ModelConfig& model, const std::string& path);

// engine.dtype: weights are computed with as they are in the file, so it must be what they are.
// Errors: kUnsupported for another one; as opening the file.
Result<void> check_dtype(WeightType dtype, const std::string& path);

// What a replica of the deployment, in its first place, would find at its load: for one that starts
// without replicas. devices: those of the setup, in their order.
// Errors: those of a load that can't succeed.
Result<replica::ReplicaLimits> planned_limits(const control::DeploymentSetup& deployment,
                                              std::span<const control::DeviceSetup> devices);

}  // namespace altlas::cli
