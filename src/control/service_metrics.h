// ServiceMetrics: what the service counts as events pass; pictures of the core become gauges when
// metrics are written.
#pragma once

#include <array>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "control/events.h"
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
  // A replica's start goes through phases: from the decision on its events are shown here.
  void starts(WorkerId worker, TimeUs now) { enter(worker, "process", now); }
  void event(const Event& event, TimeUs now);
  void scaled(const Scaled& what);
  void picture(std::span<const DeviceView> devices, std::span<const DeploymentView> deployments,
               size_t waiting);

 private:
  telemetry::Registry* const registry_;
  telemetry::Tracer* const tracer_;
  void record(const TaskView& task);
  void used(const TaskView& task);
  void enter(WorkerId worker, std::string phase, TimeUs now);
  void device(const DeviceView& view);
  void deployment(const DeploymentView& view);
  void replica(const ReplicaView& view, const std::string& place);

  struct Phase {
    std::string name;
    TimeUs since = 0;
  };
  using Labels = std::vector<std::string>;
  // Sets the gauge of a series whose labels come and go.
  void passing(const MetricDef& metric, Labels labels, double value);

  std::map<TaskId, TimeUs> last_token_;  // When each running task said its last token.
  std::map<WorkerId, Phase> phases_;     // Where each worker that starts is.
  // Series that only some pictures have: those of the last one, and of the one being made.
  std::set<std::pair<const MetricDef*, Labels>> passing_, passing_before_;
  std::map<ReplicaId, ReplicaView> seen_;  // Replicas as the last picture showed them.
};

}  // namespace altlas::control
