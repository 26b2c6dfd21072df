// ServiceMetrics: what the service counts as events pass; pictures of the core become gauges when
// metrics are written.
#pragma once

#include <map>
#include <span>

#include "control/metrics.h"
#include "control/views.h"
#include "telemetry/trace.h"

namespace altlas::control {

// Threads: the service's strand.
class ServiceMetrics {
 public:
  // Both may be null: then nothing is counted, or no span recorded.
  explicit ServiceMetrics(telemetry::Registry* registry, telemetry::Tracer* tracer = nullptr)
      : registry_(registry), tracer_(tracer) {}
  void delta(const TaskId& id, const TaskView& task, size_t tokens, TimeUs now);
  void ended(const TaskView& task);
  void picture(std::span<const DeviceView> devices, std::span<const DeploymentView> deployments,
               size_t waiting);

 private:
  telemetry::Registry* const registry_;
  telemetry::Tracer* const tracer_;
  void record(const TaskView& task);
  void replica(const ReplicaView& view, const std::string& place);

  std::map<TaskId, TimeUs> last_token_;    // When each running task said its last token.
  std::map<ReplicaId, ReplicaView> seen_;  // Replicas as the last picture showed them.
};

}  // namespace altlas::control
