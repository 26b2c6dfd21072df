// Settings that a running server takes on: at its start, and at SIGHUP.
#pragma once

#include <vector>

#include "base/log.h"
#include "config/load.h"
#include "control/events.h"
#include "server/http/auth.h"
#include "telemetry/registry.h"

namespace altlas::cli {

// Which metrics are written: monitoring.task_metrics, queue_metrics, detailed_gpu_metrics.
void show_metrics(const config::MonitoringConfig& config, telemetry::Registry& metrics);

// Errors: kInvalid where other machines could call without a key.
Result<void> check_bind(const config::Config& config, const server::Auth& auth);

// What a reload changes, made before anything is changed: so all of it is taken, or nothing.
struct Reload {
  config::Config config;  // The one that runs, with the new values that may change.
  server::Auth auth;
  control::LimitsChanged limits;
  log::Level level;
  std::vector<config::Change> changes;  // Those that need a restart too.
};
// `fresh`: as the file, the environment and the flags say now. Errors: kInvalid, with the field: a
// keys file that can't be read, no key where one is needed, a mapping to a missing device.
Result<Reload> plan_reload(const config::Config& running, const config::Config& fresh,
                           size_t devices);

// What was taken and what needs a restart, for the operator. `keys`: they are others than before.
void log_reload(const Reload& reload, bool keys);

}  // namespace altlas::cli
