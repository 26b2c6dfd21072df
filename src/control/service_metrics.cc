#include "control/service_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

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
  used(task);
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

void ServiceMetrics::used(const TaskView& task) {
  const std::string_view key = task.owner.empty() ? "(none)" : std::string_view(task.owner);
  const auto prompt = static_cast<double>(task.prompt_tokens);
  const auto generated = static_cast<double>(task.generated_tokens);
  registry_->counter(kPromptTokensTotal, {task.deployment})->add(prompt);
  registry_->counter(kKeyTasksTotal, {key, to_string(task.status)})->add();
  registry_->counter(kKeyPromptTokensTotal, {key})->add(prompt);
  registry_->counter(kKeyGeneratedTokensTotal, {key})->add(generated);
  if (task.status != TaskStatus::kCompleted)
    registry_->counter(kWastedTokensTotal, {task.deployment, to_string(task.status)})
        ->add(generated);
}

void ServiceMetrics::enter(WorkerId worker, std::string phase, TimeUs now) {
  if (registry_ == nullptr) return;
  Phase& at = phases_[worker];
  if (at.name == phase) return;
  if (!at.name.empty())
    registry_->histogram(kStartPhaseSeconds, {at.name})->observe(seconds(at.since, now));
  at = {std::move(phase), now};
}

void ServiceMetrics::event(const Event& event, TimeUs now) {
  if (registry_ == nullptr) return;
  if (const auto* lost = std::get_if<WorkerLost>(&event)) {
    phases_.erase(lost->worker);
    registry_->counter(kWorkersLost)->add();
  } else if (const auto* connected = std::get_if<WorkerConnected>(&event)) {
    if (phases_.contains(connected->worker)) enter(connected->worker, "load", now);
  } else if (const auto* reported = std::get_if<WorkerReported>(&event)) {
    if (!phases_.contains(reported->worker)) return;
    if (const auto* progress = std::get_if<engine::LoadProgress>(&reported->report)) {
      enter(reported->worker, progress->phase, now);
    } else if (std::holds_alternative<engine::ReplicaLoaded>(reported->report)) {
      enter(reported->worker, "", now);
      phases_.erase(reported->worker);
    }
  }
}

void ServiceMetrics::scaled(const Scaled& what) {
  if (registry_ != nullptr && what.from != what.to)
    registry_->counter(kScalings, {what.deployment, what.to > what.from ? "up" : "down"})->add();
}

void ServiceMetrics::passing(const MetricDef& metric, Labels labels, double value) {
  const std::vector<std::string_view> views(labels.begin(), labels.end());
  registry_->gauge(metric, telemetry::Registry::Labels(views))->set(value);
  passing_.emplace(&metric, std::move(labels));
}

void ServiceMetrics::device(const DeviceView& view) {
  const std::string id = std::to_string(view.id.value);
  registry_->gauge(kGpuUtilization, {id})->set(view.utilization);
  registry_->gauge(kGpuMemoryUsed, {id})->set(static_cast<double>(view.memory_used) / 0x1p20);
  registry_->gauge(kGpuTasks, {id})->set(view.task_count);
  registry_->gauge(kDeviceHealthy, {id})->set(view.healthy ? 1 : 0);
  registry_->gauge(kDeviceMemoryTotal, {id})->set(static_cast<double>(view.memory_total));
  for (const MemoryShare& share : view.memory)
    passing(kDeviceMemory, {id, share.owner, std::string(share.what)},
            static_cast<double>(share.bytes));
  if (view.temperature >= 0) registry_->gauge(kGpuTemperature, {id})->set(view.temperature);
  const std::string place = view.kind + id;
  const auto dcgm = [&](const MetricDef& metric, double value) {
    registry_->gauge(metric, {id, place, view.name})->set(value);
  };
  const uint64_t used = std::min(view.memory_used, view.memory_total);
  dcgm(kDcgmUtilization, view.utilization);
  dcgm(kDcgmMemoryUsed, static_cast<double>(used) / 0x1p20);
  dcgm(kDcgmMemoryFree, static_cast<double>(view.memory_total - used) / 0x1p20);
  if (view.temperature >= 0) dcgm(kDcgmTemperature, view.temperature);
  if (view.power >= 0) dcgm(kDcgmPower, view.power);
}

