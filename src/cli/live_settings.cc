#include "cli/live_settings.h"

#include <fmt/format.h>

#include "config/validate.h"
#include "control/metrics.h"
#include "control/setup.h"

namespace altlas::cli {

void show_metrics(const config::MonitoringConfig& config, telemetry::Registry& metrics) {
  for (const telemetry::MetricDef* one : control::kTaskMetrics)
    metrics.show(*one, config.task_metrics);
  for (const telemetry::MetricDef* one : control::kQueueMetrics)
    metrics.show(*one, config.queue_metrics);
  for (const telemetry::MetricDef* one : control::kDetailedGpuMetrics)
    metrics.show(*one, config.detailed_gpu_metrics);
  for (const telemetry::MetricDef* one : control::kInferenceExtensionMetrics)
    metrics.show(*one, config.inference_extension_metrics);
}

Result<void> check_bind(const config::Config& config, const server::Auth& auth) {
  if (auth.has_keys() || config::is_loopback(config.server.host)) return {};
  return invalid(fmt::format("server.host: {} is reachable from other machines and no key is set: "
                             "give --api-key KEY, or "
                             "listen on 127.0.0.1",
                             config.server.host),
                 "server.host");
}

Result<Reload> plan_reload(const config::Config& running, const config::Config& fresh,
                           size_t devices) {
  config::Config config = config::reloaded(running, fresh);
  ALTLAS_TRY(server::Auth auth, server::Auth::create(config.auth));
  ALTLAS_TRY_VOID(check_bind(config, auth));
  ALTLAS_TRY(control::LimitsChanged limits, control::limits_of(config, devices));
  ALTLAS_TRY(const log::Level level, log::parse_level(config.monitoring.log_level));
  return Reload{std::move(config), std::move(auth), std::move(limits), level,
                config::changes(running, fresh)};
}

void log_reload(const Reload& reload, bool keys) {
  std::string taken;
  for (const config::Change& change : reload.changes) {
    if (change.reload)
      taken += (taken.empty() ? "" : ", ") + change.path;
    else
      log::warn("SIGHUP: {} changes with a restart only", change.path);
  }
  if (keys)
    taken += fmt::format("{}keys ({} now)", taken.empty() ? "" : ", ", reload.auth.key_count());
  log::info("SIGHUP: configuration read again, {}",
            taken.empty() ? std::string("nothing to take") : "taken: " + taken);
}

}  // namespace altlas::cli
