// The autoscaler over a recorded load.
#pragma once

#include <string>

#include "base/result.h"

namespace altlas::cli {

// Reads lines {"t": seconds, "ongoing": requests, "running": replicas} and writes, for each,
// {"t": …, "target": replicas}. `ongoing` is condensed already: look_back_period_s and
// metrics_interval_s are not applied again, and each line is one decision. The first target is
// initial_replicas, or min_replicas where that is absent.
// Errors: kNotFound and kInvalid with file and line.
Result<void> simulate_autoscaler(const std::string& config_path, const std::string& trace_path);

}  // namespace altlas::cli
