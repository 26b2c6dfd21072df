#include "control/service_metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::control {
namespace {

double seconds(TimeUs from, TimeUs until) {
  return static_cast<double>(elapsed_us(from, until)) / static_cast<double>(kSecond);
}

}  // namespace

void ServiceMetrics::delta(const TaskId& id, const TaskView& task, size_t tokens, TimeUs now) {
  if (registry_ == nullptr || tokens == 0) return;
  const auto [entry, first] = last_token_.emplace(id, now);
  if (!first) {
    const double each = seconds(entry->second, now) / static_cast<double>(tokens);
    auto* histogram = registry_->histogram(kInterTokenSeconds, {task.deployment});
    for (size_t i = 0; i < tokens; ++i) histogram->observe(each);
    entry->second = now;
  }
  registry_->counter(kGeneratedTokensTotal, {task.deployment})->add(static_cast<double>(tokens));
}

// Adds the task's wait in the queue and its run on a device to the trace, as rows: group 1 is the
// queue, group 2 + n is device n.
void ServiceMetrics::record(const TaskView& task) {
  if (tracer_ == nullptr || !tracer_->enabled() || !task.created_at || !task.finished_at) return;
  const TimeUs started = task.started_at.value_or(*task.finished_at);
  const auto span = [&](uint32_t group, const std::string& row, TimeUs from, TimeUs until) {
    telemetry::Span one{.name = task.deployment,
                        .category = "control",
                        .start = from,
                        .end = std::max(from, until),
                        .track = {.group = group, .lane = 0}};
    one.args[0] = {"generated_tokens", task.generated_tokens};
    tracer_->record_beside(one, row);
  };
  span(1, "queue", *task.created_at, started);
  if (task.started_at)
    span(2 + static_cast<uint32_t>(task.device.value), fmt::format("gpu_{}", task.device.value),
         started, *task.finished_at);
}

void ServiceMetrics::ended(const TaskView& task) {
  last_token_.erase(task.id);
  record(task);
  if (registry_ == nullptr) return;
  registry_->counter(kTasksTotal, {task.deployment, to_string(task.status)})->add();
  if (!task.created_at) return;
  const TimeUs from = *task.created_at;
  if (task.started_at)
    registry_->histogram(kQueueSeconds, {task.deployment})
        ->observe(seconds(from, *task.started_at));
  if (task.first_token_at)
    registry_->histogram(kFirstTokenSeconds, {task.deployment})
        ->observe(seconds(from, *task.first_token_at));
  if (!task.finished_at || task.status != TaskStatus::kCompleted) return;
  registry_->histogram(kTaskSeconds, {task.deployment})->observe(seconds(from, *task.finished_at));
  registry_->histogram(kGpuResponseTime, {std::to_string(task.device.value)})
      ->observe(seconds(from, *task.finished_at) * 1000);
}

void ServiceMetrics::picture(std::span<const DeviceView> devices,
                             std::span<const DeploymentView> deployments, size_t waiting) {
  if (registry_ == nullptr) return;
  registry_->gauge(kQueueTasks)->set(static_cast<double>(waiting));
  for (const DeviceView& device : devices) {
    const std::string id = std::to_string(device.id.value);
    registry_->gauge(kGpuUtilization, {id})->set(device.utilization);
    registry_->gauge(kGpuMemoryUsed, {id})->set(static_cast<double>(device.memory_used) / 0x1p20);
    registry_->gauge(kGpuTasks, {id})->set(device.task_count);
    if (device.temperature >= 0) registry_->gauge(kGpuTemperature, {id})->set(device.temperature);
    const std::string place = device.kind + id;
    const auto dcgm = [&](const MetricDef& metric, double value) {
      registry_->gauge(metric, {id, place, device.name})->set(value);
    };
    const uint64_t used = std::min(device.memory_used, device.memory_total);
    dcgm(kDcgmUtilization, device.utilization);
    dcgm(kDcgmMemoryUsed, static_cast<double>(used) / 0x1p20);
    dcgm(kDcgmMemoryFree, static_cast<double>(device.memory_total - used) / 0x1p20);
    if (device.temperature >= 0) dcgm(kDcgmTemperature, device.temperature);
    if (device.power >= 0) dcgm(kDcgmPower, device.power);
  }
  for (const DeploymentView& deployment : deployments) {
    std::map<std::string_view, double> states;
    for (int state = 0; state <= static_cast<int>(ReplicaState::kStopped); ++state)
      states[to_string(static_cast<ReplicaState>(state))] = 0;
    for (const ReplicaView& replica : deployment.replicas) ++states[to_string(replica.state)];
    for (const auto& [state, count] : states)
      registry_->gauge(kReplicas, {deployment.name, state})->set(count);
  }
  std::map<ReplicaId, ReplicaView> now;
  for (const DeploymentView& deployment : deployments) {
    for (size_t i = 0; i < deployment.replicas.size(); ++i) {
      replica(deployment.replicas[i], std::to_string(i));
      now[deployment.replicas[i].id] = deployment.replicas[i];
    }
  }
  seen_ = std::move(now);
}

// Adds what the replica's counts grew by since the last picture. A restarted replica counts from 0.
void ServiceMetrics::replica(const ReplicaView& view, const std::string& place) {
  const auto found = seen_.find(view.id);
  const ReplicaView before = found == seen_.end() ? ReplicaView() : found->second;
  const auto count = [&](const MetricDef& metric, uint64_t ReplicaView::* member) {
    auto* counter = registry_->counter(metric, {view.deployment, place});
    const uint64_t from = before.*member, until = view.*member;
    if (until > from) counter->add(static_cast<double>(until - from));
  };
  count(kPrefixQueryTokens, &ReplicaView::prefix_query_tokens);
  count(kPrefixHitTokens, &ReplicaView::prefix_hit_tokens);
  count(kPreemptions, &ReplicaView::preemptions);
  count(kSwappedBlocks, &ReplicaView::swapped_blocks);
  count(kDraftedTokens, &ReplicaView::speculative_drafted);
  count(kAcceptedTokens, &ReplicaView::speculative_accepted);
  count(kNotFiniteOutputs, &ReplicaView::not_finite_outputs);
  for (size_t rank = 0; rank < view.rank_busy_us.size(); ++rank) {
    const int64_t from = rank < before.rank_busy_us.size() ? before.rank_busy_us[rank] : 0;
    const auto added = static_cast<double>(view.rank_busy_us[rank] - from) / 1e6;
    if (added > 0)
      registry_->counter(kRankBusySeconds, {view.deployment, place, std::to_string(rank)})
          ->add(added);
  }
}

}  // namespace altlas::control