void ServiceMetrics::deployment(const DeploymentView& view) {
  std::map<std::string_view, double> states;
  for (int state = 0; state <= static_cast<int>(ReplicaState::kStopped); ++state)
    states[to_string(static_cast<ReplicaState>(state))] = 0;
  double waiting = view.waiting, running = 0, kv = 0, kv_used = 0;
  for (const ReplicaView& one : view.replicas) {
    ++states[to_string(one.state)];
    replica(one, std::to_string(one.place));
    const double held = std::min(one.waiting, one.running);
    waiting += held;
    running += one.running - held;
    if (one.kv_blocks == 0 || one.state != ReplicaState::kRunning) continue;
    const double tokens = static_cast<double>(one.kv_blocks) * one.block_tokens;
    kv += tokens;
    kv_used += tokens - static_cast<double>(one.kv_tokens_free);
    passing(kVllmCacheConfig,
            {view.model, std::to_string(one.block_tokens), std::to_string(one.kv_blocks)}, 1);
  }
  for (const auto& [state, count] : states)
    registry_->gauge(kReplicas, {view.name, state})->set(count);
  registry_->gauge(kWaitingTasks, {view.name})->set(view.waiting);
  registry_->gauge(kTargetReplicas, {view.name})->set(view.target_replicas);
  registry_->gauge(kVllmWaiting, {view.model})->set(waiting);
  registry_->gauge(kVllmRunning, {view.model})->set(running);
  if (kv > 0) passing(kVllmKvUsage, {view.model}, kv_used / kv);
}

void ServiceMetrics::picture(std::span<const DeviceView> devices,
                             std::span<const DeploymentView> deployments, size_t waiting) {
  if (registry_ == nullptr) return;
  passing_before_ = std::exchange(passing_, {});
  registry_->gauge(kQueueTasks)->set(static_cast<double>(waiting));
  for (const DeviceView& one : devices) device(one);
  for (const DeploymentView& one : deployments) deployment(one);
  for (const auto& series : passing_before_) {
    if (passing_.contains(series)) continue;
    const std::vector<std::string_view> views(series.second.begin(), series.second.end());
    registry_->remove(*series.first, telemetry::Registry::Labels(views));
  }
  std::map<ReplicaId, ReplicaView> now;
  for (const DeploymentView& one : deployments)
    for (const ReplicaView& view : one.replicas) now[view.id] = view;
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
  count(kSteps, &ReplicaView::steps);
  count(kStepSequences, &ReplicaView::step_sequences);
  count(kComputedPromptTokens, &ReplicaView::prompt_tokens);
  if (view.restarts > before.restarts)
    registry_->counter(kRestarts, {view.deployment, place})->add(view.restarts - before.restarts);
  const auto set = [&](const MetricDef& metric, double value) {
    passing(metric, {view.deployment, place}, value);
  };
  set(kRunningSequences, view.running);
  set(kWaitingSequences, std::min(view.waiting, view.running));
  if (view.kv_blocks > 0) {
    const double tokens = static_cast<double>(view.kv_blocks) * view.block_tokens;
    set(kKvTokens, tokens);
    set(kKvUsedTokens, tokens - static_cast<double>(view.kv_tokens_free));
  }
  for (size_t rank = 0; rank < view.rank_busy_us.size(); ++rank) {
    const int64_t from = rank < before.rank_busy_us.size() ? before.rank_busy_us[rank] : 0;
    const auto added = static_cast<double>(view.rank_busy_us[rank] - from) / 1e6;
    if (added > 0)
      registry_->counter(kRankBusySeconds, {view.deployment, place, std::to_string(rank)})
          ->add(added);
  }
}

}  // namespace altlas::control
