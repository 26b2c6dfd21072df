#include "control/setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/log.h"
#include "base/random.h"
#include "control/share_book.h"
#include "replica/settings.h"

namespace altlas::control {
engine::LoadReplica load_of(const config::EngineConfig& engine) {
  return {replica::settings_of<replica::ReplicaSettings>(engine)};
}

namespace {

constexpr std::string_view kEcho = "echo";

// Whether the deployment runs the model of --model, or the default one.
bool is_default(const config::DeploymentConfig& one, const ModelSetup& model) {
  return one.model.empty() || one.model == model.id || one.model == model.name;
}

// Takes over what the section `models` says of a deployment's model; the default model's settings
// are in `engine` too.
void take_extras(const config::Config& config, const config::DeploymentConfig& one,
                 const ModelSetup& model, engine::LoadReplica& load) {
  const std::string& otherwise = model.name.empty() ? model.id : model.name;
  const std::string& name = one.model.empty() ? otherwise : one.model;
  std::map<std::string, std::string> adapters;
  const auto configured = std::ranges::find(config.models, name, &config::ModelConfig::name);
  if (configured != config.models.end()) {
    load.draft_model_path = configured->draft_model;
    load.tokenizer_path = configured->tokenizer;
    adapters = configured->adapters;
  }
  if (is_default(one, model)) {
    if (!config.engine.draft_model.empty()) load.draft_model_path = config.engine.draft_model;
    for (const auto& [adapter, path] : config.engine.lora_modules) adapters[adapter] = path;
  }
  if (one.draft_model) load.draft_model_path = *one.draft_model;
  for (auto& [adapter, path] : adapters) load.adapters.push_back({adapter, path});
}

std::string model_path(const config::Config& config, const config::DeploymentConfig& one,
                       const ModelSetup& model) {
  if (is_default(one, model)) return model.path;
  for (const config::ModelConfig& known : config.models)
    if (known.name == one.model) return known.path;
  return one.model;
}

// Places for replicas: as many as there may be at once.
int64_t place_count(const config::DeploymentConfig& one, int64_t otherwise) {
  if (one.num_replicas) return *one.num_replicas;
  if (one.autoscaling_config) return one.autoscaling_config->max_replicas;
  return otherwise;
}

// The most replicas that `groups` groups of devices have room for, by the share that each takes;
// one a group where none is said.
size_t room(const config::DeploymentConfig& one, size_t groups) {
  const double share = one.num_gpus.value_or(1);
  return share > 0 && share < 1 ? groups * static_cast<size_t>(1 / share + 1e-9) : groups;
}

// Takes places away from an autoscaled deployment, and says so. False: it needs them all.
bool shrink(DeploymentSetup& one, size_t places) {
  if (!one.autoscaling || places >= one.replicas.size() ||
      places < std::max(1u, std::max(one.autoscaling->min_replicas, one.autoscaling->at_start())))
    return false;
  one.replicas.resize(places);
  one.autoscaling->max_replicas = static_cast<uint32_t>(places);
  return true;
}

DeploymentSetup life_of(const config::DeploymentConfig& one) {
  DeploymentSetup out;
  out.name = one.name;
  out.task_types = one.task_types;
  out.max_ongoing = static_cast<uint32_t>(one.max_ongoing_requests);
  out.max_queued = static_cast<uint32_t>(one.max_queued_requests);
  out.health_check_timeout_us = from_seconds(one.health_check_timeout_s);
  out.startup_timeout_us = from_seconds(one.startup_timeout_s);
  out.graceful_shutdown_timeout_us = from_seconds(one.graceful_shutdown_timeout_s);
  if (one.autoscaling_config)
    out.autoscaling = scheduler::autoscaler_settings(*one.autoscaling_config);
  return out;
}

// "4", "2 and 1".
std::string devices_of_machines(std::span<const uint32_t> nodes) {
  std::string out;
  for (size_t begin = 0, end = 0; begin < nodes.size(); begin = end) {
    while (end < nodes.size() && nodes[end] == nodes[begin]) ++end;
    out += fmt::format("{}{}", out.empty() ? "" : " and ", end - begin);
  }
  return out;
}

Result<DeploymentSetup> model_deployment(const config::Config& config,
                                         const config::DeploymentConfig& one,
                                         const ModelSetup& model, std::span<const uint32_t> nodes,
                                         bool every_device) {
  const config::EngineConfig engine = config::engine_for(config.engine, one);
  DeploymentSetup out = life_of(one);
  out.model = is_default(one, model) ? model.id : one.name;
  out.load = load_of(engine);
  out.load.model_path = model_path(config, one, model);
  take_extras(config, one, model, out.load);
  out.adapters_max = static_cast<uint32_t>(engine.max_loras);
  if (out.load.adapters.size() > out.adapters_max)
    return invalid(fmt::format("deployment '{}' has {} LoRA adapters, engine.max_loras is {}",
                               one.name, out.load.adapters.size(), out.adapters_max),
                   "engine.max_loras");
  const size_t ranks = size_t{out.load.tensor_parallel_size} * out.load.pipeline_parallel_size;
  const size_t groups = ShareBook({nodes.begin(), nodes.end()}).starts(ranks).size();
  if (groups == 0)
    return invalid(
        fmt::format("deployment '{}' needs {} devices (tensor_parallel_size {} x "
                    "pipeline_parallel_size {}){}, there are {}",
                    one.name, ranks, out.load.tensor_parallel_size, out.load.pipeline_parallel_size,
                    nodes.back() == nodes.front() ? "" : " of one machine",
                    devices_of_machines(nodes)),
        "deployments." + one.name + ".tensor_parallel_size");
  const auto count =
      static_cast<size_t>(place_count(one, every_device ? static_cast<int64_t>(groups) : 1));
  if (one.num_gpus && *one.num_gpus >= 1 && *one.num_gpus != static_cast<double>(ranks))
    return invalid(fmt::format("deployment '{}' has num_gpus {}, its layout takes {} device{} "
                               "(tensor_parallel_size x pipeline_parallel_size)",
                               one.name, *one.num_gpus, ranks, ranks == 1 ? "" : "s"),
                   "deployments." + one.name + ".num_gpus");
  out.replicas.assign(count, std::vector<DeviceId>(ranks));  // share_devices() chooses the devices.
  if (const size_t most = room(one, groups); count > most && shrink(out, most))
    log::warn("deployment '{}': max_replicas is {}, the devices have room for {}{}", one.name,
              count, most,
              one.num_gpus ? "" : " (one replica a device: num_gpus: 0.5 would make it two)");
  return out;
}

// The devices of all replicas. Where there is no room for all, autoscaled deployments get fewer
// places, those with most first.
Result<std::vector<std::vector<DeviceId>>> place_all(ShareBook& book,
                                                     std::vector<DeploymentSetup>& deployments,
                                                     const std::vector<double>& shares) {
  while (true) {
    std::vector<ShareRequest> requests;
    for (size_t i = 0; i < deployments.size(); ++i)
      for (const auto& replica : deployments[i].replicas)
        requests.push_back({deployments[i].name, replica.size(), shares[i]});
    auto placed = book.place(requests);
    if (placed.ok()) return placed;
    DeploymentSetup* most = nullptr;
    for (DeploymentSetup& one : deployments)
      if (one.autoscaling && (most == nullptr || one.replicas.size() > most->replicas.size()))
        most = &one;
    if (most == nullptr || !shrink(*most, most->replicas.size() - 1)) return placed;
    log::warn("deployment '{}': room for {} replicas at most, beside the others ({})", most->name,
              most->replicas.size(), placed.error().message());
  }
}

// Gives every replica its devices, and every deployment the part of their memory that it may use.
Result<void> share_devices(const config::Config& config, std::vector<DeploymentSetup>& deployments,
                           std::span<const uint32_t> nodes) {
  std::vector<double> shares;
  for (const DeploymentSetup& one : deployments) {
    const auto configured =
        std::ranges::find(config.deployments, one.name, &config::DeploymentConfig::name);
    const bool found = configured != config.deployments.end();
    shares.push_back(found ? std::min(configured->num_gpus.value_or(0), 1.0) : 0);
  }
  ShareBook book({nodes.begin(), nodes.end()});
  ALTLAS_TRY(auto placed, place_all(book, deployments, shares));
  size_t next = 0;
  for (DeploymentSetup& one : deployments)
    for (auto& replica : one.replicas) replica = std::move(placed[next++]);
  for (size_t i = 0; i < deployments.size(); ++i) {
    double least = 1;
    for (const auto& replica : deployments[i].replicas)
      least = std::min(least, book.share_of(replica, shares[i]));
    deployments[i].load.memory_utilization *= least;
  }
  return {};
}

DeploymentSetup echo_deployment(const config::DeploymentConfig& one, size_t devices) {
  DeploymentSetup out = life_of(one);
  out.name = kEcho;
  out.load.kind = "echo";
  const auto count = static_cast<size_t>(place_count(one, 1));
  for (size_t i = 0; i < count; ++i)
    out.replicas.push_back({DeviceId{static_cast<int32_t>(i % devices)}});
  return out;
}

void take_limits(const config::Config& config, CoreSetup& out) {
  const config::MultiGpuConfig& multi = config.gpu.multi_gpu;
  out.strategy = multi.default_strategy;
  out.max_concurrent_tasks = static_cast<uint32_t>(multi.max_concurrent_tasks_per_gpu);
  out.queue_interval_us = from_seconds(multi.queue_processing_interval);
  out.age_step_us = from_seconds(multi.priority_aging_s);
  out.priority_levels = multi.queue_priority_levels;
  out.random_seed = static_cast<uint64_t>(multi.random_seed);
  if (out.random_seed == 0) out.random_seed = static_cast<uint32_t>(random_bits()) | 1u;
  out.tokens = config.store.tokens;
  out.tasks_kept_bytes_max = static_cast<uint64_t>(config.store.tasks_kept_bytes_max);
  out.idempotency_key_ttl_us = from_seconds(config.store.idempotency_key_ttl_s);
}

}  // namespace

Result<LimitsChanged> limits_of(const config::Config& config, size_t devices) {
  LimitsChanged out;
  out.memory_threshold = config.gpu.memory_threshold;
  out.utilization_threshold = config.gpu.utilization_threshold;
  out.max_temperature = config.gpu.max_temperature;
  out.max_queue_size = static_cast<uint32_t>(config.gpu.multi_gpu.max_queue_size);
  out.queue_timeout_us = from_seconds(config.gpu.multi_gpu.queue_timeout);
  out.tasks_kept_max = static_cast<uint64_t>(config.store.tasks_kept_max);
  for (const auto& [type, ids] : config.gpu.multi_gpu.task_specific_mappings) {
    std::vector<DeviceId> mapped;
    for (const int64_t id : ids) {
      if (id < 0 || id >= static_cast<int64_t>(devices))
        return invalid(
            fmt::format("task type '{}' is mapped to device {}, there are devices 0 to {}", type,
                        id, devices - 1),
            "gpu.multi_gpu.task_specific_mappings." + type);
      mapped.push_back(DeviceId{static_cast<int32_t>(id)});
    }
    out.task_specific.emplace_back(type, std::move(mapped));
  }
  return out;
}

Result<CoreSetup> make_core_setup(const config::Config& config,
                                  std::span<const DeviceSetup> devices, const ModelSetup& model) {
  if (devices.empty())
    return invalid("there is no device; --devices cpu always works", "engine.devices");
  CoreSetup out;
  out.devices.assign(devices.begin(), devices.end());
  take_limits(config, out);
  ALTLAS_TRY(LimitsChanged limits, limits_of(config, devices.size()));
  out.memory_threshold = limits.memory_threshold;
  out.utilization_threshold = limits.utilization_threshold;
  out.max_temperature = limits.max_temperature;
  out.max_queue_size = limits.max_queue_size;
  out.queue_timeout_us = limits.queue_timeout_us;
  out.tasks_kept_max = limits.tasks_kept_max;
  out.task_specific = std::move(limits.task_specific);
  const size_t usable = config.gpu.multi_gpu.enabled ? devices.size() : 1;
  std::vector<uint32_t> nodes;  // The machine of each.
  for (const DeviceSetup& device : devices.first(usable)) nodes.push_back(device.node);
  config::DeploymentConfig echo;
  for (const config::DeploymentConfig& one : config.deployments) {
    if (one.name == kEcho) {
      echo = one;
      continue;
    }
    ALTLAS_TRY(DeploymentSetup made,
               model_deployment(config, one, model, nodes, /*every_device=*/false));
    out.deployments.push_back(std::move(made));
  }
  if (out.deployments.empty()) {
    config::DeploymentConfig one;
    one.name = model.deployment;
    ALTLAS_TRY(DeploymentSetup made,
               model_deployment(config, one, model, nodes, /*every_device=*/true));
    out.deployments.push_back(std::move(made));
  }
  ALTLAS_TRY_VOID(share_devices(config, out.deployments, nodes));
  out.default_deployment = out.deployments.front().name;
  out.deployments.push_back(echo_deployment(echo, devices.size()));
  return out;
}

}  // namespace altlas::control
